"""What every test shares."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def require_tool(name: str) -> str:
    """Return the path of the program `name`; without it, skip on a laptop and fail where `CI` is set."""
    return shutil.which(name) or lacking(f"{name} is not installed")


def require_root(why: str) -> None:
    """Skip on a laptop whose user is not root, and fail there where `CI` is set."""
    if os.geteuid() != 0:
        lacking(why)


def lacking(what: str) -> NoReturn:
    """Skip a test on a laptop for want of something, and fail it where `CI` is set."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and with CI set no test may be skipped for that")
    pytest.skip(what)


def running(mark: str) -> list[str]:
    """Return the command lines on this machine that contain `mark`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            text = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if mark in text:
                found.append(text)
    return found
