"""A bundle holds what it may, lands where it should, and nothing gets past its names."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from pipeline.bundle import install, needed, write
from pipeline.errors import UsageError
from pipeline.model.image import Base, Image
from pipeline.model.step import Effect, Step

BASE = Base("root", "sha256:1")


def test_what_is_needed_is_what_fetches_and_what_makes_tools() -> None:
    plain = Image("plain", BASE)
    fetch_tool = Step(title="fetch the tool's modules", image=plain, argv=("1",), effect=Effect.FETCH)
    make_tool = Step(title="make the tool", image=plain, argv=("2",), inputs=(("m", fetch_tool.out),))
    tooled = Image("tooled", BASE, layers=(("/opt/tool", make_tool.out),))
    modules = Step(title="fetch modules", image=tooled, argv=("3",), effect=Effect.FETCH)
    build = Step(title="build", image=tooled, argv=("4",), inputs=(("m", modules.out),))
    pack = Step(title="pack", image=plain, argv=("5",), inputs=(("b", build.out),))
    assert [step.title for step in needed(pack.out)] == ["fetch modules", "make the tool"]


def test_a_bundle_arrives_with_links_and_modes_and_leaves_what_is_there(tmp_path: Path) -> None:
    home = tmp_path / "one"
    entry = home / "store" / "ab" / "abcd"
    entry.mkdir(parents=True)
    (entry / "file").write_text("x")
    (entry / "file").chmod(0o666)
    (home / "store" / "ab" / "alias").symlink_to("abcd")
    write(tmp_path / "bundle.tar", home, [entry, home / "store" / "ab" / "alias"])
    other = tmp_path / "two"
    assert install(tmp_path / "bundle.tar", other) == 1
    assert (other / "store/ab/abcd/file").stat().st_mode & 0o777 == 0o666
    assert (other / "store/ab/alias/file").read_text() == "x"
    (other / "store/ab/abcd/file").write_text("kept")
    install(tmp_path / "bundle.tar", other)
    assert (other / "store/ab/abcd/file").read_text() == "kept"


@pytest.mark.parametrize("names", [["keys/a"], ["store/../../a"], ["/etc/a"], ["store/link", "store/link/a"]])
def test_an_archive_that_reaches_further_is_refused_whole(tmp_path: Path, names: list[str]) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            if name.endswith("link"):
                member.type, member.linkname = tarfile.SYMTYPE, "/tmp"
            archive.addfile(member, io.BytesIO())
    with pytest.raises(UsageError, match="no bundle"):
        install(tmp_path / "bad.tar", tmp_path / "home")
    assert not (tmp_path / "home").exists()
