"""`pipeline release`, `build`, `sbom`, `scan`, `package`: one graph, evaluated as far as the verb says."""

from __future__ import annotations

import logging
from argparse import Namespace
from pathlib import Path

from pipeline.cli.running import Run, opened
from pipeline.errors import GateClosedError
from pipeline.publish.folder import Folder
from pipeline.publish.publisher import Publisher
from pipeline.publish.table import publisher
from pipeline.release.plan import Release

logger = logging.getLogger(__name__)

GATED = ("package", "release", "scan")
"""The verbs that ask the gate, and so need the scanners' databases."""


def run(options: Namespace) -> int:
    """Carry out the verb and print where the result is."""
    with opened(options) as run:
        try:
            places = run.watched(lambda: _run(run, options.verb))
        finally:
            if run.request.timings:
                Path(run.request.timings).write_text(run.progress.timings() + "\n", encoding="utf-8")
        run.progress.note(run.progress.summary())
    print(*places, sep="\n")
    return 0


async def _run(run: Run, verb: str) -> list[str]:
    """Return where the result is: the folder of --dist first."""
    walk, backend = run.walk, run.backend
    version = walk.asked()[1].file
    name = version if verb == "release" else f"{version}-{verb}"
    places = [Folder(run.request.dist), *map(publisher, run.request.publish)]
    for place in places:
        await place.check(name)
    planned = await walk.planned(signed=verb == "release", fetch=verb in GATED)
    if verb in ("package", "release"):
        await _check_gate(run, planned, version)
    files = await backend.evaluate(planned.tree if verb == "release" else planned.part(verb))
    done = [await _publish(place, files, name) for place in places]
    if verb == "scan":
        await _check_gate(run, planned, version)
    return done


async def _publish(place: Publisher, files: Path, name: str) -> str:
    receipt = await place.publish(files, name)
    logger.info("%s", receipt)
    return receipt.where


async def _check_gate(run: Run, planned: Release, version: str) -> None:
    """Raise GateClosedError, with the reports beside the release that is refused, when the verdict is against it."""
    name = f"{version}-rejected"
    try:
        await run.walk.check_gate(planned, str(Path(run.request.dist, name)))
    except GateClosedError:
        if planned.made.reports is not None:
            await Folder(run.request.dist).publish(await run.backend.evaluate(planned.made.reports), name)
        raise
