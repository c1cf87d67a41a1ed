"""The archive of a binary: it installs what the packages install, where there is no package for a distribution."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.integration.test_packages import field

NAME = "example-1.2.3-linux-amd64-fips"


@pytest.fixture
def unpacked(dist: Path, tmp_path: Path) -> Path:
    with tarfile.open(dist / f"{NAME}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="tar")
    return tmp_path / NAME


def make(folder: Path, target: str, root: Path) -> str:
    """Run the Makefile of the archive as its comment says, into a folder, and return what it printed."""
    argv = [require_tool("make"), "--no-print-directory", "-C", str(folder), target, "FORMAT=tar", f"DESTDIR={root}"]
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env, umask=0o077)
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(root: Path) -> dict[str, tuple[str, str]]:
    """Return mode and SHA-256 of every regular file below `root`, by its path there."""
    return {
        f"/{path.relative_to(root)}": (
            f"{path.stat().st_mode & 0o777:o}",
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_it_installs_what_the_rpm_installs(dist: Path, unpacked: Path, tmp_path: Path) -> None:
    make(unpacked, "install", tmp_path / "root")
    found = files(tmp_path / "root")
    rows = field(
        dist / "example-fips-1.2.3-1.el9.x86_64.rpm", "[%{FILENAMES} %{FILEMODES:octal} %{FILEDIGESTS}\n]"
    ).splitlines()
    packed = {path: (mode[-3:], digest) for path, mode, digest in (row.split(" ") for row in rows) if digest}
    documents = {path.replace("/usr/share/doc/example-fips/", "/usr/share/doc/weed/"): v for path, v in packed.items()}
    expected = {path: value for path, value in documents.items() if "/man/" not in path}
    assert {path: value for path, value in found.items() if "/man/" not in path} == expected
    manuals = {path for path in found if "/man/" in path}
    assert {f"{path}.gz" for path in manuals} == set(documents) - set(expected)
    assert len(manuals) == 3


def test_configuration_that_is_there_stays_and_outlives_the_program(unpacked: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    make(unpacked, "install", root)
    settings = root / "etc/default/weed/weed.conf"
    before = files(root)
    settings.write_text("MASTER_INSTANCES=1\n")
    (root / "etc/weed/master-1.toml").write_text("mine = true\n")
    said = make(unpacked, "install", root)
    assert "/etc/default/weed/weed.conf stays as it is; the new one is /etc/default/weed/weed.conf.new" in said
    assert said.count("stays as it is") == 1
    assert settings.read_text() == "MASTER_INSTANCES=1\n"
    assert files(root)["/etc/default/weed/weed.conf.new"] == before["/etc/default/weed/weed.conf"]
    make(unpacked, "uninstall", root)
    left = set(files(root))
    assert left == {path for path in before if path.startswith("/etc/default/weed/")} | {
        "/etc/default/weed/weed.conf.new",
        "/etc/weed/master-1.toml",
    }
    assert not (root / "opt/weed").exists()


def test_a_format_that_nobody_knows_is_an_error(unpacked: Path, tmp_path: Path) -> None:
    argv = [require_tool("make"), "-C", str(unpacked), "install", "FORMAT=zip", f"DESTDIR={tmp_path / 'root'}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "FORMAT=deb, FORMAT=rpm or FORMAT=tar?" in done.stderr
    assert not (tmp_path / "root").exists()
