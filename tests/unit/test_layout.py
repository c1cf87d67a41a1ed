"""Putting listings together and picking from them, without a disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.engine.local.layout import Placed, merge, pick
from pipeline.errors import EngineError
from pipeline.host.content import Item
from pipeline.model.tree import Files, Pick

LISTING = (
    Item("a", "d", 0o700),
    Item("a/deep", "d", 0o755),
    Item("a/deep/file", "f", 0o644, 1, "x"),
    Item("a-b", "f", 0o644, 1, "y"),
    Item("link", "l", 0, 0, "a-b"),
)
TREE = Files.of({"unused": ""})


def shape(placed: Placed) -> dict[str, tuple[str, int, str]]:
    return {path: (item.kind, item.mode, source) for path, (item, source) in placed.items()}


def test_a_prefix_implies_its_directories() -> None:
    placed = merge([("x/y", LISTING[3:4], Path("/s"))])
    assert shape(placed) == {
        "x": ("d", 0o755, ""),
        "x/y": ("d", 0o755, ""),
        "x/y/a-b": ("f", 0o644, "/s/a-b"),
    }


def test_directories_unite_with_the_bits_of_both() -> None:
    other = (Item("a", "d", 0o755), Item("a/second", "f", 0o600, 0, ""))
    placed = shape(merge([("", LISTING, Path("/s")), ("", other, Path("/t"))]))
    assert placed["a"] == ("d", 0o755, "/t/a")
    assert placed["a/second"] == ("f", 0o600, "/t/a/second")


@pytest.mark.parametrize("kind", ["f", "l", "d"])
def test_anything_else_twice_is_an_error(kind: str) -> None:
    with pytest.raises(EngineError, match="both have a-b"):
        merge([("", LISTING, Path("/s")), ("", (Item("a-b", kind, 0o644),), Path("/t"))])


def test_a_prefix_that_is_a_file_is_an_error() -> None:
    with pytest.raises(EngineError, match="both have a-b"):
        merge([("", LISTING, Path("/s")), ("a-b/c", LISTING, Path("/t"))])


def test_picking_a_file_keeps_the_directories_that_lead_to_it() -> None:
    placed = shape(pick(Pick(TREE, paths=("a/deep/file",)), LISTING, Path("/s")))
    assert placed == {
        "a": ("d", 0o700, "/s/a"),
        "a/deep": ("d", 0o755, "/s/a/deep"),
        "a/deep/file": ("f", 0o644, "/s/a/deep/file"),
    }


def test_picking_from_a_root_drops_it_from_the_paths() -> None:
    placed = pick(Pick(TREE, paths=("deep",), root="a", optional=("none",)), LISTING, Path("/s"))
    assert sorted(placed) == ["deep", "deep/file"]


def test_a_name_that_only_begins_alike_is_not_picked() -> None:
    assert sorted(pick(Pick(TREE, paths=("a",)), LISTING, Path("/s"))) == ["a", "a/deep", "a/deep/file"]


def test_what_is_missing_is_named_with_what_is_there() -> None:
    with pytest.raises(EngineError, match="has no a/none, a/other") as caught:
        pick(Pick(TREE, paths=("none", "other"), root="a"), LISTING, Path("/s"))
    assert "a-b" in caught.value.details
