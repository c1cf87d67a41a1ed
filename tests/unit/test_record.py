"""The engine that only records."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from pipeline.engine.base import Event, Secret, What
from pipeline.engine.record import RecordingEngine, Virtual
from pipeline.errors import EngineError, StepFailedError
from pipeline.model.image import Base, Image
from pipeline.model.step import Step
from pipeline.model.tree import File, Files, Given, Merge, Pick, Tree

IMAGE = Image("none", Base("none", ""))


def make(title: str, **fields: Any) -> Step:
    return Step(title=title, image=IMAGE, argv=(title,), **fields)


def run(engine: RecordingEngine, tree: Tree, **options: Any) -> Virtual:
    return anyio.run(partial(engine.evaluate, tree, **options))


def test_steps_are_recorded_once_in_an_order_in_which_they_could_run() -> None:
    events: list[Event] = []
    engine = RecordingEngine(observer=events.append)
    build = make("build", outputs=("weed",))
    sbom = make("sbom", inputs=(("binary", build.out),), outputs=("a.json",))
    files = run(engine, Merge.of(("bin", build.out), sbom.out))
    assert engine.titles == ["build", "sbom"]
    assert sorted(files) == ["a.json", "bin/weed"]
    run(engine, sbom.out)
    assert engine.titles == ["build", "sbom"]
    assert [event.what for event in events] == [What.STARTED, What.FINISHED] * 2


def test_an_answer_can_be_made_of_the_inputs() -> None:
    def upper(_: Step, inputs: dict[str, Virtual]) -> Virtual:
        return {"out": File(inputs["in"]["d/f"].content.upper())}

    engine = RecordingEngine({"upper": upper})  # type: ignore[dict-item]
    step = make("upper", inputs=(("in", Files.of({"d/f": "text"})),), outputs=("out",))
    assert run(engine, step.out)["out"].content == b"TEXT"


def test_an_answer_without_a_promised_output_fails() -> None:
    engine = RecordingEngine({"build": {"other": File(b"")}})
    with pytest.raises(StepFailedError, match="did not make /out/weed"):
        run(engine, make("build", outputs=("weed",)).out)


def test_trees_are_combined_as_an_engine_would() -> None:
    engine = RecordingEngine()
    tree = Files.of({"top/a/x": "1", "top/b": "2"})
    assert sorted(run(engine, Pick(tree, paths=("a",), root="top"))) == ["a/x"]
    assert sorted(run(engine, Pick(tree, root="top"))) == ["a/x", "b"]
    with pytest.raises(EngineError, match="top/none"):
        run(engine, Pick(tree, paths=("none",), root="top"))
    with pytest.raises(EngineError, match="both bring b"):
        run(engine, Merge.of(Files.of({"b": "1"}), Files.of({"b": "1"})))


def test_what_is_not_given_is_named() -> None:
    with pytest.raises(EngineError, match="source"):
        run(RecordingEngine(), Given("source", "test:1"))
    given = {"source": {"f": File(b"")}}
    assert sorted(run(RecordingEngine(), Given("source", "test:1"), given=given)) == ["f"]
    with pytest.raises(EngineError, match="key"):
        run(RecordingEngine(), make("sign", secrets=("key",)).out)
    run(RecordingEngine(), make("sign", secrets=("key",)).out, secrets={"key": Secret(b"")})
