"""Proofs of real binaries: built by the real toolchain for both architectures, in all three kinds."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.programs.build.elf import SHT_SYMTAB, Elf
from tests.conftest import require_tool
from tests.programs import run_program

SOURCE = """\
package main

import (
	"crypto/sha256"
	"fmt"
	"runtime"
)

var VERSION, COMMIT string

func main() {
	fmt.Printf("version 30GB %s %s %s %s\\n", VERSION, COMMIT, runtime.GOOS, runtime.GOARCH)
	if VERSION == "" {
		fmt.Printf("%x\\n", sha256.Sum256(nil))
	}
}
"""
FLAGS = "-w -buildid= -X main.VERSION=3.68 -X main.COMMIT=a9cd9b0542ef"
KINDS: dict[str, dict[str, str]] = {
    "": {"CGO_ENABLED": "0"},
    "go": {"CGO_ENABLED": "0", "GOFIPS140": "v1.0.0"},
    "boringcrypto": {"CGO_ENABLED": "1", "GOEXPERIMENT": "boringcrypto"},
}
Build = Callable[..., Path]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return a function that builds (kind, arch), once."""
    go = require_tool("go")
    folder = tmp_path_factory.mktemp("source")
    (folder / "main.go").write_text(SOURCE)
    (folder / "go.mod").write_text("module weed.test\n\ngo 1.24\n")

    def run(kind: str, arch: str, flags: str = "") -> Path:
        out = folder / f"weed-{kind}-{arch}{flags}"
        env = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "GOARCH": arch, "GOFLAGS": "-mod=mod"}
        ldflags = f"{FLAGS} {flags}"
        if kind == "boringcrypto":
            ldflags += " -linkmode=external -extldflags=-static"
            env["CC"] = require_tool("gcc" if arch == "amd64" else "aarch64-linux-gnu-gcc")
        argv = [
            go,
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-tags=netgo,osusergo",
            f"-ldflags={ldflags}",
            "-o",
            str(out),
            ".",
        ]
        if not out.exists():
            subprocess.run(argv, cwd=folder, env={**env, **KINDS[kind]}, check=True, capture_output=True)
        return out

    return run


def run_prove(tmp_path: Path, binary: Path, arch: str, module: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run the program as a step does, in a folder of its own."""
    if arch == "arm64":
        require_tool("qemu-aarch64-static")
    params = {
        "binary": str(binary), "name": "weed", "os": "linux", "arch": arch, "variant": "fips" if module else "standard",
        "fips_module": module or None, "static": True, "out": str(tmp_path / "out" / "weed.proof.json"),
        "version_output": f"version 30GB 3.68 a9cd9b0542ef linux {arch}", "forbidden": [str(binary.parent)], **more,
    }  # fmt: skip
    return run_program("build.prove", params, tmp_path, SOURCE_DATE_EPOCH="0")


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_binary_is_what_it_was_built_to_be_and_nothing_else(
    build: Build, tmp_path: Path, kind: str, arch: str
) -> None:
    binary = build(kind, arch)
    done = run_prove(tmp_path, binary, arch, kind)
    assert (done.returncode, done.stderr) == (0, "")
    proof = json.loads((tmp_path / "out" / "weed.proof.json").read_text())
    assert all(claim["holds"] for claim in proof["claims"])
    assert (proof["build"]["path"], proof["build"]["settings"]["GOARCH"]) == ("weed.test", arch)
    assert proof["build"]["toolchain"].startswith("go1.")
    assert proof["run"]["output"] == f"version 30GB 3.68 a9cd9b0542ef linux {arch}\n"
    for other in sorted(set(KINDS) - {kind}):
        refused = run_prove(tmp_path, binary, arch, other)
        assert refused.returncode == 1
        assert refused.stderr.count("error: weed: ") >= 3


def test_the_native_module_ran_its_self_tests(build: Build, tmp_path: Path) -> None:
    run_prove(tmp_path, build("go", "amd64"), "amd64", "go")
    proof = json.loads((tmp_path / "out" / "weed.proof.json").read_text())
    assert proof["fips"] == {"module": "go", "certificate": "CMVP 5247", "outside": []}
    assert "SHA2-256" in proof["run"]["self_tests"]


def test_a_changed_byte_in_the_fips_module_is_noticed_at_run_time(build: Build, tmp_path: Path) -> None:
    original = build("go", "amd64")
    read = Elf(original.read_bytes())
    _, _, _, address, offset, *_ = read.sections[".rodata"]
    start = next(
        value
        for header in read.headers
        if header[1] == SHT_SYMTAB
        for name, _, _, _, value, _ in struct.iter_unpack("<IBBHQQ", read.content(header))
        if read.content(read.headers[header[6]])[name:].startswith(b"go:rodatafipsstart\0")
    )
    data = bytearray(read.data)
    data[start - address + offset] ^= 1
    (tmp_path / "tampered").write_bytes(data)
    done = run_prove(tmp_path, tmp_path / "tampered", "amd64", "go")
    assert done.returncode == 1
    assert "integrity check passes: expected True, found False" in done.stderr
    assert "fips140: verification mismatch" in done.stderr


def test_a_stripped_binary_proves_nothing(build: Build, tmp_path: Path) -> None:
    done = run_prove(tmp_path, build("", "amd64", "-s"), "amd64", "")
    assert done.returncode == 1
    assert "symbol table kept: expected True, found False" in done.stderr


def test_another_commit_another_architecture_and_another_linking_are_errors(build: Build, tmp_path: Path) -> None:
    binary = build("", "amd64")
    wrong = run_prove(tmp_path, binary, "amd64", "", version_output="version 30GB 3.68 fffffff linux amd64")
    assert "prints the version and the commit" in wrong.stderr
    assert "machine: expected 'arm64', found 'amd64'" in run_prove(tmp_path, binary, "arm64", "").stderr
    assert "statically linked: expected False" in run_prove(tmp_path, binary, "amd64", "", static=False).stderr
    dynamic = run_prove(tmp_path, Path("/bin/true"), "amd64", "")
    assert "no Go build information" in dynamic.stderr


def test_symbols_are_those_that_go_itself_reads(build: Build) -> None:
    binary = build("boringcrypto", "amd64")
    read = Elf(binary.read_bytes())
    symbols = subprocess.run(["go", "tool", "nm", binary], capture_output=True, text=True, check=True).stdout
    expected = {
        line.split(" ", 3)[-1][2:] if line[:1] == " " else line.split(" ", 2)[2] for line in symbols.splitlines()
    }
    assert set(read.symbols("goboringcrypto")) == {name for name in expected if "goboringcrypto" in name}


def test_a_dynamically_linked_binary_is_seen_as_one() -> None:
    read = Elf(Path(sys.executable).resolve().read_bytes())
    assert read.interpreter.startswith("/lib")
    assert any(name.startswith("libc.so") for name in read.needed)
