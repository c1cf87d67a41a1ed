"""`pipeline plan`, `graph`, `shell` and `products`: looking without running."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

import anyio

from pipeline.drawing import mermaid, svg
from pipeline.engine.local.history import Reason
from pipeline.errors import UsageError
from pipeline.model.graph import steps_of
from pipeline.model.product import list_products, load_product
from pipeline.model.step import Step
from pipeline.project import packaging_folder
from pipeline.release import Release
from pipeline.session import Session, open_session

SHOWN_CHANGES = 3


async def _look(session: Session) -> Release:
    return session.release(await session.context())


def plan(options: Namespace) -> int:
    """List every step with what the next run would do about it, and why."""
    session = open_session(options)
    planned = anyio.run(_look, session)
    with session.engine() as engine:
        rows = [_row(step, engine.explain(step)) for step in steps_of(planned.tree)]
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    width = max(len(str(row["title"])) for row in rows)
    for row in rows:
        state = "cached  " if row["cached"] else "will run"
        why = "" if row["cached"] else f"  {row['why']}"
        print(f"{state}  {str(row['digest'])[7:19]}  {row['title']:<{width}}{why}")
    cached = sum(1 for row in rows if row["cached"])
    print(f"{len(rows)} steps: {cached} cached, {len(rows) - cached} will run")
    return 0


def _row(step: Step, reason: Reason) -> dict[str, object]:
    unknown = "" if step.image.base.known else f"image {step.image.base.name} is not built yet"
    return {
        "title": step.title,
        "digest": step.digest,
        "image": step.image.name,
        "effect": step.effect.value,
        "cached": reason.cached,
        "why": unknown or _why(reason),
    }


def _why(reason: Reason) -> str:
    shown, more = reason.changes[:SHOWN_CHANGES], len(reason.changes) - SHOWN_CHANGES
    return "; ".join([*shown, *([f"and {more} more"] if more > 0 else [])]) or reason.brief


def graph(options: Namespace) -> int:
    """Draw the graph."""
    planned = anyio.run(_look, open_session(options))
    text = svg(planned.tree) if options.format == "svg" else mermaid(planned.tree)
    if options.output:
        Path(options.output).write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


def shell(options: Namespace) -> int:
    """Open a shell where a step would run."""
    session = open_session(options)

    async def work() -> int:
        planned = await session.planned(signed=False)
        step = find_step(steps_of(planned.tree), options.step)
        argv = ("/bin/sh", "-c", options.command) if options.command else ()
        with session.engine() as engine:
            return await engine.shell(step, given=session.given, argv=argv)

    return anyio.run(work)


def find_step(steps: Iterable[Step], wanted: str) -> Step:
    """Return the one step whose title is `wanted` or whose digest begins with it. Raises UsageError otherwise."""
    every = list(steps)
    prefix = wanted.removeprefix("sha256:")
    found = [s for s in every if s.title == wanted or s.digest.removeprefix("sha256:").startswith(prefix)]
    if len(found) == 1:
        return found[0]
    what = "no step is" if not found else f"{len(found)} steps are"
    titles = "\n".join(f"  {s.digest[7:19]}  {s.title}" for s in found or every)
    raise UsageError(f"{what} called {wanted!r}", details=titles, resolution="name one of these")


def products(_: Namespace) -> int:
    """List the products."""
    folder = packaging_folder() / "products"
    for name in list_products(folder):
        product = load_product(folder / name)
        variants = ", ".join(variant.name for variant in product.variants())
        print(f"{name:<12} {product.summary}\n{'':<12} {', '.join(product.build.targets)}; {variants}")
    return 0
