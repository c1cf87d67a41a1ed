"""The check for OpenSSL's FIPS provider, with the OpenSSL of this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.inside import openssl_fips
from tests.conftest import require_tool


def run(tmp_path: Path, **params: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a step does."""
    require_tool("openssl")
    (tmp_path / "p.json").write_text(json.dumps({"out": str(tmp_path / "out.json"), **params}))
    argv = [sys.executable, "-B", "-s", openssl_fips.__file__, str(tmp_path / "p.json")]
    env = {"PATH": os.environ["PATH"]}
    return subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)


def module() -> Path:
    """Where the provider is when it is installed."""
    _, said = openssl_fips.openssl("version", "-m")
    found = re.search(r'MODULESDIR: "(.*)"', said)
    return Path(found[1] if found else "/nonexistent", "fips.so")


def test_without_a_provider_it_says_what_was_found(tmp_path: Path) -> None:
    done = run(tmp_path, modules_dir=str(tmp_path))
    assert done.returncode == 1
    assert f"error: OpenSSL has no active FIPS provider: {tmp_path}/fips.so is not there\n" in done.stderr
    assert re.search(r"^error: found: OpenSSL 3\.\S+ .*providers: default 3", done.stderr, re.MULTILINE)
    assert not (tmp_path / "out.json").exists()


def test_what_is_no_provider_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "fips.so").write_bytes(b"\x7fELF, but not really")
    done = run(tmp_path, modules_dir=str(tmp_path))
    assert done.returncode == 1
    assert "does not pass its self-tests" in done.stderr


def test_an_installed_provider_is_activated_and_tried(tmp_path: Path) -> None:
    if not module().is_file():
        pytest.skip(f"{module()} is not there; Debian 13 has the package openssl-provider-fips, older ones do not")
    done = run(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads((tmp_path / "out.json").read_text())
    assert "FIPS" in found["provider"]["name"]
    assert found["provider"]["status"] == "active"
