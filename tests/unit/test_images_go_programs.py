"""The programs that fetch and build Go programs inside of steps, as far as they need no Go."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from pipeline.images.tools import executable
from pipeline.programs.toolchain import go_install, go_toolchain


def test_the_directory_hash_covers_everything_and_the_copy_has_what_is_needed(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    files = {
        "VERSION": "go1.2.3\n",
        "bin/go": "program",
        "pkg/tool/linux_amd64/link": "program",
        "src/a/a.go": "package a",
        "src/a/a_test.go": "package a",
        "src/a/testdata/x": "data",
        "test/big.go": "package test",
    }
    for name, text in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    found = go_toolchain.copy_and_hash(source, target, "m@v1")
    lines = "".join(f"{hashlib.sha256(files[name].encode()).hexdigest()}  m@v1/{name}\n" for name in sorted(files))
    assert found == "h1:" + base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()
    copied = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
    assert copied == ["VERSION", "bin/go", "pkg/tool/linux_amd64/link", "src/a/a.go"]
    assert (target / "bin/go").stat().st_mode & 0o777 == 0o755
    assert (target / "VERSION").stat().st_mode & 0o777 == 0o644


def test_linker_flags_are_for_one_package() -> None:
    program = {"package": "example.org/a", "variables": {"main.version": "1.2", "main.a": "b c"}}
    assert (
        go_install.linker_flags(program) == "-ldflags=example.org/a=-s -w -buildid= '-X=main.a=b c' -X=main.version=1.2"
    )
    assert go_install.linker_flags({"package": "./a", "variables": {}}) == "-ldflags=./a=-s -w -buildid="


@pytest.mark.parametrize(
    ("package", "name"),
    [("github.com/x/y/cmd/z", "z"), ("github.com/x/y/v2", "y"), ("./own", "own"), ("example.org/v2x", "v2x")],
)
def test_the_name_of_a_packages_program(package: str, name: str) -> None:
    assert executable(package) == name
