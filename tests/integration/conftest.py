"""The example's release, made once for all tests that look at it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.integration.released import RELEASE, pipeline, succeeded


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for tool in ("bwrap", "mmdebstrap", "gpg"):
        require_tool(tool)
    folder = tmp_path_factory.mktemp("dist")
    assert succeeded(pipeline(*RELEASE, "--dist", str(folder))).strip() == str(folder / "1.2.3")
    return folder / "1.2.3"


@pytest.fixture(scope="session")
def weed(request: pytest.FixtureRequest) -> Path:
    """The server of the example's release for this machine, or the one that $WEED_BINARY names."""
    given = os.environ.get("WEED_BINARY")
    if given:
        return Path(given).resolve()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    dist: Path = request.getfixturevalue("dist")
    return dist / f"example-1.2.3-linux-{machine}"
