"""The progress of a run on a terminal: finished steps scroll by, and what runs stays below them with its time."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

import anyio
from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pipeline.cli.progress import Progress, duration
from pipeline.engine.base import Event, What

TICK = 0.1
"""Seconds between two pictures."""

MARKS = {"✓": "green", "✗": "bold red", "·": "cyan", "…": "dim"}


@dataclass(slots=True)
class LiveProgress(Progress):
    """An observer of an engine that draws on the terminal of `stream`."""

    _console: Console = field(init=False)
    _spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="cyan"))
    _last: dict[str, str] = field(default_factory=dict)
    """What each running step has printed last."""

    def __post_init__(self) -> None:
        # The console looks up standard error whenever it writes: a live display stands in for it meanwhile.
        self._console = Console(stderr=True) if self.stream is sys.stderr else Console(file=self.stream)

    def __call__(self, event: Event) -> None:
        if event.what is What.OUTPUT and event.text.strip():
            # A program may print what a terminal obeys.
            self._last[event.step.digest] = "".join(each for each in event.text if each.isprintable())
        Progress.__call__(self, event)
        if event.what in (What.FINISHED, What.FAILED):
            self._last.pop(event.step.digest, None)

    async def live(self) -> None:
        """Show what is running until cancelled. The terminal is as it was afterwards, however that comes about."""
        # Results on standard output are moved above the display on the same terminal, and left alone in a pipe.
        display = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=sys.stdout.isatty())
        with display:
            while True:
                display.update(self._picture(), refresh=True)
                await anyio.sleep(TICK)

    def _picture(self) -> Group | Text:
        now = time.monotonic()
        running = list(self._running.items())
        if not running:
            return Text()
        room = max(1, self._console.height // 2)
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=1)
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column(justify="right", no_wrap=True)
        for digest, (title, since, expected) in running[:room]:
            what = Text(title).append(f"  {self._last.get(digest, '')}", style="dim")
            of = f" of about {duration(expected)}" if expected else ""
            table.add_row(self._spinner, what, f"{duration(now - since)}{of}")
        more = f"{len(running) - room} more run, " if len(running) > room else ""
        return Group(table, Text(f"  {more}{self.ran} ran, {self.cached} were cached", style="dim"))

    def _write(self, elapsed: float, mark: str, text: str) -> None:
        parts = ((f"[{elapsed:6.1f}s] ", "dim"), (f"{mark} ", MARKS.get(mark, "")), text)
        self._console.print(Text.assemble(*parts))
