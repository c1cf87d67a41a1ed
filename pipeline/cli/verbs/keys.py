"""`pipeline keygen`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import anyio

from pipeline.signing.keys import generate_key


def generate(options: Namespace) -> int:
    """Make a signing key and say what to do with it."""
    path = Path(options.output)
    fingerprint = anyio.run(generate_key, options.identity, path)
    print(f"private key  {path} (mode 0600; only the release job should read it)")
    print(f"public key   {path.with_suffix('.pub.asc')} (give it to those who verify)")
    print(f"fingerprint  {fingerprint}")
    return 0
