"""Walking the graph that a tree describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from pipeline.model.step import Step
from pipeline.model.tree import Output, Tree, children

NO_TREES: Mapping[str, Tree] = MappingProxyType({})


def direct_steps(trees: tuple[Tree, ...]) -> tuple[Step, ...]:
    """Return the steps whose outputs `trees` are made of directly, each once, in order of appearance."""
    found: dict[str, Step] = {}
    seen: set[str] = set()
    stack = list(reversed(trees))
    while stack:
        tree = stack.pop()
        if tree.digest in seen:
            continue
        seen.add(tree.digest)
        if isinstance(tree, Output):
            found.setdefault(tree.step.digest, tree.step)
        else:
            stack.extend(reversed(children(tree)))
    return tuple(found.values())


def requirements(step: Step, prebuilt: Mapping[str, Tree] = NO_TREES) -> tuple[Tree, ...]:
    """Return every tree that must be there before `step` can run: its inputs and its image's layers.

    `prebuilt` has trees that stand for the outputs of steps, by their digests. Such a step needs that tree alone.
    """
    if step.digest in prebuilt:
        return (prebuilt[step.digest],)
    return tuple(tree for _, tree in (*step.inputs, *step.image.layers))


def predecessors(step: Step, prebuilt: Mapping[str, Tree] = NO_TREES) -> tuple[Step, ...]:
    """Return the steps that must have run before `step` can."""
    return direct_steps(requirements(step, prebuilt))


def steps_of(tree: Tree, prebuilt: Mapping[str, Tree] = NO_TREES) -> Iterator[Step]:
    """Yield every step below `tree` once, each after all of its predecessors.

    With `prebuilt`, as `requirements` takes it, what only steps with such an output need is left out.
    Iterative, because a chain of ten thousand steps is deeper than Python's stack.
    """
    done: set[str] = set()
    stack = [(step, False) for step in reversed(direct_steps((tree,)))]
    while stack:
        step, ready = stack.pop()
        if step.digest in done:
            continue
        if ready:
            done.add(step.digest)
            yield step
            continue
        stack.append((step, True))
        stack.extend((before, False) for before in reversed(predecessors(step, prebuilt)) if before.digest not in done)
