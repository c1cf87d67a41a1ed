"""Trees, steps and images: what is part of an identity and what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.model.graph import predecessors, steps_of
from pipeline.model.image import Base, Image
from pipeline.model.step import WORK, Cache, Caching, Effect, ExitCode, Step
from pipeline.model.tree import EMPTY, File, Files, Given, Merge, Pick

IMAGE = Image("base", Base("base", "sha256:1"))


def step(**changes: object) -> Step:
    return replace(Step(title="a step", image=IMAGE, argv=("true",)), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"argv": ("false",)},
        {"argv": ("true", "")},
        {"image": Image("base", Base("base", "sha256:2"))},
        {"image": Image("base", IMAGE.base, layers=(("/opt/x", EMPTY),))},
        {"image": Image("base", IMAGE.base, path=("/bin",))},
        {"inputs": (("a", EMPTY),)},
        {"inputs": (("b", EMPTY),)},
        {"inputs": (("a", Files.of({"f": "x"})),)},
        {"env": (("A", "1"),)},
        {"caches": (Cache(f"{WORK}/c", "k"),)},
        {"secrets": ("key",)},
        {"network": True},
        {"caching": Caching.DAILY},
        {"network": True, "caching": Caching.NEVER, "effect": Effect.PUBLISH},
        {"exit_code": ExitCode.IS_DATA},
        {"platform": "linux/arm64"},
        {"epoch": 1},
        {"outputs": ("f",)},
    ],
)
def test_whatever_can_change_the_output_changes_the_digest(changes: dict[str, object]) -> None:
    assert step(**changes).digest != step().digest
    assert step(**changes) != step()


@pytest.mark.parametrize("changes", [{"title": "another title"}, {"timeout": 1.0}, {"expected_seconds": 9.0}])
def test_what_people_read_is_not_identity(changes: dict[str, object]) -> None:
    assert step(**changes) == step()
    assert hash(step(**changes)) == hash(step())


def test_the_name_of_an_image_is_not_identity_but_its_content_is() -> None:
    assert Image("one", IMAGE.base).digest == Image("two", IMAGE.base).digest
    assert Base("one", "sha256:1").digest == Base("two", "sha256:1").digest
    assert Base("one", "sha256:1", reference="r:1").digest == Base("one", "sha256:1").digest
    assert Base("one", "sha256:1", packages=("p",)).digest != Base("one", "sha256:1").digest


def test_two_unknown_roots_are_never_the_same() -> None:
    assert not Base("one", "").known
    assert Base("one", "").digest != Base("two", "").digest


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"argv": ()}, "argv"),
        ({"argv": "true"}, "argv"),
        ({"argv": ("a\0b",)}, "NUL"),
        ({"inputs": (("b", EMPTY), ("a", EMPTY))}, "sorted"),
        ({"inputs": (("a", EMPTY), ("a", EMPTY))}, "sorted"),
        ({"inputs": (("../a", EMPTY),)}, "plain"),
        ({"secrets": ("a/b",)}, "plain"),
        ({"env": (("A B", ""),)}, "plain"),
        ({"env": (("PATH", "/bin"),)}, "PATH"),
        ({"env": (("SOURCE_DATE_EPOCH", "1"),)}, "SOURCE_DATE_EPOCH"),
        ({"outputs": ("/etc/passwd",)}, "relative"),
        ({"outputs": ("../x",)}, "relative"),
        ({"epoch": -1}, "epoch"),
        ({"env": (("TODAY", "2026-01-01"),)}, "TODAY is set by the engine"),
        ({"effect": Effect.PUBLISH, "caching": Caching.NEVER}, "needs the network"),
        ({"effect": Effect.PUBLISH, "network": True}, "never cached"),
        ({"effect": Effect.PUBLISH, "network": True, "caching": Caching.DAILY}, "never cached"),
    ],
)
def test_a_step_that_makes_no_sense_cannot_be_made(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        step(**changes)


@pytest.mark.parametrize("path", ["", "/a", "../a", "a/../b", "a//b", "./a", "a\nb", "a\0"])
def test_a_path_that_leaves_its_tree_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="relative"):
        Files.of({path: "x"})
    with pytest.raises(ValueError, match="relative"):
        Pick(EMPTY, paths=(path,))


def test_files_are_told_apart_by_name_mode_and_content() -> None:
    trees = [
        Files.of({"a": "x"}),
        Files.of({"b": "x"}),
        Files.of({"a": "y"}),
        Files.of({"a": File(b"x", 0o755)}),
        Files.of({"a": "x", "b": "x"}),
    ]
    assert len({tree.digest for tree in trees}) == len(trees)
    assert Files.of({"b": "1", "a": "2"}) == Files.of({"a": "2", "b": "1"})


def test_a_given_tree_is_what_it_holds_not_what_it_is_called() -> None:
    assert Given("one", "git-tree:1").digest == Given("two", "git-tree:1").digest
    assert Given("one", "git-tree:1").digest != Given("one", "git-tree:2").digest


def test_the_order_of_a_graph_comes_from_inputs() -> None:
    first = step(argv=("1",))
    second = step(argv=("2",), inputs=(("a", first.out),))
    third = step(argv=("3",), inputs=(("a", Pick(second.out, paths=("x",))), ("b", Merge.of(first.out, EMPTY))))
    assert list(steps_of(third.out)) == [first, second, third]
    assert set(predecessors(third)) == {first, second}


def test_the_layers_of_an_image_come_before_the_step_that_runs_in_it() -> None:
    tool = step(argv=("make the tool",))
    user = step(image=Image("tooled", IMAGE.base, layers=(("/opt/tool", tool.out),)))
    assert list(steps_of(user.out)) == [tool, user]


def test_a_chain_and_a_diamond_of_ten_thousand_steps_are_walked_without_recursion() -> None:
    last = step(argv=("0",))
    for number in range(1, 10_000):
        last = step(argv=(str(number),), inputs=(("a", last.out), ("b", Pick(last.out, paths=("x",)))))
    assert sum(1 for _ in steps_of(last.out)) == 10_000
    assert "…" not in repr(last)
    assert len(repr(last)) < 1000
