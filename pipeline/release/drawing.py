"""Shows the graph of a release without running any step: as a list, as Mermaid or DOT text, or as an SVG picture."""

from __future__ import annotations

from html import escape

from pipeline.host.process import run
from pipeline.model.graph import predecessors, steps_of
from pipeline.model.step import Caching, Effect, Step
from pipeline.model.tree import Tree
from pipeline.release.plan import Release

_PLAIN, _ONLINE = ("#eef4fb", "#4a7ab0"), ("#fdf3dd", "#b98a1c")
_DAILY, _UNCACHED, _PUBLISHING = ("#e6f5ea", "#3f8f5b"), ("#f1ecfa", "#7a5bb0"), ("#fbe3e3", "#b34a4a")
"""Pairs of colours: of a box, and of its border."""
_STYLE = (
    'graph [rankdir=LR, ranksep=0.6, nodesep=0.12, fontname="sans-serif", tooltip="The steps of a release"]',
    'node [shape=box, style="rounded,filled", height=0.4, margin="0.14,0.05", fontname="sans-serif", fontsize=11]',
    'edge [color="#9aa5b1", arrowsize=0.5]',
)
"""Of every graph, node and edge (https://graphviz.org/doc/info/attrs.html)."""


def listing(release: Release) -> str:
    """Return what compiles `release` and its steps, one per line: digest, title, image."""
    steps = list(steps_of(release.tree))
    width = max(len(step.title) for step in steps)
    rows = [f"{step.digest}  {step.title:<{width}}  {step.image.name}" for step in steps]
    return "\n".join([f"compiled by {release.context.toolchain}", *rows, f"{len(steps)} steps", ""])


def mermaid(tree: Tree) -> str:
    """Return the graph below `tree` as a Mermaid flowchart: one node a step, one arrow an input."""
    lines = ["flowchart LR"]
    for step in steps_of(tree):
        opening, closing = ("[/", "/]") if step.network else ("[", "]")
        lines.append(f'  {_id(step)}{opening}"{escape(step.title, quote=True)}"{closing}')
        lines.extend(f"  {_id(before)} --> {_id(step)}" for before in predecessors(step))
    return "\n".join(lines) + "\n"


def dot(tree: Tree) -> str:
    """Return the graph below `tree` in the DOT language of Graphviz: one node a step, one arrow an input.

    An arrow that follows from two others is left out: it would only hide them.
    """
    lines = ["digraph release {", *(f"  {line};" for line in _STYLE)]
    above: dict[str, set[str]] = {}
    for step in steps_of(tree):
        fill, stroke = _colours(step)
        attributes = {"label": step.title, "tooltip": _about(step), "fillcolor": fill, "color": stroke}
        lines.append(f"  {_id(step)} [{' '.join(f'{name}={_quoted(text)}' for name, text in attributes.items())}];")
        before = predecessors(step)
        implied = set[str]().union(*(above[each.digest] for each in before))
        lines.extend(f"  {_id(each)} -> {_id(step)};" for each in before if each.digest not in implied)
        above[step.digest] = implied | {each.digest for each in before}
    return "\n".join([*lines, "}"]) + "\n"


async def svg(tree: Tree) -> str:
    """Return the graph below `tree` as one SVG document, laid out by Graphviz. Raises EngineError without it."""
    drawn = await run(("dot", "-Tsvg"), stdin=dot(tree).encode())
    return drawn.text + "\n"


def _id(step: Step) -> str:
    return "s" + step.digest.removeprefix("sha256:")[:12]


def _about(step: Step) -> str:
    network = "network" if step.network else "no network"
    cached = {Caching.BY_DIGEST: "cached by digest", Caching.DAILY: "runs once a day", Caching.NEVER: "never cached"}
    properties = [network, cached[step.caching], *(["publishes"] if step.effect is Effect.PUBLISH else [])]
    return f"{step.title}\n{step.digest}\nimage {step.image.name}, {', '.join(properties)}"


def _colours(step: Step) -> tuple[str, str]:
    """Return the colours of a step's box and border: by what is most special about it."""
    if step.effect is Effect.PUBLISH:
        return _PUBLISHING
    if step.caching is not Caching.BY_DIGEST:
        return _UNCACHED if step.caching is Caching.NEVER else _DAILY
    return _ONLINE if step.network else _PLAIN


def _quoted(text: str) -> str:
    """Return a string of the DOT language. In it, a backslash begins an escape, and `&` a character's name."""
    escaped = text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
