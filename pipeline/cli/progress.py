"""What a person sees while steps run: which run, which were cached, and how long each took."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from typing import TextIO

import anyio

from pipeline.engine.base import Event, What

TICK = 1.0
QUIET_SECONDS = 30.0


def duration(seconds: float) -> str:
    """Return `seconds` as people say it: `0.3 s`, `42 s`, `3 min 20 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


@dataclass(slots=True)
class Progress:
    """An observer of an engine that prints plain lines to `stream`."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    ran: int = 0
    cached: int = 0
    steps: list[dict[str, object]] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)
    _running: dict[str, tuple[str, float, float]] = field(default_factory=dict)
    _spoke: float = field(default_factory=time.monotonic)

    def __call__(self, event: Event) -> None:
        """Take note of `event` and print what it means."""
        step = event.step
        match event.what:
            case What.STARTED:
                self._running[step.digest] = (step.title, time.monotonic(), step.expected_seconds)
                if step.expected_seconds >= QUIET_SECONDS:
                    about = duration(step.expected_seconds)
                    self._line("·", f"{step.title}: takes about {about}, only once on this machine")
            case What.CACHED:
                self.cached += 1
                self._record(event, cached=True)
            case What.FINISHED:
                self._running.pop(step.digest, None)
                self.ran += 1
                self._record(event, cached=False)
                self._line("✓", f"{step.title}  {duration(event.seconds)}")
            case What.FAILED:
                self._running.pop(step.digest, None)
                self._line("✗", f"{step.title}  {duration(event.seconds)}")
            case What.PREBUILT:
                self._line("·", f"{step.title}: made on another machine")
            case What.OUTPUT:
                pass

    def note(self, text: str) -> None:
        """Print one line that is not about a step."""
        self._line("·", text)

    def timings(self) -> str:
        """Return every step with its wall time in seconds and whether it was cached, as JSON."""
        elapsed = round(time.monotonic() - self._started, 3)
        return json.dumps({"seconds": elapsed, "ran": self.ran, "cached": self.cached, "steps": self.steps}, indent=2)

    def _record(self, event: Event, *, cached: bool) -> None:
        row = {"title": event.step.title, "digest": event.step.digest}
        self.steps.append({**row, "seconds": round(event.seconds, 3), "cached": cached})

    def summary(self) -> str:
        """Return one line: how many steps ran, how many were cached, and the wall time."""
        elapsed = duration(time.monotonic() - self._started)
        return f"{self.ran} {'step' if self.ran == 1 else 'steps'} ran, {self.cached} were cached, {elapsed} in all"

    async def live(self) -> None:
        """Say from time to time what is running, until cancelled. Run it beside the engine in one task group."""
        while True:
            await anyio.sleep(TICK)
            if self._running and time.monotonic() - self._spoke > QUIET_SECONDS:
                self._line("…", self._status())

    def _status(self) -> str:
        now = time.monotonic()
        parts = []
        for title, since, expected in list(self._running.values()):
            of = f" of about {duration(expected)}" if expected else ""
            parts.append(f"{title} {duration(now - since)}{of}")
        return ("running: " + ", ".join(parts)) if parts else ""

    def _line(self, mark: str, text: str) -> None:
        self._spoke = time.monotonic()
        self._write(self._spoke - self._started, mark, text)

    def _write(self, elapsed: float, mark: str, text: str) -> None:
        self.stream.write(f"[{elapsed:6.1f}s] {mark} {text}\n")
        self.stream.flush()
