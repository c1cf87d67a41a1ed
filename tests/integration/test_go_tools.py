"""The Go code of our own tools passes its tests. Those of the scanners compile for minutes: see packaging/tools."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.conftest import require_tool
from tests.integration.released import PROJECT


@pytest.mark.parametrize("module", ["govulncheck", "osv"])
def test_a_module_passes_its_own_tests_with_nothing_but_what_it_pins(module: str) -> None:
    argv = [require_tool("go"), "test", "-count=1", "-mod=readonly", "./..."]
    env = {**os.environ, "GOFLAGS": "", "GOWORK": "off"}
    folder = PROJECT / "packaging" / "tools" / module
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "ok" in done.stdout
