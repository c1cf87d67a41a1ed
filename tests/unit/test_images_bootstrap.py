"""The recipe of a root, how mmdebstrap is called, and what its failures are turned into."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import ImageError
from pipeline.host.process import Completed
from pipeline.roots import bootstrap as subject
from pipeline.roots.bootstrap import Recipe, arguments, choose_mode, clean, debian_mirrors, installed_packages

RECIPE = Recipe(
    name="small",
    suite="trixie",
    components=("main",),
    packages=("git", "python3"),
    exclude=("/usr/share/man/*",),
    keep=("/usr/share/doc/*/copyright",),
    mounts=("/opt/tool",),
)

STATUS = """\
Package: git
Status: install ok installed
Architecture: amd64
Version: 1:2.47.3-0+deb13u1

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: libc6
Status: install ok installed
Architecture: arm64
Version: 2.41-12
Description: Package: not a field
 Version: nor this
"""


def test_the_key_covers_what_decides_the_content() -> None:
    changes = (
        {"suite": "bookworm"},
        {"packages": ("git",)},
        {"exclude": ()},
        {"keep": ()},
        {"mounts": ()},
        {"components": ("main", "contrib")},
    )
    keys = {replace(RECIPE, **change).key for change in changes}
    assert len(keys | {RECIPE.key}) == len(changes) + 1
    assert replace(RECIPE, packages=("python3", "git")).key == RECIPE.key
    assert replace(RECIPE, name="other").key == RECIPE.key


def test_the_command_line(tmp_path: Path) -> None:
    argv = arguments(RECIPE, "unshare", tmp_path / "r.tar", ("http://mirror.example.com/debian",))
    assert argv[0] == "mmdebstrap"
    assert argv[-3:] == ("trixie", str(tmp_path / "r.tar"), "http://mirror.example.com/debian")
    assert "--include=git,python3" in argv
    exclude = argv.index("--dpkgopt=path-exclude=/usr/share/man/*")
    assert argv.index("--dpkgopt=path-include=/usr/share/doc/*/copyright") > exclude, "dpkg: the last match wins"
    assert not any("Sandbox" in argument for argument in argv)
    assert any("Sandbox" in argument for argument in arguments(RECIPE, "root", tmp_path, ()))


def test_mirrors_from_the_environment() -> None:
    assert debian_mirrors({}) == ()
    lines = "http://a.example.com/debian\n\n deb http://b.example.com/debian trixie main \n"
    found = debian_mirrors({"PIPELINE_DEBIAN_MIRROR": lines})
    assert found == ("http://a.example.com/debian", "deb http://b.example.com/debian trixie main")


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("E: The repository 'x' is not signed.", "debian-archive-keyring"),
        ("W: GPG error: NO_PUBKEY 6ED0E7B82643E131", "debian-archive-keyring"),
        ("E: Failed to fetch http://x  Could not connect to x:80", "PIPELINE_DEBIAN_MIRROR"),
        ("E: Unable to locate package pyhton3", "images.toml"),
        ("E: write error (28: No space left on device)", "make room"),
        ("E: unshare: Operation not permitted", "user namespaces"),
        ("E: something new", "read what it said"),
    ],
)
def test_a_failure_says_what_to_do(said: str, advice: str) -> None:
    done = Completed(argv=("mmdebstrap",), code=1, output=f"I: downloading\n{said}\nI: cleaning up\n".encode())
    error = subject._failure(RECIPE, done)
    assert advice in error.resolution
    assert said in error.details
    assert "I: cleaning up" not in error.details
    assert "'small' (trixie)" in error.brief


def test_without_mmdebstrap_the_error_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageError, match="mmdebstrap") as caught:
        choose_mode()
    assert "apt-get install mmdebstrap" in caught.value.resolution


def test_an_ordinary_user_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("mmdebstrap", "gpg"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    with pytest.raises(ImageError, match="newuidmap") as caught:
        choose_mode()
    assert "uidmap" in caught.value.resolution
    (tmp_path / "newuidmap").write_text("#!/bin/sh\n")
    (tmp_path / "newuidmap").chmod(0o755)
    with pytest.raises(ImageError, match="no subordinate ids in /etc/subuid") as caught:
        choose_mode()
    assert "usermod --add-subuids" in caught.value.resolution


def test_the_range_of_a_user(tmp_path: Path) -> None:
    table = tmp_path / "subuid"
    assert not subject._has_range(table, "builder")
    table.write_text("other:100000:65536\nbuilder:165536:65536\n")
    assert subject._has_range(table, "builder")
    assert not subject._has_range(table, "build")


def test_installed_packages_are_read_from_dpkgs_database(tmp_path: Path) -> None:
    assert list(installed_packages(tmp_path)) == []
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS)
    assert list(installed_packages(tmp_path)) == ["git=1:2.47.3-0+deb13u1", "libc6:arm64=2.41-12"]


def test_cleaning_stays_inside_and_keeps_what_is_not_a_cache(tmp_path: Path) -> None:
    rootfs, outside = tmp_path / "rootfs", tmp_path / "outside"
    for path in (
        "rootfs/var/lib/apt/lists/x",
        "rootfs/etc/passwd-",
        "rootfs/etc/passwd",
        "outside/log/kept",
        "rootfs/tmp/x",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    (rootfs / "var/log").symlink_to(outside / "log")
    clean(rootfs)
    left = sorted(str(path.relative_to(rootfs)) for path in rootfs.rglob("*") if path.is_file())
    assert left == ["etc/passwd"]
    assert (outside / "log/kept").exists()


def test_progress_is_mmdebstraps_own_lines() -> None:
    said: list[str] = []
    lines = subject._Lines(said.append)
    lines(b"I: running apt-get up")
    lines(b"date...\nGet:1 http://x\nI: using /tmp/x as tempdir\nI: done\n")
    assert said == ["running apt-get update...", "done"]
