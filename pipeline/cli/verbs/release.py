"""`pipeline release`, `build`, `sbom`, `scan`, `package`: one graph, evaluated as far as the verb says."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from pipeline.cli.running import Run, opened
from pipeline.errors import GateClosedError
from pipeline.publish.folder import deliver
from pipeline.release.plan import Release

GATED = ("package", "release", "scan")
"""The verbs that ask the gate, and so need the scanners' databases."""


def run(options: Namespace) -> int:
    """Carry out the verb and print where the result is."""
    with opened(options) as run:
        try:
            target = run.watched(lambda: _run(run, options.verb))
        finally:
            if run.request.timings:
                Path(run.request.timings).write_text(run.progress.timings() + "\n", encoding="utf-8")
        run.progress.note(run.progress.summary())
    print(target)
    return 0


async def _run(run: Run, verb: str) -> Path:
    walk, backend = run.walk, run.backend
    planned = await walk.planned(signed=verb == "release", fetch=verb in GATED)
    target = Path(run.request.dist) / planned.context.version.file
    if verb == "release":
        await _judge(run, planned, target)
        deliver(await backend.evaluate(planned.tree), target)
        return target
    place = target.with_name(f"{target.name}-{verb}")
    if verb == "package":
        await _judge(run, planned, target)
    deliver(await backend.evaluate(planned.part(verb)), place)
    if verb == "scan":
        await _judge(run, planned, target)
    return place


async def _judge(run: Run, planned: Release, target: Path) -> None:
    """Raise GateClosedError, with the reports laid beside `target`, when the verdict is against a release."""
    reports = target.with_name(f"{target.name}-rejected")
    try:
        await run.walk.judge(planned, str(reports))
    except GateClosedError:
        if planned.made.reports is not None:
            deliver(await run.backend.evaluate(planned.made.reports), reports)
        raise
