"""The log of one run of a step, free of secrets."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.engine.local.redact import Redactor
from pipeline.model.step import Step

_TAIL = 64 << 10
"""Bytes of output that are kept in memory for an error message."""

_LONGEST_LINE = 4096
"""Bytes after which a line is shown without waiting for its end."""


class StepLog:
    """Takes a program's output, writes it to `path` without secrets, and shows it line by line to `show`."""

    def __init__(self, path: Path, step: Step, secrets: Iterable[bytes], show: Callable[[str], None]) -> None:
        self.path = path
        self._redactor = Redactor(secrets)
        self._show = show
        self._line = b""
        self._tail = bytearray()
        self._file = path.open("wb", buffering=0)
        header = f"# {step.title}\n# {step.digest}\n# {shlex.join(step.argv)}\n\n"
        self._file.write(self._redactor.whole(header.encode("utf-8", "surrogateescape")))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.finish()
        finally:
            self._file.close()

    def write(self, chunk: bytes) -> None:
        """Take one piece of output. Raises OSError when the log cannot be written."""
        self._put(self._redactor.feed(chunk))

    def finish(self) -> None:
        """Take it that no more output comes."""
        self._put(self._redactor.close())
        if self._line:
            self._show(self._line.decode("utf-8", "replace"))
            self._line = b""

    def tail(self, lines: int = 20) -> str:
        """Return the last lines of the output, as they are in the log."""
        return "\n".join(self._tail.decode("utf-8", "replace").rstrip("\n").split("\n")[-lines:])

    def _put(self, data: bytes) -> None:
        if not data:
            return
        self._file.write(data)
        self._tail += data
        del self._tail[:-_TAIL]
        *lines, self._line = (self._line + data).split(b"\n")
        if len(self._line) > _LONGEST_LINE:
            lines.append(self._line)
            self._line = b""
        for line in lines:
            self._show(line.decode("utf-8", "replace"))
