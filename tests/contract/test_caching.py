"""When a step runs again: by its digest, once a day, or each time; and what becomes of the steps that need it."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.engine.base import What
from pipeline.errors import EngineError
from pipeline.model.step import Caching, Effect
from pipeline.model.tree import Files, Merge, Pick
from tests.contract.adapters import DAY, Adapter
from tests.contract.conftest import MakeStep

NEXT_DAY = "2026-01-02"
UNIQUE = "cat /proc/sys/kernel/random/uuid > /out/id"
NEVER: list[dict[str, Any]] = [
    {"caching": Caching.NEVER},
    {"network": True, "caching": Caching.NEVER},
    {"network": True, "caching": Caching.NEVER, "effect": Effect.PUBLISH},
]


def test_an_unchanged_step_is_not_run_again(engine: Adapter, step: MakeStep) -> None:
    first = (engine.run(step(UNIQUE).out) / "id").read_text()
    engine.again(NEXT_DAY)
    assert (engine.run(step(UNIQUE, title="another title").out) / "id").read_text() == first
    changed = step(UNIQUE, env=(("X", "1"),))
    assert (engine.run(changed.out) / "id").read_text() != first


@pytest.mark.parametrize("fields", NEVER)
def test_a_step_that_is_never_cached_runs_again_even_for_one_that_could_be(
    engine: Adapter, step: MakeStep, fields: dict[str, Any]
) -> None:
    always = step(UNIQUE, **fields)
    after = step("cp /in/a/id /out/", inputs=(("a", always.out),))
    first = (engine.run(after.out) / "id").read_text()
    engine.again()
    assert (engine.run(Merge.of(after.out)) / "id").read_text() != first


def test_a_step_that_two_trees_need_runs_once(engine: Adapter, step: MakeStep) -> None:
    shared = step(UNIQUE, caching=Caching.NEVER)
    left = step("cp /in/a/id /out/left", inputs=(("a", shared.out),))
    right = step("cp /in/a/id /out/right", inputs=(("a", shared.out),))
    out = engine.run(Merge.of(left.out, right.out))
    assert (out / "left").read_text() == (out / "right").read_text()


@pytest.mark.parametrize("network", [False, True])
def test_a_daily_step_runs_again_on_another_day_and_not_on_the_same(
    engine: Adapter, step: MakeStep, network: bool
) -> None:
    def run() -> str:
        return (engine.run(step(UNIQUE, network=network, caching=Caching.DAILY).out) / "id").read_text()

    first = run()
    engine.again()
    assert run() == first
    engine.again(NEXT_DAY)
    second = run()
    assert second != first
    engine.again()
    assert run() == first
    engine.again(NEXT_DAY)
    assert run() == second


@pytest.mark.parametrize("caching", [Caching.DAILY, Caching.NEVER])
def test_what_needs_a_step_that_ran_again_does_not_run_again_for_the_same_content(
    engine: Adapter, step: MakeStep, caching: Caching
) -> None:
    script = f"{UNIQUE}; mkdir /out/d; echo same > /out/d/file"
    again = step(script, caching=caching)
    picked = step(f"{UNIQUE}; cat /in/a/d/file", inputs=(("a", Pick(again.out, paths=("d/file",))),))
    merged = step(UNIQUE, inputs=(("all", Merge.of(picked.out, ("other", Files.of({"f": "x"})))),))
    last = Merge.of(("p", picked.out), ("m", merged.out), ("a", again.out))

    def run() -> list[str]:
        out = engine.run(last)
        return [(out / name / "id").read_text() for name in ("a", "p", "m")]

    first = run()
    engine.again(NEXT_DAY)
    second = run()
    assert second[0] != first[0]
    assert second[1:] == first[1:]


def test_what_needs_a_daily_step_has_its_content_of_that_day(engine: Adapter, step: MakeStep) -> None:
    feed = step("echo $TODAY > /out/day", network=True, caching=Caching.DAILY)
    judged = step("cp /in/feed/day /out/; echo judged on $TODAY >> /out/day", inputs=(("feed", feed.out),),
                  caching=Caching.DAILY)  # fmt: skip
    after = step("cp /in/judged/day /out/", inputs=(("judged", judged.out),))

    def run() -> str:
        return (engine.run(after.out) / "day").read_text()

    assert run() == f"{DAY}\njudged on {DAY}\n"
    engine.again(NEXT_DAY)
    assert run() == f"{NEXT_DAY}\njudged on {NEXT_DAY}\n"
    engine.again()
    assert run() == f"{DAY}\njudged on {DAY}\n"


@pytest.mark.parametrize("network", [False, True])
@pytest.mark.parametrize("caching", Caching)
def test_only_a_daily_step_is_told_the_day(engine: Adapter, step: MakeStep, caching: Caching, network: bool) -> None:
    out = engine.run(step("echo ${TODAY-nothing} > /out/day", network=network, caching=caching).out)
    assert (out / "day").read_text().strip() == (DAY if caching is Caching.DAILY else "nothing")


def test_without_a_day_a_daily_step_is_an_error_that_names_it(engine: Adapter, step: MakeStep) -> None:
    engine.again("")
    assert (engine.run(step(UNIQUE).out) / "id").read_text()
    with pytest.raises(EngineError, match='"feed" runs once a day, and the engine was not told the date'):
        engine.run(step("true", title="feed", caching=Caching.DAILY).out)


def test_an_output_that_was_made_elsewhere_is_taken_and_kept_for_nobody_else(engine: Adapter, step: MakeStep) -> None:
    source = step(f"{UNIQUE}; exit 3", title="not run when nobody needs it")
    build = step("echo own > /out/program", title="build", inputs=(("source", Files.of({"f": "x"})),),
                 outputs=("program",))  # fmt: skip
    needless = step("cp /in/source/id /out/program", title="fetched", inputs=(("source", source.out),))
    scan = step("cat /in/program/program > /out/scan", title="scan", inputs=(("program", build.out),))
    other = step("cat /in/program/program > /out/other", inputs=(("program", needless.out),))
    elsewhere = Files.of({"program": "foreign\n"})
    prebuilt = {build.digest: elsewhere, needless.digest: elsewhere}
    both = Merge.of(scan.out, other.out)
    out = engine.run(both, prebuilt=prebuilt)
    assert [(out / name).read_text() for name in ("scan", "other")] == ["foreign\n", "foreign\n"]
    ran = {event.step.title: event.what for event in engine.events if event.what is not What.OUTPUT}
    assert ran["build"] is What.PREBUILT
    assert source.title not in ran
    for _ in range(2):  # in the same process, and in the next
        assert (engine.run(scan.out) / "scan").read_text() == "own\n"
        assert (engine.run(Merge.of(scan.out, build.out)) / "program").read_text() == "own\n"
        engine.again()
    out = engine.run(both, prebuilt=prebuilt)
    assert (out / "scan").read_text() == "foreign\n"


def test_what_needs_an_output_from_elsewhere_is_found_by_its_content(engine: Adapter, step: MakeStep) -> None:
    build = step("echo program > /out/program", title="build")
    after = step(UNIQUE, inputs=(("program", build.out),))
    same = {build.digest: step("echo program > /out/program # taken over", title="take over").out}
    first = (engine.run(after.out, prebuilt=same) / "id").read_text()
    engine.again()
    assert (engine.run(after.out, prebuilt=same) / "id").read_text() == first
    assert (engine.run(after.out) / "id").read_text() == first


def test_an_output_from_elsewhere_that_lacks_something_is_an_error(engine: Adapter, step: MakeStep) -> None:
    build = step("touch /out/program", title="build", outputs=("program",))
    with pytest.raises(EngineError, match='the output that was given for step "build" has no program'):
        engine.run(Merge.of(build.out), prebuilt={build.digest: Files.of({"readme": ""})})
