"""The example's release, made once for all tests that look at it."""

from __future__ import annotations

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
