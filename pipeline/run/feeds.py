"""The scanners' databases before a run: which exist, and why another one does not.

A missing database does not end a run. The gate reports it: it closes for a release, and lets a snapshot pass.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

import anyio

from pipeline.errors import StepFailedError
from pipeline.model.step import Step
from pipeline.model.tree import Tree
from pipeline.stages import scan
from pipeline.stages.context import Context, Databases

LONGEST = 300
"""Characters of a program's last words that are repeated."""


def not_given(present: Mapping[str, bool]) -> dict[str, str]:
    """Return why each scanner of binaries has no database that `present`, by scanner, does not find in --scan-db.

    Without one of its own, govulncheck says so itself.
    """
    return {
        name: f"the folder of --scan-db has nothing in {name}/" for name in scan.BINARY_SCANNERS if not present[name]
    }


async def fetched(
    context: Context,
    evaluate: Callable[[Tree], Coroutine[Any, Any, object]],
    say: Callable[[str], None],
    beside: Sequence[Tree] = (),
) -> Context:
    """Fetch the databases of the vendors' feeds, and return `context` with the reason for each that is missing.

    All at once, and `beside` with them: scanners and databases take no time that compiling does not take anyway. No
    engine keeps the result of a step that failed, so the next run asks that feed again. Raises what the engine raises
    for everything else, making the scanners included.
    """
    if context.options.databases is not Databases.FEED or "scan" not in context.product.stages:
        return context
    missing = dict(context.missing)

    async def fetch(name: str, step: Step) -> None:
        for _, tree in step.image.layers:
            await evaluate(tree)
        try:
            await evaluate(step.out)
        except StepFailedError as error:
            missing[name] = reason(error)
            say(f"{name}: no database: {missing[name]}" + (f"; log: {error.log}" if error.log else ""))

    try:
        async with anyio.create_task_group() as group:
            for tree in beside:
                group.start_soon(evaluate, tree)
            for name, step in scan.feeds(context).items():
                group.start_soon(fetch, name, step)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return replace(context, missing=dict(sorted(missing.items())))


def reason(error: StepFailedError) -> str:
    """Return one line on why a feed gave nothing: what became of its step, and the last that its program said."""
    last = next((" ".join(line.split()) for line in reversed(error.output) if line.strip()), "")
    return f"{error.brief}{f' ({last[:LONGEST]})' if last else ''}; the next run tries again"
