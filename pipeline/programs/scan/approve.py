"""The gate: fails with the reasons when the verdict is closed, and otherwise names every file that it lets through.

Params: see `Parameters`.

Output: `approval.json`, name and SHA-256 of every approved binary, and nothing that varies with the date.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.programs import document
from pipeline.programs.common import Problem
from pipeline.programs.scan.scan_documents import Approval, Approved, Verdict
from pipeline.programs.start import run_program


@dataclass(frozen=True)
class Parameters:
    """Where the verdict is, and where the approval goes."""

    verdict: Path = Path("/in/report/verdict.json")
    out: Path = Path("/out/approval.json")


def approve(verdict: Verdict) -> Approval:
    """Return the approval. Raises Problem with every reason when the gate is closed, or nothing was scanned."""
    if not verdict.open:
        raise Problem(*(f"the gate is closed: {reason}" for reason in verdict.reasons))
    if not verdict.artifacts:
        raise Problem("the gate is closed: the verdict is about nothing")
    approved = (Approved(binary.name, binary.sha256) for binary in verdict.artifacts)
    return Approval(tuple(sorted(approved, key=lambda each: each.name)))


def main(params: Parameters) -> None:
    """Write the approval, and show warnings."""
    verdict = document.load(Verdict, params.verdict)
    for warning in verdict.warnings:
        print(f"WARNING: {warning}", file=sys.stderr)
    document.write(params.out, approve(verdict))


if __name__ == "__main__":
    run_program(main, Parameters)
