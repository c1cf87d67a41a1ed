"""Reading ELF files made by hand, and what the go command prints of a binary."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from pipeline.programs.build import prove
from pipeline.programs.build.elf import Elf
from pipeline.programs.build.go_version import parsed
from pipeline.programs.build.proof import BuildInfo, FipsModule
from pipeline.programs.common import Problem

STRINGS = (
    b"\0_cgo_1_Cfunc__goboringcrypto_FIPS_mode\0crypto/internal/boring/sig.BoringCrypto.abi0\0unused_goboringcrypto\0"
)


def elf(*, machine: int = 62, names: tuple[int, ...] = (), interpreter: bytes = b"") -> bytes:
    """An ELF file with .symtab, .strtab and .shstrtab; `names` are offsets into STRINGS."""
    symbols = b"".join(struct.pack("<IBBHQQ", offset, 2, 0, 1, 0, 0) for offset in (0, *names))
    section_names = b"\0.symtab\0.strtab\0.shstrtab\0"
    parts = [(1, 2, symbols, 2), (9, 3, STRINGS, 0), (17, 3, section_names, 0)]
    position, body, headers = 64 + 56, b"", [bytes(64)]
    segments = b""
    if interpreter:
        segments = struct.pack("<IIQQQQQQ", 3, 4, position, 0, 0, len(interpreter), len(interpreter), 1)
        body = interpreter
    for name, kind, content, link in parts:
        headers.append(struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, position + len(body), len(content), link, 0, 1, 0))
        body += content
    start = b"\x7fELF\x02\x01\x01" + bytes(9)
    fields = struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, position + len(body), 0, 64, 56, bool(segments), 64, 4, 3
    )
    return start + fields + segments.ljust(56, b"\0") + body + b"".join(headers)


def test_symbols_are_found_where_linkers_merged_tails() -> None:
    tail = STRINGS.index(b"_goboringcrypto_FIPS")
    found = Elf(elf(names=(1, tail))).symbols("_goboringcrypto_")
    assert found == ["_cgo_1_Cfunc__goboringcrypto_FIPS_mode", "_goboringcrypto_FIPS_mode"]


def test_a_string_that_no_symbol_uses_is_no_symbol() -> None:
    read = Elf(elf(names=(1,)))
    assert read.has_symbols
    assert read.symbols("unused") == read.symbols("sig.BoringCrypto") == []
    assert not Elf(elf()).has_symbols


def test_interpreter_and_machine() -> None:
    read = Elf(elf(machine=183, interpreter=b"/lib64/ld-linux-x86-64.so.2\0"))
    assert (read.machine, read.interpreter, read.needed) == (183, "/lib64/ld-linux-x86-64.so.2", [])


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01", b"\x7fELF\x02\x01", elf()[:-40]])
def test_what_is_no_whole_elf_file_is_a_problem(data: bytes) -> None:
    with pytest.raises(Problem, match="ELF"):
        Elf(data)


PRINTED = """\
/in/binary/weed: go1.26.8 X:boringcrypto
\tpath\tweed.test/weed
\tmod\tweed.test\t(devel)\t
\tdep\tgolang.org/x/net\tv0.1.0\th1:hZ/3BUoy5aId7sCpA/Tc5lt8DkFgdVS2onTpJsZ/fl0=
\t=>\texample.test/net\tv0.2.0\t
\tbuild\t-ldflags="-X main.VERSION=3.68 -w"
\tbuild\t-trimpath=true
\tbuild\tDefaultGODEBUG=fips140=on,x=1
\tbuild\tvcs.revision=
"""


def test_build_information_is_what_the_go_command_prints() -> None:
    assert parsed(PRINTED) == BuildInfo(
        toolchain="go1.26.8 X:boringcrypto",
        path="weed.test/weed",
        settings={
            "-ldflags": '"-X main.VERSION=3.68 -w"',
            "-trimpath": "true",
            "DefaultGODEBUG": "fips140=on,x=1",
            "vcs.revision": "",
        },
    )


BORING = {"GOEXPERIMENT": "boringcrypto", "CGO_ENABLED": "1"}
NATIVE = {"GOFIPS140": "v1.0.0-c2097c7c", "DefaultGODEBUG": "a=1,fips140=on", "CGO_ENABLED": "0"}


@pytest.mark.parametrize(
    ("module", "settings", "names", "failing"),
    [
        ("", {}, (), []),
        ("", BORING, (), ["GOEXPERIMENT=boringcrypto"]),
        ("", {}, (1,), ["calls BoringCrypto"]),
        ("", NATIVE, (), ["GOFIPS140 names a frozen module", "fips140=on by default"]),
        ("boringcrypto", BORING, (1,), ["BoringCrypto code signature", "BoringCrypto self-test linked"]),
        ("go", {"GOFIPS140": "latest"}, (), None),
        ("go", NATIVE, (), ["frozen module linked"]),
    ],
)
def test_settings_and_symbols_must_agree(
    module: str, settings: dict[str, str], names: tuple[int, ...], failing: list[str] | None
) -> None:
    claims = prove.Claims()
    prove.prove_fips(
        claims, FipsModule(module) if module else None, Elf(elf(names=names)), BuildInfo("go1.26.8", "", settings)
    )
    found = [each.claim for each in claims if not each.holds]
    if failing is None:
        assert "GOFIPS140 names a frozen module" in found
    else:
        assert found == failing


@pytest.mark.parametrize(
    ("module", "toolchain", "settings", "expected"),
    [
        ("go", "go1.26.8", NATIVE, "CMVP 5247"),
        ("go", "go1.26.8", {"GOFIPS140": "v9.9.9-0123"}, ""),
        ("boringcrypto", "go1.26.8 X:boringcrypto", BORING, "CMVP 4735"),
        ("boringcrypto", "go1.21.0", BORING, ""),
    ],
)
def test_a_certificate_is_named_only_when_known(module: str, toolchain: str, settings: Any, expected: str) -> None:
    assert prove.certificate(FipsModule(module), BuildInfo(toolchain, "", settings)) == expected


def test_all_that_does_not_hold_is_listed_at_once() -> None:
    info = BuildInfo("go1.25.0", "", {"GOOS": "linux", "GOARCH": "arm64", "vcs.modified": "true"})
    read = Elf(elf(machine=183, names=(1,), interpreter=b"/lib/ld.so\0"))
    params = prove.Parameters(
        binary=Path("weed"), arch="amd64", variant="standard", static=True, out=Path("proof.json"),
        version_output="1.0", toolchain="go1.26.8", settings={"-tags": "x"}, forbidden=("FIPS_mode",),
    )  # fmt: skip
    claims = [line.split(": ")[0] for line in prove.read_claims(params, read, info).failures]
    assert claims == [
        "machine", "statically linked", "does not contain FIPS_mode", "toolchain", "GOARCH", "-trimpath",
        "built from a clean tree", "-tags", "calls BoringCrypto",
    ]  # fmt: skip
