"""What has to be made for a tree, and when: demand first, then each thing as soon as its parts are ready."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import anyio
import anyio.abc

from pipeline.engine.local.entry import Materialized
from pipeline.model.graph import NO_TREES, direct_steps, predecessors, requirements
from pipeline.model.step import Caching, Step
from pipeline.model.tree import Files, Given, Merge, Output, Pick, Tree, children

Node: TypeAlias = Step | Files | Given | Merge | Pick
"""What is made and kept: a step's output, or a tree that is laid out."""

Results: TypeAlias = dict[str, Materialized]


def node_of(tree: Tree) -> Node:
    """Return what has to be made for `tree`: the output of a step is kept under the step itself."""
    return tree.step if isinstance(tree, Output) else tree


def parts_of(node: Node, prebuilt: Mapping[str, Tree] = NO_TREES) -> tuple[Node, ...]:
    """Return what must be there before `node` can be made. `prebuilt` are trees that stand for outputs of steps."""
    if isinstance(node, Step):
        return tuple(node_of(tree) for tree in requirements(node, prebuilt))
    return tuple(node_of(tree) for tree in children(node))


def is_view(node: Node) -> bool:
    """Return whether `node` is a whole folder of another tree, which needs no copy."""
    return isinstance(node, Pick) and not node.paths and not node.optional


class Freshness:
    """Knows whose digests do not tell their content: steps with a result of their own each day or each time, steps
    whose output is taken from elsewhere, and everything that needs what one of these leaves.

    A hit on such a digest could be what another day, another run or another machine has made, and would leave the step
    undone. Answers are kept, so that asking for every step of a graph takes time in proportion to it.
    """

    def __init__(self, prebuilt: Mapping[str, Tree] = NO_TREES) -> None:
        self._prebuilt = prebuilt
        self._known: dict[str, bool] = {}

    def __call__(self, node: Node) -> bool:
        """Return whether the digest of `node` does not tell its content."""
        steps = (node,) if isinstance(node, Step) else direct_steps((node,))
        return any(self._classify(step) for step in steps)

    def before(self, step: Step) -> bool:
        """Return whether that goes for anything that `step` needs."""
        return any(self._classify(each) for each in predecessors(step))

    def _classify(self, wanted: Step) -> bool:
        # A stack of its own and no recursion: a chain of steps may be longer than Python's limit of 1000 calls.
        stack = [wanted]
        while stack:
            step = stack[-1]
            if step.digest in self._known:
                stack.pop()
                continue
            own = step.caching is not Caching.BY_DIGEST or step.digest in self._prebuilt
            before = () if own else predecessors(step)
            unknown = [each for each in before if each.digest not in self._known]
            if unknown:
                stack += unknown
                continue
            self._known[step.digest] = own or any(self._known[each.digest] for each in before)
            stack.pop()
        return self._known[wanted.digest]


@dataclass(slots=True)
class Demand:
    """What must be made, what is already there, and who waits for whom."""

    results: Results = field(default_factory=dict)
    found: list[Node] = field(default_factory=list)
    missing: dict[str, Node] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    dependents: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    failures: list[Exception] = field(default_factory=list)

    def check(self) -> None:
        """Raise the first failure, if there was one: for whatever has waited and would begin now."""
        if self.failures:
            raise self.failures[0]

    @property
    def ready(self) -> list[Node]:
        """What can be made at once."""
        return [node for digest, node in self.missing.items() if not self.waiting[digest]]


def demand(
    node: Node, lookup: Callable[[Node], Materialized | None], prebuilt: Mapping[str, Tree] = NO_TREES
) -> Demand:
    """Return what has to be made for `node`. What is found is not looked behind."""
    plan = Demand()
    seen: set[str] = set()
    stack = [node]
    while stack:
        current = stack.pop()
        if current.digest in seen:
            continue
        seen.add(current.digest)
        # Backwards from what is wanted: when the last result is there, nothing before it is looked at, nor needs to
        # exist.
        result = lookup(current)
        if result is not None:
            plan.results[current.digest] = result
            plan.found.append(current)
        else:
            plan.missing[current.digest] = current
            stack.extend(reversed(parts_of(current, prebuilt)))
    for digest, missing in plan.missing.items():
        before = {part.digest for part in parts_of(missing, prebuilt)} & plan.missing.keys()
        # A set: a step that has one tree as two inputs waits for it once, as it is released once.
        plan.waiting[digest] = len(before)
        for part in before:
            plan.dependents[part].append(digest)
    return plan


async def carry_out(plan: Demand, make: Callable[[Node, Results], Awaitable[Materialized]]) -> None:
    """Make everything that is missing, each thing once, as soon as its parts are there.

    After a failure nothing new begins; what is running may end, so that it need not run again. Raises the
    first failure.
    """

    async def work(node: Node) -> None:
        # Asked again here: this task was started before the failure, and may have waited for its turn since.
        if plan.failures:
            return
        try:
            plan.results[node.digest] = await make(node, plan.results)
        # Not BaseException: a cancellation has to pass, or the task group would wait for what never ends.
        except Exception as error:  # noqa: BLE001 - raised below, when everything that runs has ended
            plan.failures.append(error)
            return
        begin(released(plan, node))

    def begin(nodes: Iterable[Node]) -> None:
        for node in nodes:
            group.start_soon(work, node)

    async with anyio.create_task_group() as group:
        # Only what can run is a task. One for each node would be ten thousand tasks that wait.
        begin(plan.ready)
    plan.check()


def released(plan: Demand, node: Node) -> list[Node]:
    """Return what can be made now that `node` is there."""
    free = []
    for digest in plan.dependents.pop(node.digest, []):
        plan.waiting[digest] -= 1
        if not plan.waiting[digest]:
            free.append(plan.missing[digest])
    return free
