"""`pipeline release`, `build`, `sbom`, `scan`, `package`: one graph, evaluated as far as the verb says."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from pipeline.choice import gate_closed, part
from pipeline.dist import deliver
from pipeline.engine.local import LocalEngine
from pipeline.release import Release
from pipeline.session import Session, open_session, with_progress

GATED = ("package", "release", "scan")
"""The verbs that ask the gate, and so need the scanners' databases."""


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
    planned = await session.planned(signed=verb == "release", fetch=verb in GATED)
    target = Path(session.options.dist) / planned.context.version.file
    with session.engine() as engine:
        if verb == "release":
            await _judge(session, engine, planned, target)
            deliver(await session.evaluate(engine, planned.tree), target)
            return target
        place = target.with_name(f"{target.name}-{verb}")
        if verb == "package":
            await _judge(session, engine, planned, target)
        deliver(await session.evaluate(engine, part(planned, verb)), place)
        if verb == "scan":
            await _judge(session, engine, planned, target)
        return place


async def _judge(session: Session, engine: LocalEngine, planned: Release, target: Path) -> None:
    """Raise GateClosedError, with the reports laid beside `target`, when the verdict is against a release."""
    if planned.verdict is None or planned.reports is None:
        return
    where = await session.evaluate(engine, planned.verdict)
    verdict = json.loads((where / "verdict.json").read_text("utf-8"))
    for warning in verdict.get("warnings", []):
        session.progress.note(f"gate: {warning}")
    if verdict["open"]:
        return
    reports = target.with_name(f"{target.name}-rejected")
    deliver(await session.evaluate(engine, planned.reports), reports)
    raise gate_closed(planned.context, verdict, str(reports))
