"""Every locked toolchain really compiles both variants, and what it compiles proves what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.toolchain import minor_of
from pipeline.host.folders import packaging_folder
from pipeline.images.toolchains import LOCK, load_toolchains
from tests.conftest import require_tool
from tests.integration.released import own_packaging, pipeline, succeeded

VERSIONS = tuple(entry.version for entry in load_toolchains(packaging_folder() / LOCK).entries)
OWN_MODULE = tuple(version for version in VERSIONS if int(version.split(".")[1]) >= 24)
COMMIT = "1" * 40
MAIN = """package main

import (
\t"crypto/tls"
\t"fmt"
\t"runtime"

\t"example.org/weed/internal/version"
)

func main() {
\tfmt.Println("version 30GB", version.VERSION_NUMBER, version.COMMIT, runtime.GOOS, runtime.GOARCH)
\t_ = tls.VersionTLS13
\t_, _ = tls.Dial("tcp", "127.0.0.1:0", nil)
}
"""


def built(version: str, tmp_path: Path, *more: str) -> dict[str, Any]:
    """Return the proofs, by variant, of a small program whose go.mod names the minor version of `version`."""
    for tool in ("bwrap", "mmdebstrap", "gpg"):
        require_tool(tool)
    own_packaging(tmp_path)
    source = tmp_path / "source"
    (source / "internal" / "version").mkdir(parents=True)
    (source / "go.mod").write_text(f"module example.org/weed\n\ngo {minor_of(version)}\n")
    (source / "main.go").write_text(MAIN)
    (source / "internal" / "version" / "version.go").write_text(
        "package version\n\nvar VERSION_NUMBER, COMMIT string\n"
    )
    command = ("build", "--product", "example", "--tag", "v1.2.3", "--source", str(source), "--commit", COMMIT)
    options = ("--target", "linux/amd64", "--dist", str(tmp_path / "dist"), "--locked", *more)
    folder = Path(succeeded(pipeline(*command, *options, PIPELINE_PROJECT=str(tmp_path))).strip())
    proofs = [json.loads(path.read_text()) for path in sorted(folder.glob("*.proof.json"))]
    return {proof["variant"]: proof for proof in proofs}


@pytest.mark.heavy
@pytest.mark.parametrize("version", VERSIONS)
def test_a_toolchain_compiles_a_standard_and_a_boringcrypto_binary(version: str, tmp_path: Path) -> None:
    proofs = built(version, tmp_path)
    assert set(proofs) == {"standard", "fips"}
    assert proofs["standard"]["build"]["toolchain"] == f"go{version}"
    assert proofs["fips"]["build"]["toolchain"] == f"go{version} X:boringcrypto", "with a hyphen, no scanner reads it"
    assert proofs["standard"]["fips"] is None
    assert proofs["fips"]["fips"]["module"] == "boringcrypto"
    assert proofs["fips"]["fips"]["certificate"] == ("CMVP 4735" if version in OWN_MODULE else "")


@pytest.mark.heavy
@pytest.mark.parametrize("version", OWN_MODULE)
def test_a_toolchain_compiles_a_binary_with_go_s_own_module(version: str, tmp_path: Path) -> None:
    proofs = built(version, tmp_path, "--fips-module", "go", "--variant", "fips")
    assert proofs["fips"]["fips"]["certificate"] == "CMVP 5247"
