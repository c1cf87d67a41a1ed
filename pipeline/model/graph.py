"""Walking the graph that a tree describes."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.model.step import Step
from pipeline.model.tree import Output, Tree, children


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


def requirements(step: Step) -> tuple[Tree, ...]:
    """Return every tree that must be there before `step` can run: its inputs and its image's layers."""
    return tuple(tree for _, tree in (*step.inputs, *step.image.layers))


def predecessors(step: Step) -> tuple[Step, ...]:
    """Return the steps that must have run before `step` can."""
    return direct_steps(requirements(step))


def steps_of(tree: Tree) -> Iterator[Step]:
    """Yield every step below `tree` once, each after all of its predecessors.

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
        stack.extend((before, False) for before in reversed(predecessors(step)) if before.digest not in done)
