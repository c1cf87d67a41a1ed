"""The scanners' databases before a run: which are there, and why another one is not.

A database that is not to be had does not end a run. The gate says so: it closes for a release, and a snapshot bears it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from pipeline.errors import StepFailedError
from pipeline.model.tree import Tree
from pipeline.stages import scan
from pipeline.stages.context import Context, Databases

OUTPUT, LOG = "  | ", "log: "
"""How lines of an error's details begin that have a program's output, and the place of its log."""
LONGEST = 300
"""Characters of a program's last words that are repeated."""


def given(folder: Path) -> dict[str, str]:
    """Return why each scanner of binaries finds no database in `folder`, that of --scan-db, by scanner."""
    places = {name: folder / name for name in scan.BINARY_SCANNERS}
    return scan.not_given({name: place.is_dir() and any(place.iterdir()) for name, place in places.items()})


async def fetched(
    context: Context, evaluate: Callable[[Tree], Awaitable[object]], say: Callable[[str], None]
) -> Context:
    """Fetch the databases of the vendors' feeds, and return `context` with the reason for each that is not to be had.

    No engine keeps the result of a step that failed, so the next run asks that feed again. Raises what the engine
    raises for everything else, making the scanners included.
    """
    if context.options.databases is not Databases.FEED or "scan" not in context.product.stages:
        return context
    missing = dict(context.missing)
    for name, step in scan.feeds(context).items():
        for _, tree in step.image.layers:
            await evaluate(tree)
        try:
            await evaluate(step.out)
        except StepFailedError as error:
            missing[name] = reason(error)
            say(f"{name}: no database: {missing[name]}" + (f"; log: {log}" if (log := log_of(error)) else ""))
    return replace(context, missing=missing)


def reason(error: StepFailedError) -> str:
    """Return one line on why a feed gave nothing: what became of its step, and the last that its program said."""
    said = [line[len(OUTPUT) :].strip() for line in error.details.splitlines() if line.startswith(OUTPUT)]
    last = next((" ".join(line.split()) for line in reversed(said) if line), "")
    return f"{error.brief}{f' ({last[:LONGEST]})' if last else ''}; the next run tries again"


def log_of(error: StepFailedError) -> str:
    """Return the file with the whole output of the step that failed, empty when the engine keeps none."""
    found = [line[len(LOG) :].strip() for line in error.details.splitlines() if line.startswith(LOG)]
    return found[0] if found else ""
