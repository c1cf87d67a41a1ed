"""The one lock between processes, and between tasks of one process. The kernel frees it when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import anyio

_FIRST, _LONGEST = 0.01, 0.25
"""Seconds between two attempts: the first pause, and the longest."""

logger = logging.getLogger(__name__)


def take(path: Path, *, shared: bool = False, wait: bool = True) -> int:
    """Return a descriptor that holds the lock file `path` until it is closed. The file is made if it is missing.

    A process that unlinks a lock file must hold it. Raises BlockingIOError without `wait` if it is taken, and OSError.
    """
    mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        # flock(2), not fcntl(2): the lock belongs to this opening of the file. So two tasks of one process exclude
        # each other too, and closing another descriptor of the same file does not free it.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, mode)
            # Between open and flock the last holder may have unlinked the file. A lock on an unlinked file excludes
            # nobody, because the next one makes a new file of that name: begin again with that one.
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def try_take(path: Path, *, shared: bool = False) -> int | None:
    """Return what `take` returns, or None where another one has the lock."""
    try:
        return take(path, shared=shared, wait=False)
    except BlockingIOError:
        return None


@contextlib.asynccontextmanager
async def locked(
    path: Path, *, shared: bool = False, waiting: Callable[[], None] = lambda: None
) -> AsyncIterator[None]:
    """Hold the lock file `path` for the length of a block; `waiting` is called once if another one has it.

    Raises OSError when the file cannot be opened.
    """
    # It asks again and again, because a thread that blocks in flock(2) cannot be cancelled: Ctrl-C would wait for
    # the other process. The pause grows, so that a wait of an hour costs nothing, and a short one little time.
    started, pause = time.monotonic(), _FIRST
    while (descriptor := try_take(path, shared=shared)) is None:
        if pause == _FIRST:
            logger.info("waiting for the lock %s, which another process or task has", path)
            waiting()
        await anyio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST)
    if pause != _FIRST:
        logger.info("got the lock %s after %.2f s", path, time.monotonic() - started)
    try:
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def held(descriptor: int, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock on an open file for the length of a block, waiting in the kernel: for what takes an instant."""
    fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
