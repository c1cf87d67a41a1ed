"""The gate: fails with the reasons when the verdict is closed, and otherwise names every file that it lets through.

Params: `verdict`, the file that `gate.py` wrote; `out`, the file to write (default `/out/approval.json`).

Output: name and SHA-256 of every approved binary, and nothing that varies with the date.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.programs.common import Json, Params, Problem, read_object, run_program, write_json

SCHEMA = "urn:release-pipeline:approval:v1"


def approve(verdict: Json) -> Json:
    """Return the approval. Raises Problem with every reason when the gate is closed, or the verdict is not one."""
    if verdict.get("open") is not True:
        reasons = verdict.get("reasons") or ["the verdict does not say that the gate is open"]
        raise Problem(*(f"the gate is closed: {reason}" for reason in reasons))
    if not verdict.get("artifacts"):
        raise Problem("the gate is closed: the verdict is about nothing")
    approved = [{"name": entry["name"], "sha256": entry["sha256"]} for entry in verdict["artifacts"]]
    return {"schema": SCHEMA, "approved": sorted(approved, key=lambda entry: str(entry["name"]))}


def main(params: Params) -> None:
    """Write the approval, and show warnings."""
    verdict = read_object(Path(params["verdict"]))
    for warning in verdict.get("warnings") or []:
        print(f"WARNING: {warning}", file=sys.stderr)
    write_json(params.path("out", "/out/approval.json"), approve(verdict))


if __name__ == "__main__":
    run_program(main)
