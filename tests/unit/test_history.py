"""Saying what changed about a step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine.local.history import History, differences, fields_of
from pipeline.model.image import Base, Image
from pipeline.model.step import Cache, Caching, Effect, ExitCode, Step
from pipeline.model.tree import Files

IMAGE = Image("go", Base("go", "sha256:1"), (("/usr/local/go", Files.of({"v": "1.24"})),))
STEP = Step(
    title="compile",
    image=IMAGE,
    argv=("go", "build"),
    inputs=(("source", Files.of({"a": "1"})),),
    env=(("CGO_ENABLED", "0"),),
    caches=(Cache("/cache", "go"),),
)

CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "argv": ({"argv": ("go", "vet")}, "its command changed"),
    "input": ({"inputs": (("source", Files.of({"a": "2"})),)}, "input source changed"),
    "input gone": ({"inputs": ()}, "input source is gone"),
    "env": ({"env": (("CGO_ENABLED", "1"),)}, "variable CGO_ENABLED changed"),
    "base": ({"image": Image("go", Base("go", "sha256:2"), IMAGE.layers)}, "its image changed"),
    "layer": (
        {"image": Image("go", IMAGE.base, (("/usr/local/go", Files.of({"v": "1.25"})),))},
        "tool /usr/local/go changed",
    ),
    "path": ({"image": Image("go", IMAGE.base, IMAGE.layers, ("/bin",))}, "its PATH changed"),
    "cache": ({"caches": (Cache("/cache", "other"),)}, "cache /cache changed"),
    "secrets": ({"secrets": ("key",)}, "its secrets changed"),
    "network": ({"network": True}, "its use of the network changed"),
    "caching": ({"caching": Caching.DAILY}, "its caching changed"),
    "effect": (
        {"network": True, "caching": Caching.NEVER, "effect": Effect.PUBLISH},
        "its use of the network changed, its caching changed, its effect changed",
    ),
    "exit code": ({"exit_code": ExitCode.IS_DATA}, "the meaning of its exit code changed"),
    "epoch": ({"epoch": 5}, "its time stamp changed"),
    "outputs": ({"outputs": ("x",)}, "the outputs it must make changed"),
    "platform": ({"platform": "linux/arm64"}, "its platform changed"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_named_alone(change: str) -> None:
    fields, words = CHANGES[change]
    assert ", ".join(differences(fields_of(STEP), fields_of(replace(STEP, **fields)))) == words


def test_every_field_of_the_identity_is_compared() -> None:
    changed = {name for fields, _ in CHANGES.values() for name in fields}
    free = {"title", "timeout", "expected_seconds", "digest"}
    assert changed == set(Step.__dataclass_fields__) - free


def test_the_nearest_of_several_steps_with_one_title_explains(tmp_path: Path) -> None:
    history = History(tmp_path, tmp_path)
    other = replace(STEP, argv=("other",), env=(), inputs=())
    history.record([other, STEP])
    reason = History(tmp_path, tmp_path).explain(replace(STEP, argv=("go", "vet")), cached=False)
    assert reason.changes == ("its command changed",)


def test_many_changes_are_cut_in_the_brief_and_whole_in_the_list(tmp_path: Path) -> None:
    history = History(tmp_path, tmp_path)
    history.record([STEP])
    reason = history.explain(replace(STEP, argv=("x",), env=(), inputs=(), caches=()), cached=False)
    assert reason.brief.endswith(", …")
    assert len(reason.changes) == 4


def test_plans_are_kept_beside_each_other(tmp_path: Path) -> None:
    History(tmp_path, tmp_path).record([STEP])
    History(tmp_path, tmp_path).record([replace(STEP, title="other")])
    assert History(tmp_path, tmp_path).explain(STEP, cached=False).brief != "new step"


def test_a_history_that_cannot_be_read_is_empty(tmp_path: Path) -> None:
    (tmp_path / "history.json").write_text("{")
    assert History(tmp_path, tmp_path).explain(STEP, cached=False).brief == "new step"


def test_arguments_and_values_are_not_in_the_file(tmp_path: Path) -> None:
    history = History(tmp_path, tmp_path)
    history.record([replace(STEP, argv=("curl", "token-in-argv"), env=(("T", "token-in-env"),))])
    assert "token-in" not in (tmp_path / "history.json").read_text()
