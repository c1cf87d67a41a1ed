"""`pipeline release`, `build`, `sbom`, `scan`: one graph, evaluated as far as the verb says."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from pipeline.dist import deliver
from pipeline.engine.local import LocalEngine
from pipeline.errors import GateClosedError
from pipeline.model.artifact import Kind
from pipeline.model.tree import Merge, Pick
from pipeline.release import Release
from pipeline.session import Session, open_session, with_progress

KINDS = {
    "build": {Kind.BINARY, Kind.PROOF},
    "sbom": {Kind.BINARY, Kind.PROOF, Kind.SBOM, Kind.NOTICE},
    "scan": {Kind.SCAN_REPORT, Kind.VEX},
}
SHOWN_REASONS = 12


def run(options: Namespace) -> int:
    """Carry out the verb and say where the result lies."""
    session = open_session(options)
    try:
        target = with_progress(session, lambda: _run(session, options.verb))
    finally:
        if options.timings:
            Path(options.timings).write_text(session.progress.timings() + "\n", encoding="utf-8")
    session.progress.note(session.progress.summary())
    print(target)
    return 0


async def _run(session: Session, verb: str) -> Path:
    planned = await session.planned(signed=verb == "release")
    target = Path(session.options.dist) / planned.context.version.file
    with session.engine() as engine:
        if verb == "release":
            await _judge(session, engine, planned, target)
            deliver(await session.evaluate(engine, planned.tree), target)
            return target
        chosen = [artifact.tree for artifact in planned.artifacts if artifact.kind in KINDS[verb]]
        place = target.with_name(f"{target.name}-{verb}")
        deliver(await session.evaluate(engine, Merge.of(*chosen)), place)
        if verb == "scan":
            await _judge(session, engine, planned, target)
        return place


async def _judge(session: Session, engine: LocalEngine, planned: Release, target: Path) -> None:
    """Raise GateClosedError, with the reports laid beside `target`, when the verdict is against a release."""
    if planned.judged is None or planned.reports is None:
        return
    where = await session.evaluate(engine, Pick(planned.judged.out, paths=("verdict.json",)))
    verdict = json.loads((where / "verdict.json").read_text("utf-8"))
    for warning in verdict.get("warnings", []):
        session.progress.note(f"gate: {warning}")
    if verdict["open"]:
        return
    reports = target.with_name(f"{target.name}-rejected")
    deliver(await session.evaluate(engine, planned.reports), reports)
    reasons = [str(reason) for reason in verdict["reasons"]]
    more = [f"  … and {len(reasons) - SHOWN_REASONS} more"] if len(reasons) > SHOWN_REASONS else []
    raise GateClosedError(
        f"the gate is closed: {planned.context.product.name} {planned.context.version} is not released",
        details="\n".join([f"  {reason}" for reason in reasons[:SHOWN_REASONS]] + more),
        resolution=f"read {reports}; then update what is vulnerable, or accept a finding in policy.toml with a reason,"
        " an owner and an expiry date",
    )
