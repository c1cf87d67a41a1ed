"""What every test shares."""

from __future__ import annotations

import os
import shutil

import pytest


def require_tool(name: str) -> str:
    """Return the path of the program `name`; without it, skip on a laptop and fail where `CI` is set."""
    found = shutil.which(name)
    if found:
        return found
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not installed, and with CI set no test may be skipped for that")
    pytest.skip(f"{name} is not installed")
