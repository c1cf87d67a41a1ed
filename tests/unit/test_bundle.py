"""A bundle holds what it may, lands where it should, and nothing gets past its names."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.model.image import Base, Image
from pipeline.model.step import Step
from pipeline.release.bundle import Installed, carry, install, needed, tools, write

BASE = Base("root", "sha256:1")


def test_what_is_needed_is_what_fetches_and_what_makes_tools() -> None:
    plain = Image("plain", BASE)
    fetch_tool = Step(title="fetch the tool's modules", image=plain, argv=("1",), network=True)
    make_tool = Step(title="make the tool", image=plain, argv=("2",), inputs=(("m", fetch_tool.out),))
    tooled = Image("tooled", BASE, layers=(("/opt/tool", make_tool.out),))
    modules = Step(title="fetch modules", image=tooled, argv=("3",), network=True)
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
    assert install(tmp_path / "bundle.tar", other) == Installed(1, None)
    assert (other / "store/ab/abcd/file").stat().st_mode & 0o777 == 0o666
    assert (other / "store/ab/alias/file").read_text() == "x"
    (other / "store/ab/abcd/file").write_text("kept")
    install(tmp_path / "bundle.tar", other)
    assert (other / "store/ab/abcd/file").read_text() == "kept"


def test_databases_of_two_days_do_not_mix(tmp_path: Path) -> None:
    home, other = tmp_path / "one", tmp_path / "two"
    home.mkdir()
    (tmp_path / "db").mkdir()
    for day in ("2026-11-20-aa", "2026-11-21-bb"):
        (tmp_path / "db" / "data").write_text(day)
        write(tmp_path / "bundle.tar", home, [], {f"databases/{day}/grype": tmp_path / "db"})
        assert install(tmp_path / "bundle.tar", other) == Installed(1, other / "databases" / day)
        assert (other / "databases" / day / "grype" / "data").read_text() == day
    assert len(list((other / "databases").iterdir())) == 2


def test_tools_are_what_steps_run_with_and_can_be_carried_to_another_store(tmp_path: Path) -> None:
    make_tool = Step(title="make the tool", image=Image("plain", BASE), argv=("1",))
    use = Step(title="use", image=Image("tooled", BASE, layers=(("/opt/tool", make_tool.out),)), argv=("2",))
    after = Step(title="after", image=Image("plain", BASE), argv=("3",), inputs=(("u", use.out),))
    assert tools(after.out) == (make_tool,)
    home = tmp_path / "one"
    (home / "store" / "ab" / "abcd").mkdir(parents=True)
    (home / "store" / "ab" / "abcd" / "file").write_text("x")
    (home / "store" / "ab" / "alias").symlink_to("abcd")
    folders = [home / "store" / "ab" / "abcd", home / "store" / "ab" / "alias", home / "store" / "ab" / "abcd"]
    carry(folders, home, tmp_path / "two")
    assert (tmp_path / "two/store/ab/alias/file").read_text() == "x"
    assert (tmp_path / "two/store/ab/alias").is_symlink()


@pytest.mark.parametrize("names", [["keys/a"], ["store/../../a"], ["/etc/a"], ["store/link", "store/link/a"]])
def test_an_archive_that_reaches_further_is_refused_whole(tmp_path: Path, names: list[str]) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            if name.endswith("link"):
                member.type, member.linkname = tarfile.SYMTYPE, "/tmp"
            archive.addfile(member, io.BytesIO())
    with pytest.raises(UsageError, match="not a bundle"):
        install(tmp_path / "bad.tar", tmp_path / "home")
    assert not (tmp_path / "home").exists()
