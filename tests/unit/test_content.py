"""Content listings, their digest, and laying copies out."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.host.content import (
    Item,
    SpecialFileError,
    content_digest,
    copy_file,
    copy_items,
    digest_of,
    fingerprints,
    normalise,
    remove_tree,
    scan,
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "d/empty").mkdir(parents=True)
    (root / "d/f").write_text("text")
    (root / "d/f").chmod(0o640)
    (root / "link").symlink_to("d/f")
    return root


def test_a_listing_names_everything_with_type_mode_size_and_content(tree: Path) -> None:
    sha256_of_text = "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"
    assert scan(tree) == (
        Item("d", "d", 0o755),
        Item("d/empty", "d", 0o755),
        Item("d/f", "f", 0o640, 4, sha256_of_text),
        Item("link", "l", 0, 0, "d/f"),
    )


CHANGES: dict[str, Callable[[Path], object]] = {
    "bytes": lambda root: (root / "d/f").write_text("tex!"),
    "mode": lambda root: (root / "d/f").chmod(0o600),
    "mode of a directory": lambda root: (root / "d").chmod(0o700),
    "name": lambda root: (root / "d/f").rename(root / "d/g"),
    "another file": lambda root: (root / "new").touch(),
    "an empty directory less": lambda root: (root / "d/empty").rmdir(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_content_changes_the_digest(tree: Path, change: str) -> None:
    before = digest_of(tree)
    CHANGES[change](tree)
    assert digest_of(tree) != before


def test_times_owners_and_set_id_bits_are_no_content(tree: Path) -> None:
    before = digest_of(tree)
    os.utime(tree / "d/f", (1, 1))
    (tree / "d").chmod(0o2755)
    assert digest_of(tree) == before


def test_a_file_where_a_link_was_is_another_content() -> None:
    file, link = Item("a", "f", 0o644, 1, "x"), Item("a", "l", 0, 0, "x")
    assert content_digest([file]) != content_digest([link])


def test_names_that_are_not_utf8_have_a_digest(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")).touch()
    other = tmp_path / "other"
    other.mkdir()
    items = scan(tmp_path)
    copy_items([(item, f"{tmp_path}/{item.path}") for item in items if item.kind == "f"], other, 0)
    assert [os.fsencode(path.name) for path in other.iterdir()] == [b"\xff\xfe"]
    assert content_digest(items).startswith("sha256:")


def test_special_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    os.mkfifo(tmp_path / "d/pipe")
    with pytest.raises(SpecialFileError, match="d/pipe is a named pipe"):
        scan(tmp_path)
    (tmp_path / "d/pipe").unlink()
    with socket.socket(socket.AF_UNIX) as unix:
        here = Path.cwd()
        os.chdir(tmp_path)
        try:
            unix.bind("sock")
        finally:
            os.chdir(here)
    with pytest.raises(SpecialFileError, match="sock is a socket"):
        normalise(tmp_path, 0)


def test_normalising_sets_every_time_and_drops_set_id_bits(tree: Path) -> None:
    (tree / "d/f").chmod(0o6755)
    (tree / "d").chmod(0o3555)
    normalise(tree, 1_000_000_000)
    paths = [tree, *tree.rglob("*")]
    assert {path.lstat().st_mtime for path in paths} == {1_000_000_000}
    assert stat.S_IMODE((tree / "d/f").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "d").stat().st_mode) == 0o555


def test_normalising_keeps_files_readable_for_their_owner(tree: Path) -> None:
    (tree / "d/f").chmod(0)
    (tree / "d/empty").chmod(0)
    normalise(tree, 0)
    modes = [stat.S_IMODE((tree / name).stat().st_mode) for name in ("d/f", "d/empty")]
    assert modes == [0o400, 0o500]


def test_a_fingerprint_changes_when_times_are_set_back(tree: Path) -> None:
    items = scan(tree)
    before = fingerprints(tree, items)
    status = (tree / "d/f").stat()
    while (tree / "d/f").stat().st_ctime_ns == status.st_ctime_ns:  # its clock may have ticks of milliseconds
        (tree / "d/f").write_text("tex!")
        os.utime(tree / "d/f", ns=(status.st_atime_ns, status.st_mtime_ns))
    after = fingerprints(tree, items)
    changed = [index for index, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    assert changed == [3]
    assert fingerprints(tree, items) == after


def test_a_copy_has_the_same_content_and_times(tree: Path, tmp_path: Path) -> None:
    normalise(tree, 1_000_000_000)
    (tree / "d").chmod(0o555)
    target = tmp_path / "copy"
    target.mkdir()
    copy_items([(item, f"{tree}/{item.path}") for item in scan(tree)], target, 5)
    assert digest_of(target) == digest_of(tree)
    assert {path.lstat().st_mtime for path in target.rglob("*")} == {1_000_000_000}
    assert target.stat().st_mtime == 5
    remove_tree(target)
    assert not target.exists()


def test_a_copy_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with pytest.raises(FileExistsError):
        copy_file(tmp_path / "a", tmp_path / "b", 0o644)
    assert (tmp_path / "b").read_text() == "b"


def test_a_copy_across_file_systems(tmp_path: Path) -> None:
    copy_file("/proc/self/status", tmp_path / "status", 0o600)
    assert (tmp_path / "status").read_text().startswith("Name:")


def test_removing_what_forbids_it_and_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "t/a/b").mkdir(parents=True)
    (tmp_path / "t/a/b/f").touch()
    (tmp_path / "t/a/b").chmod(0o500)
    (tmp_path / "t/a").chmod(0)
    remove_tree(tmp_path / "t")
    remove_tree(tmp_path / "t")
    assert not (tmp_path / "t").exists()
