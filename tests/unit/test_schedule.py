"""Demand, order, and what always runs: on graphs too deep and too wide for recursion."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from pipeline.engine.local import schedule
from pipeline.engine.local.entry import Materialized
from pipeline.engine.local.schedule import Freshness, Node, Results
from pipeline.model.image import Base, Image
from pipeline.model.step import Caching, Step
from pipeline.model.tree import Files, Merge, Pick, Tree

IMAGE = Image("none", Base("none", "sha256:0"))
LAID = Materialized(path=Path("/nowhere"), identity="same", manifest=Path("/nowhere"))


def make(title: str, *parts: Tree, **fields: Any) -> Step:
    inputs = tuple((f"i{number:05}", part) for number, part in enumerate(parts))
    return Step(title=title, image=IMAGE, argv=(title,), inputs=inputs, **fields)


def chain(length: int) -> Step:
    step = make("0")
    for number in range(1, length):
        step = make(str(number), step.out)
    return step


def carry_out(node: Node, *, cached: frozenset[str] = frozenset(), failing: str = "") -> list[str]:
    order: list[str] = []

    async def work(wanted: Node, results: Results) -> Materialized:
        await anyio.lowlevel.checkpoint()
        assert all(part.digest in results for part in schedule.parts_of(wanted))
        assert isinstance(wanted, Step | Merge)
        title = wanted.title if isinstance(wanted, Step) else "merge"
        if title == failing:
            raise ValueError(title)
        order.append(title)
        return LAID

    plan = schedule.demand(node, lambda each: LAID if each.digest in cached else None)
    try:
        anyio.run(schedule.carry_out, plan, work)
    except ValueError:
        order.append("failed")
    return order


def test_everything_runs_once_after_its_parts() -> None:
    base = make("base")
    left, right = make("left", base.out), make("right", base.out)
    order = carry_out(make("top", Merge.of(("l", left.out), ("r", right.out)), base.out))
    assert order[0] == "base"
    assert sorted(order[1:3]) == ["left", "right"]
    assert order[3:] == ["merge", "top"]


def test_nothing_behind_a_hit_is_looked_at() -> None:
    base = make("base")
    middle = make("middle", base.out)
    looked: list[str] = []

    def lookup(node: Node) -> Materialized | None:
        looked.append(node.digest)
        return LAID if node == middle else None

    plan = schedule.demand(make("top", middle.out), lookup)
    assert base.digest not in looked
    assert [node.digest for node in plan.found] == [middle.digest]
    assert len(plan.ready) == 1


def test_after_a_failure_nothing_that_needs_it_runs() -> None:
    bad = make("bad")
    assert carry_out(make("top", bad.out), failing="bad") == ["failed"]


@pytest.mark.parametrize("shape", ["deep", "wide"])
def test_ten_thousand_steps(shape: str) -> None:
    leaves = [make(f"leaf {number}").out for number in range(9_999)]
    top = chain(10_000) if shape == "deep" else make("top", *leaves)
    began = time.process_time()
    assert len(carry_out(top)) == 10_000
    assert time.process_time() - began < 15


def test_a_picked_folder_needs_no_copy() -> None:
    tree = Files.of({"d/f": ""})
    assert schedule.is_view(Pick(tree, root="d"))
    assert schedule.is_view(Pick(tree))
    assert not schedule.is_view(Pick(tree, paths=("d/f",)))
    assert not schedule.is_view(Pick(tree, root="d", optional=("f",)))


def test_what_depends_on_a_step_that_always_runs_is_never_looked_up() -> None:
    sign = make("sign", caching=Caching.NEVER)
    fetch = make("fetch", network=True)
    after = make("after", Pick(sign.out, paths=("a",)))
    fresh = Freshness()
    assert [fresh(node) for node in (sign, fetch, after)] == [True, False, True]
    assert fresh(Merge.of(("a", fetch.out), ("b", after.out)))
    assert not fresh(Merge.of(("a", fetch.out)))


def test_asking_for_every_step_of_a_long_chain_takes_linear_time() -> None:
    steps = [make("0", make("feed", caching=Caching.DAILY).out)]
    for number in range(1, 5_000):
        steps.append(make(str(number), steps[-1].out))
    began = time.process_time()
    fresh = Freshness()
    assert all(fresh(step) for step in reversed(steps))
    assert time.process_time() - began < 5
