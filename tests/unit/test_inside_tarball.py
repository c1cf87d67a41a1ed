"""Archives: the same bytes for the same content, read back with another reader."""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path

import pytest

from pipeline.programs.common import Problem
from pipeline.programs.package import tarball

EPOCH = 1717992646


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "docs").mkdir(parents=True)
    (root / "weed-1-linux-amd64").write_bytes(b"\x7fELF")
    (root / "weed-1-linux-amd64").chmod(0o700)
    (root / "docs" / "README.md").write_text("read me\n")
    (root / "docs" / "README.md").chmod(0o600)
    (root / "docs" / "link").symlink_to("README.md")
    return root


def members(data: bytes, tmp_path: Path) -> dict[str, tarfile.TarInfo]:
    (tmp_path / "x.tar.gz").write_bytes(data)
    with tarfile.open(tmp_path / "x.tar.gz") as archive:
        return {member.name: member for member in archive.getmembers()}


def test_entries_are_normalised(tree: Path, tmp_path: Path) -> None:
    found = members(tarball.pack(tree, "weed-1", {"weed-1-linux-amd64": "bin/weed"}, EPOCH), tmp_path)
    assert list(found) == [
        "weed-1", "weed-1/bin", "weed-1/bin/weed", "weed-1/docs", "weed-1/docs/README.md", "weed-1/docs/link",
    ]  # fmt: skip
    assert {member.mtime for member in found.values()} == {EPOCH}
    assert {(m.uid, m.gid, m.uname, m.gname) for m in found.values()} == {(0, 0, "root", "root")}
    modes = {name: oct(member.mode) for name, member in found.items() if not member.issym()}
    assert modes["weed-1/bin/weed"] == modes["weed-1/docs"] == modes["weed-1"] == "0o755"
    assert modes["weed-1/docs/README.md"] == "0o644"
    assert found["weed-1/docs/link"].linkname == "README.md"


def test_times_modes_and_order_of_creation_change_nothing(tree: Path, tmp_path: Path) -> None:
    first = tarball.pack(tree, "weed-1", {}, EPOCH)
    other = tmp_path / "elsewhere"
    (other / "docs").mkdir(parents=True)
    (other / "docs" / "link").symlink_to("README.md")
    (other / "docs" / "README.md").write_text("read me\n")
    (other / "weed-1-linux-amd64").write_bytes(b"\x7fELF")
    (other / "weed-1-linux-amd64").chmod(0o755)
    os.utime(other / "docs", (1, 1))
    assert tarball.pack(other, "weed-1", {}, EPOCH) == first
    assert tarball.pack(other, "weed-1", {}, EPOCH + 1) != first


def test_the_gzip_header_names_nothing(tree: Path) -> None:
    data = tarball.pack(tree, "weed-1", {}, EPOCH)
    assert data[:4] == b"\x1f\x8b\x08\x00"
    assert data[4:8] == bytes(4)
    assert len(gzip.decompress(data)) % 512 == 0


def test_the_file_is_written_for_everybody_to_read(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(EPOCH))
    out = tmp_path / "out" / "weed.tar.gz"
    tarball.main(tarball.Parameters(root=tree, prefix="weed-1", out=out))
    assert out.stat().st_mode & 0o777 == 0o644
    assert out.read_bytes() == tarball.pack(tree, "weed-1", {}, EPOCH)


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "../../../weed-1x/y"])
def test_links_that_lead_out_are_refused(tree: Path, target: str) -> None:
    (tree / "docs" / "bad").symlink_to(target)
    with pytest.raises(Problem, match="leads out of the archive"):
        tarball.pack(tree, "weed-1", {}, EPOCH)


def test_other_kinds_of_files_are_refused(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    with pytest.raises(Problem, match="weed-1/pipe is not a file"):
        tarball.pack(tree, "weed-1", {}, EPOCH)


@pytest.mark.parametrize(
    ("prefix", "rename", "reason"),
    [
        ("weed-1", {"weed-1-linux-amd64": "docs/README.md"}, "two files would be"),
        ("weed-1", {"absent": "x"}, "no absent to rename"),
        ("weed-1", {"weed-1-linux-amd64": "../weed"}, "not a path inside"),
        ("../weed", {}, "not a path inside"),
        ("/weed", {}, "not a path inside"),
        ("", {}, "not a path inside"),
    ],
)
def test_names_that_cannot_be(tree: Path, prefix: str, rename: dict[str, str], reason: str) -> None:
    with pytest.raises(Problem, match=reason):
        tarball.pack(tree, prefix, rename, EPOCH)


def test_an_empty_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(Problem, match="empty is empty"):
        tarball.pack(tmp_path / "empty", "weed-1", {}, EPOCH)
