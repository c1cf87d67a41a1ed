"""What a machine printed on its serial console: the last witness when nothing else answers."""

from __future__ import annotations

import re
from pathlib import Path

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
FATAL = re.compile(
    r"Kernel panic|BUG: |Oops: |You are in (emergency|rescue) mode|Out of memory: Killed|I/O error, dev vd"
)


def tail(path: Path, lines: int = 40) -> str:
    """Return the last lines of the console, without control sequences."""
    return "\n".join(_text(path).splitlines()[-lines:])


def fatal(path: Path) -> str | None:
    """Return the first line that says that the machine is lost, or None."""
    return next((line for line in _text(path).splitlines() if FATAL.search(line)), None)


def _text(path: Path) -> str:
    return CONTROL.sub("", path.read_bytes().decode("utf-8", "replace")) if path.exists() else ""
