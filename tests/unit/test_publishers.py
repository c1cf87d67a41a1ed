"""What every publisher of the table promises, tried on each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
import pytest

from pipeline.errors import UsageError
from pipeline.publish.publisher import Changes, Publisher
from pipeline.publish.table import PUBLISHERS, publisher

PLACES: Mapping[str, Callable[[Path], str]] = {
    "folder": lambda scratch: f"{scratch}/releases",
}
"""A place of its own for each publisher, by the publisher's name."""


@pytest.fixture(params=PUBLISHERS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Publisher:
    return publisher(f"{request.param}:{PLACES[request.param](tmp_path)}")


def release(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def changes(place: Publisher, folder: Path) -> Changes:
    return anyio.run(place.plan, folder, "1.0")


def test_every_publisher_of_the_table_is_tried() -> None:
    assert set(PLACES) == set(PUBLISHERS)


def test_a_plan_is_what_publishing_does_and_changes_nothing_itself(place: Publisher, tmp_path: Path) -> None:
    made = release(tmp_path / "made", a="1", b="2")
    anyio.run(place.check, "1.0")
    assert changes(place, made) == changes(place, made) == Changes(put=("a", "b"))
    receipt = anyio.run(place.publish, made, "1.0")
    assert receipt.changes == Changes(put=("a", "b"))
    assert receipt.where


def test_what_is_there_is_not_published_again(place: Publisher, tmp_path: Path) -> None:
    made = release(tmp_path / "made", a="1", b="2")
    anyio.run(place.publish, made, "1.0")
    anyio.run(place.check, "1.0")
    assert not changes(place, made)
    assert not anyio.run(place.publish, made, "1.0").changes


def test_a_release_of_another_version_is_another_one(place: Publisher, tmp_path: Path) -> None:
    made = release(tmp_path / "made", a="1")
    anyio.run(place.publish, made, "1.0")
    assert anyio.run(place.publish, made, "2.0").changes == Changes(put=("a",))
    assert not changes(place, made)


@pytest.mark.parametrize("place", ["floder:/srv", "folder", "folder:", "/srv/releases"])
def test_a_place_that_is_not_one_is_named_with_the_publishers(place: str) -> None:
    with pytest.raises(UsageError, match="--publish must be NAME:WHERE") as caught:
        publisher(place)
    assert "publishers: folder" in str(caught.value)
    assert place != "floder:/srv" or "did you mean folder:WHERE?" in str(caught.value)
