"""Shows the graph of a release without running anything: as a list, as Mermaid text, or as an SVG picture."""

from __future__ import annotations

from html import escape

from pipeline.model.graph import predecessors, steps_of
from pipeline.model.step import Effect, Step
from pipeline.model.tree import Tree
from pipeline.release.plan import Release

_COLOURS = {Effect.PURE: "#eef4fb", Effect.FETCH: "#fdf3dd", Effect.VOLATILE: "#f1ecfa", Effect.PUBLISH: "#fbe3e3"}
_STROKES = {Effect.PURE: "#4a7ab0", Effect.FETCH: "#b98a1c", Effect.VOLATILE: "#7a5bb0", Effect.PUBLISH: "#b34a4a"}
_SVG_STYLE = 'font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="The steps of a release"'
BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y, MARGIN = 232, 34, 64, 14, 24


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


def svg(tree: Tree) -> str:
    """Return the graph below `tree` as one self-contained SVG document, steps in columns by depth."""
    steps = list(steps_of(tree))
    places, direct = _places(steps), _direct(steps)
    width = max((x for x, _ in places.values()), default=0) + BOX_WIDTH + MARGIN
    height = max((y for _, y in places.values()), default=0) + BOX_HEIGHT + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {_SVG_STYLE}>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for step in steps:
        parts.extend(_arrow(places[before.digest], places[step.digest]) for before in direct[step.digest])
    parts.extend(_box(step, *places[step.digest]) for step in steps)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _id(step: Step) -> str:
    return "s" + step.digest.removeprefix("sha256:")[:12]


def _direct(steps: list[Step]) -> dict[str, list[Step]]:
    """Return the predecessors of each step without those that another predecessor needs as well.

    An arrow that follows from two others only hides them.
    """
    above: dict[str, set[str]] = {}
    found: dict[str, list[Step]] = {}
    for step in steps:
        before = predecessors(step)
        implied = set().union(*(above[each.digest] for each in before))
        found[step.digest] = [each for each in before if each.digest not in implied]
        above[step.digest] = implied | {each.digest for each in before}
    return found


def _places(steps: list[Step]) -> dict[str, tuple[int, int]]:
    depth: dict[str, int] = {}
    for step in steps:
        depth[step.digest] = 1 + max((depth[before.digest] for before in predecessors(step)), default=-1)
    columns: dict[int, list[Step]] = {}
    for step in steps:
        columns.setdefault(depth[step.digest], []).append(step)
    places: dict[str, tuple[int, int]] = {}
    for column, members in sorted(columns.items()):
        members.sort(key=lambda step: (_barycentre(step, places), step.title))
        for row, step in enumerate(members):
            x = MARGIN + column * (BOX_WIDTH + GAP_X)
            places[step.digest] = (x, MARGIN + row * (BOX_HEIGHT + GAP_Y))
    return places


def _barycentre(step: Step, places: dict[str, tuple[int, int]]) -> float:
    rows = [places[before.digest][1] for before in predecessors(step)]
    return sum(rows) / len(rows) if rows else 0.0


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1 = start[0] + BOX_WIDTH, start[1] + BOX_HEIGHT // 2
    x2, y2 = end[0], end[1] + BOX_HEIGHT // 2
    bend = GAP_X // 2
    path = f"M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
    return f'<path d="{path}" fill="none" stroke="#9aa5b1" stroke-width="1"/>'


def _box(step: Step, x: int, y: int) -> str:
    title = step.title if len(step.title) <= 34 else step.title[:33] + "…"
    about = f"{step.title}\n{step.digest}\nimage {step.image.name}, {step.effect.value}"
    return (
        f'<g><title>{escape(about)}</title><rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"'
        f' fill="{_COLOURS[step.effect]}" stroke="{_STROKES[step.effect]}"/>'
        f'<text x="{x + 10}" y="{y + 21}" fill="#1f2933">{escape(title)}</text></g>'
    )
