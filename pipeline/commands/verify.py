"""`pipeline verify`."""

from __future__ import annotations

import runpy
import sys
from argparse import Namespace
from pathlib import Path

from pipeline.errors import VerificationError
from pipeline.process import find_program


def run(options: Namespace) -> int:
    """Check a finished release with the same program that an auditor can run alone."""
    for program in ("gpg", "gpgv"):
        find_program(program, error=VerificationError)
    script = Path(__file__).resolve().parent.parent / "inside" / "verify.py"
    verify = runpy.run_path(str(script))["verify"]
    params = {"release": options.release, "key": options.key or "", "fingerprint": options.fingerprint}
    result = verify(params)
    if result["problems"]:
        raise VerificationError(
            f"{options.release} does not check out",
            details="\n".join(f"  {problem}" for problem in result["problems"]),
            resolution="do not install it; fetch it again, or ask who published it",
        )
    sys.stdout.write(
        f"{result['product']} {result['version']}: {result['files']} files check out, "
        f"signed by {', '.join(result['signed_by'])}\n"
    )
    if not result["key_is_pinned"]:
        print("note: checked with the key inside the release; compare its fingerprint with one you trust")
    return 0
