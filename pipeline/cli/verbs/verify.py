"""`pipeline verify`."""

from __future__ import annotations

from argparse import Namespace

from pipeline.errors import VerificationError
from pipeline.host.process import find_program
from pipeline.programs.verify.verify import Parameters, verify
from pipeline.run.choice import verified


def run(options: Namespace) -> int:
    """Check a finished release with the same program that an auditor can run alone."""
    find_program("gpg", error=VerificationError)
    result = verify(Parameters(options.release, options.key or "", options.fingerprint))
    print(verified(options.release, result), end="")
    return 0
