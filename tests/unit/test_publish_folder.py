"""`dist/<version>/` appears whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import anyio
import pytest

from pipeline.errors import PublishError
from pipeline.publish import folder as dist
from pipeline.publish.folder import Folder
from pipeline.publish.publisher import Changes, Receipt


def make_release(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
        os.utime(folder / name, (1000, 1000))
    return folder


def deliver(release: Path, target: Path) -> Receipt:
    return anyio.run(Folder(target.parent).publish, release, target.name)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_release_arrives_with_its_times_and_modes(tmp_path: Path) -> None:
    release = make_release(tmp_path / "from", a="1", b="2")
    (release / "a").chmod(0o700)
    (release / "b").chmod(0o600)
    deliver(release, tmp_path / "dist" / "1.0")
    target = tmp_path / "dist" / "1.0"
    assert names(target) == ["a", "b"]
    assert [path.stat().st_mode & 0o777 for path in sorted(target.iterdir())] == [0o755, 0o644]
    assert (target / "a").stat().st_mtime == 1000
    assert names(tmp_path / "dist") == ["1.0"]


def test_a_second_release_replaces_the_first_entirely(tmp_path: Path) -> None:
    deliver(make_release(tmp_path / "one", a="1", old="x"), tmp_path / "dist" / "1.0")
    deliver(make_release(tmp_path / "two", a="2"), tmp_path / "dist" / "1.0")
    assert names(tmp_path / "dist" / "1.0") == ["a"]
    assert (tmp_path / "dist" / "1.0" / "a").read_text() == "2"
    assert names(tmp_path / "dist") == ["1.0"]


def test_a_release_that_is_there_already_is_left_alone(tmp_path: Path) -> None:
    release, target = make_release(tmp_path / "one", a="1", b="2"), tmp_path / "dist" / "1.0"
    deliver(release, target)
    before = target.stat().st_ino
    deliver(release, target)
    assert target.stat().st_ino == before


@pytest.mark.parametrize("change", ["byte", "mode", "time", "extra", "link", "folder"])
def test_whatever_is_different_is_put_right(tmp_path: Path, change: str) -> None:
    release, target = make_release(tmp_path / "one", a="1", b="2"), tmp_path / "dist" / "1.0"
    deliver(release, target)
    match change:
        case "byte":
            (target / "a").write_text("3")
            os.utime(target / "a", (1000, 1000))
        case "mode":
            (target / "a").chmod(0o666)
        case "time":
            os.utime(target / "a", (1001, 1001))
        case "extra":
            (target / "c").write_text("")
        case "folder":
            target.chmod(0o700)
        case _:
            (target / "a").unlink()
            (target / "a").symlink_to(release / "a")
    deliver(release, target)
    assert names(target) == ["a", "b"]
    assert target.stat().st_mode & 0o777 == 0o755
    status = (target / "a").lstat()
    assert ((target / "a").read_text(), status.st_mode, status.st_mtime) == ("1", 0o100644, 1000)


def test_it_also_replaces_where_the_file_system_cannot_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dist, "_exchange", lambda *_: False)
    deliver(make_release(tmp_path / "one", a="1"), tmp_path / "dist" / "1.0")
    deliver(make_release(tmp_path / "two", a="2"), tmp_path / "dist" / "1.0")
    assert (tmp_path / "dist" / "1.0" / "a").read_text() == "2"
    assert names(tmp_path / "dist") == ["1.0"]


def test_what_fails_half_way_leaves_the_old_release_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(make_release(tmp_path / "one", a="1"), tmp_path / "dist" / "1.0")
    real = shutil.copyfile
    copied: list[object] = []

    def fail_on_the_second(source: Path, destination: Path, **options: bool) -> Path:
        copied.append(source)
        if len(copied) == 2:
            raise OSError(28, "No space left on device", str(destination))
        return real(source, destination, **options)

    monkeypatch.setattr(shutil, "copyfile", fail_on_the_second)
    with pytest.raises(PublishError, match="No space left") as caught:
        deliver(make_release(tmp_path / "two", a="2", b="3"), tmp_path / "dist" / "1.0")
    assert "--dist" in caught.value.resolution
    assert (tmp_path / "dist" / "1.0" / "a").read_text() == "1"
    assert names(tmp_path / "dist") == ["1.0"]


def test_the_receipt_says_what_had_to_be_done(tmp_path: Path) -> None:
    target = tmp_path / "dist" / "1.0"
    deliver(make_release(tmp_path / "one", a="1", b="2", old="x"), target)
    receipt = deliver(make_release(tmp_path / "two", a="1", b="3", c="4"), target)
    assert receipt.changes == Changes(put=("b", "c"), keep=("a",), remove=("old",))
    assert str(receipt) == f"{target}: 2 files put, 1 kept, 1 removed"


def test_a_release_without_files_is_an_empty_folder(tmp_path: Path) -> None:
    deliver(make_release(tmp_path / "one"), tmp_path / "dist" / "1.0")
    assert names(tmp_path / "dist" / "1.0") == []


def test_before_the_build_it_says_that_the_place_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    anyio.run(Folder(tmp_path / "not" / "there" / "yet").check, "1.0")
    with pytest.raises(PublishError, match="file is not a folder"):
        anyio.run(Folder(tmp_path / "file").check, "1.0")
    with pytest.raises(PublishError, match="file is not a folder"):
        anyio.run(Folder(tmp_path).check, "file")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PublishError, match=f"{tmp_path} is not writable") as caught:
        anyio.run(Folder(tmp_path / "dist").check, "1.0")
    assert "--dist" in caught.value.resolution
    assert names(tmp_path) == ["file"]
