"""What people see on a terminal, drawn by rich, which is imported only there. CI logs and pipes get plain lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from pipeline.cli.progress import Progress

STYLES = {
    **dict.fromkeys(("ok", "cached", "same"), "green"),
    **dict.fromkeys(("FAIL", "DIFFERS"), "bold red"),
    **dict.fromkeys(("will run", "not compared"), "yellow"),
}
"""How a cell with one of these words is shown."""


def is_terminal(stream: TextIO) -> bool:
    """Return whether a person watches `stream`, on a terminal that can do more than print lines."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def show_table(header: Sequence[str], rows: Iterable[Sequence[str]], plain: Iterable[str]) -> None:
    """Print a table to standard output; elsewhere than on a terminal, the lines `plain`, which programs may read.

    A name in `header` that begins with `>` is that of a column of numbers. Long cells are wrapped to the terminal.
    """
    if not is_terminal(sys.stdout):
        sys.stdout.writelines(f"{line}\n" for line in plain)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_header=any(header))
    for name in header:
        table.add_column(name.lstrip(">"), justify="right" if name.startswith(">") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    Console().print(table)


def progress_on(stream: TextIO) -> Progress:
    """Return the observer of an engine that shows on `stream` what runs: live on a terminal."""
    if not is_terminal(stream):
        return Progress(stream)
    from pipeline.cli.live import LiveProgress

    return LiveProgress(stream)
