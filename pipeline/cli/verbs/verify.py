"""`pipeline verify`."""

from __future__ import annotations

import runpy
from argparse import Namespace
from pathlib import Path

from pipeline.errors import VerificationError
from pipeline.host.process import find_program
from pipeline.run.choice import verified


def run(options: Namespace) -> int:
    """Check a finished release with the same program that an auditor can run alone."""
    find_program("gpg", error=VerificationError)
    script = Path(__file__).resolve().parent.parent / "inside" / "verify.py"
    verify = runpy.run_path(str(script))["verify"]
    params = {"release": options.release, "key": options.key or "", "fingerprint": options.fingerprint}
    result = verify(params)
    print(verified(options.release, result), end="")
    return 0
