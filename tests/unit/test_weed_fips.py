"""FIPS_ENABLED and the binary that is installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from weedops import fips
from weedops.errors import ConfigError
from weedops.paths import Installed
from weedops.settings import check_settings

DEMANDED = check_settings({"FIPS_ENABLED": "true"}, "weed.conf")
FREE = check_settings({}, "weed.conf")
STANDARD = Installed("seaweedfs", "4.44", "standard", "abc")
FIPS = Installed("seaweedfs", "4.44", "fips", "abc")

NATIVE = b"\x7fELF...\nbuild\tCGO_ENABLED=0\nbuild\tGOFIPS140=v1.0.0-c2097c7c\nbuild\tGOOS=linux\n"
BORING = b"\x7fELF...\nbuild\tCGO_ENABLED=1\nbuild\tGOEXPERIMENT=boringcrypto\n"
NEITHER = b"\x7fELF...\nbuild\tCGO_ENABLED=0\nGOFIPS140=is only mentioned\n"


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    return tmp_path / "weed"


@pytest.mark.parametrize(("content", "module"), [(NATIVE, "go"), (BORING, "boringcrypto"), (NEITHER, "")])
def test_the_module_is_read_from_the_binary(binary: Path, content: bytes, module: str) -> None:
    binary.write_bytes(content)
    assert fips.module(str(binary)) == module


def test_a_standard_binary_is_refused_when_fips_is_demanded(binary: Path) -> None:
    binary.write_bytes(NEITHER)
    with pytest.raises(ConfigError, match=r"is the standard build of seaweedfs 4\.44") as caught:
        fips.godebug(DEMANDED, STANDARD, str(binary))
    assert "install seaweedfs-fips" in str(caught.value)


@pytest.mark.parametrize("settings", [DEMANDED, FREE])
def test_a_binary_that_was_replaced_is_refused(binary: Path, settings: object) -> None:
    binary.write_bytes(NEITHER)
    with pytest.raises(ConfigError, match="was built without a FIPS module"):
        fips.godebug(settings, FIPS, str(binary))  # type: ignore[arg-type]


def test_the_native_module_is_switched_on_and_boringcrypto_always_is(binary: Path) -> None:
    binary.write_bytes(NATIVE)
    assert fips.godebug(DEMANDED, FIPS, str(binary)) == ["fips140=on"]
    assert fips.godebug(FREE, FIPS, str(binary)) == ["fips140=on"]
    binary.write_bytes(BORING)
    assert fips.godebug(DEMANDED, FIPS, str(binary)) == []


def test_without_a_demand_the_standard_binary_runs(binary: Path) -> None:
    assert fips.godebug(FREE, STANDARD, str(binary)) == []


def test_a_binary_that_is_missing_or_empty_is_refused(binary: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        fips.module(str(binary))
    binary.write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot be read"):
        fips.module(str(binary))
