"""The check for OpenSSL's FIPS provider: with the OpenSSL of this machine, and in the image of the step."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.integration.released import RELEASE, pipeline, succeeded
from tests.programs import run_program


def run(tmp_path: Path, **params: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a step does."""
    require_tool("openssl")
    return run_program("build.openssl_fips", {"out": str(tmp_path / "out.json"), **params}, tmp_path)


def test_without_a_provider_it_says_what_was_found(tmp_path: Path) -> None:
    done = run(tmp_path, modules_dir=str(tmp_path))
    assert done.returncode == 1
    assert f"error: OpenSSL has no active FIPS provider: {tmp_path}/fips.so does not exist\n" in done.stderr
    assert re.search(r"^error: found: OpenSSL 3\.\S+ .*providers: default 3", done.stderr, re.MULTILINE)
    assert not (tmp_path / "out.json").exists()


def test_what_is_no_provider_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "fips.so").write_bytes(b"\x7fELF, but not really")
    done = run(tmp_path, modules_dir=str(tmp_path))
    assert done.returncode == 1
    assert "does not pass its self-tests" in done.stderr


@pytest.mark.usefixtures("dist")
def test_an_installed_provider_is_activated_and_tried(tmp_path: Path) -> None:
    """In the image that the step runs in, because Debian has the provider from release 13 on."""
    one = ("--target", "linux/amd64", "--variant", "standard")
    built = succeeded(pipeline("build", *RELEASE[1:], *one, "--require-openssl-fips", "--dist", str(tmp_path)))
    found = json.loads(Path(built.strip(), "openssl-fips.json").read_text())
    assert "FIPS" in found["provider"]["name"]
    assert found["provider"]["status"] == "active"
    assert "AES_GCM KAT_Cipher" in found["self_tests"]
