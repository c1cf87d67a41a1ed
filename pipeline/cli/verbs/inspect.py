"""`pipeline plan`, `graph`, `shell` and `products`: looking without running."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

import anyio

from pipeline.cli.running import opened
from pipeline.cli.terminal import show_table
from pipeline.config.product import list_products, load_product
from pipeline.engine.local.history import Reason
from pipeline.errors import SigningError, UsageError
from pipeline.host.folders import packaging_folder
from pipeline.model.graph import steps_of
from pipeline.model.step import Step
from pipeline.model.tree import Tree
from pipeline.release.drawing import dot, mermaid, svg

SHOWN_CHANGES = 3


def plan(options: Namespace) -> int:
    """List every step with what the next run would do about it, and why."""
    with opened(options) as run:
        planned, engine = anyio.run(run.walk.looked_at), run.backend.engine
        prebuilt = planned.prebuilt
        missing = engine.missing(*planned.goals, prebuilt=prebuilt)
        rows = [
            _row(step, engine.explain(step, missing, prebuilt), _state(step, missing, prebuilt))
            for step in steps_of(planned.tree, prebuilt)
        ]
    print(f"compiled by {planned.context.toolchain}", file=sys.stderr if options.json else sys.stdout)
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    width = max(len(row["title"]) for row in rows)
    cells = [
        (row["state"], row["digest"][7:19], row["title"], row["why"] if row["state"] == "will run" else "")
        for row in rows
    ]
    plain = (f"{state:<10}  {digest}  {title:<{width}}{why and f'  {why}'}" for state, digest, title, why in cells)
    show_table(("state", "digest", "step", "why"), cells, plain)
    states = Counter(row["state"] for row in rows)
    print(f"{len(rows)} steps: {', '.join(f'{count} {state}' for state, count in sorted(states.items()))}")
    return 0


def _state(step: Step, missing: AbstractSet[str], prebuilt: Mapping[str, Tree]) -> str:
    """Return what becomes of a step. `not needed`: its result is gone, but what it was needed for exists."""
    if step.digest in prebuilt:
        return "prebuilt"
    return "will run" if step.digest in missing else "not needed"


def _row(step: Step, reason: Reason, otherwise: str) -> dict[str, str]:
    """Return what the plan prints about a step, whose state is `otherwise` if its result is not in the store."""
    state = "cached" if reason.cached and otherwise != "prebuilt" else otherwise
    unknown = "" if step.image.base.known else f"image {step.image.base.name} is not built yet"
    return {
        "title": step.title,
        "digest": step.digest,
        "image": step.image.name,
        "network": "yes" if step.network else "no",
        "caching": step.caching.value,
        "effect": step.effect.value,
        "state": state,
        "why": unknown or _why(reason),
    }


def _why(reason: Reason) -> str:
    shown, more = reason.changes[:SHOWN_CHANGES], len(reason.changes) - SHOWN_CHANGES
    return "; ".join([*shown, *([f"and {more} more"] if more > 0 else [])]) or reason.brief


def graph(options: Namespace) -> int:
    """Draw the graph."""
    with opened(options) as run:
        tree = anyio.run(run.walk.looked_at).tree
    drawing = {"dot": dot, "mermaid": mermaid}.get(options.format)
    text = drawing(tree) if drawing else anyio.run(svg, tree)
    if options.output:
        Path(options.output).write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


def shell(options: Namespace) -> int:
    """Open a shell where a step would run."""
    with opened(options) as run:
        walk, backend = run.walk, run.backend

        async def work() -> int:
            try:
                planned = await walk.planned()
            except SigningError as error:  # the key is somewhere else: no reason to hide what has no part in it
                backend.note(f"{error.brief}: steps that sign, and those after them, differ here")
                planned = await walk.planned(signed=False)
            step = find_step((*steps_of(planned.tree), walk.key_step()), options.step)
            argv = ("/bin/sh", "-c", options.command) if options.command else ()
            return await backend.engine.shell(
                step, given=backend.given, secrets=backend.secrets, prebuilt=backend.prebuilt, argv=argv
            )

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
    cells: list[tuple[str, str]] = []
    for name in list_products(folder):
        product = load_product(folder / name)
        variants = ", ".join(variant.name for variant in product.variants())
        cells += [(name, product.summary), ("", f"{', '.join(product.build.targets)}; {variants}")]
    show_table(("product", "what it is"), cells, (f"{name:<12} {text}" for name, text in cells))
    return 0
