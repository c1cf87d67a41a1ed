"""What `-v` and `-vv` write to standard error: what is done and why, and with `-vv` every detail. Never a result."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from functools import lru_cache

from pipeline.engine.base import secret_values
from pipeline.engine.local.redact import Redactor
from pipeline.engine.network import NetworkSettings

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
_USERINFO = re.compile(rb"(?<=://)[^/\s@]+@")


def configure(verbosity: int) -> None:
    """Write what this project logs to standard error: warnings, with 1 also what is done, with 2 every detail."""
    handler = _Handler()
    handler.setFormatter(_Formatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("pipeline").setLevel(_LEVELS[min(verbosity, len(_LEVELS) - 1)])


class _Handler(logging.Handler):
    """Writes to whatever standard error is at that moment: a live display puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001 - as the library's own handlers do: a log that fails stops nothing
            self.handleError(record)


class _Formatter(logging.Formatter):
    """Seconds since the start, the module, and the text without the value of any secret."""

    def __init__(self) -> None:
        super().__init__()
        self._began = time.time()

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        text = f"[{record.created - self._began:6.1f}s] {record.name.removeprefix('pipeline.')}: {text}"
        return redacted(text)


def redacted(text: str) -> str:
    """Return `text` without the value of any secret of this process, in any form, and without passwords in URLs."""
    data = _USERINFO.sub(b"***@", text.encode("utf-8", "surrogateescape"))
    return _redactor(secret_values()).whole(data).decode("utf-8", "replace")


@lru_cache(maxsize=1)
def _redactor(values: frozenset[bytes]) -> Redactor:
    """Return what hides `values` and the passwords of this machine's proxies: a key has hundreds of forms."""
    return Redactor([*values, *NetworkSettings.of(os.environ).passwords])
