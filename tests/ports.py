"""Ports for servers that cannot be given port 0, because other ports follow from theirs.

Where a server takes port 0, let it, and read from it where it listens. `weed` derives the ports of its instances and of
gRPC (10000 above) from one base, so a test leases a whole block: no other test on this machine gets it meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FIRST, BLOCKS, WIDTH = 11000, 105, 100
"""The blocks end, with what is 10000 above them, below the ports that outgoing connections get (from 32768 on)."""
ABOVE = 10000


def _free(port: int) -> bool:
    with socket.socket() as test:
        test.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended do not count
        try:
            test.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def block(used: int = 50) -> Iterator[int]:
    """Lease a block of ports until the end of the context, and yield its first one.

    The first `used` ports of it are free, and those 10000 above them. Raises AssertionError when no block is.
    """
    folder = Path(tempfile.gettempdir()) / f"pipeline-test-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for step in range(BLOCKS):
        base = FIRST + (os.getpid() + step) % BLOCKS * WIDTH
        with (folder / str(base)).open("w") as lease:
            try:
                fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if all(_free(base + at) and _free(base + ABOVE + at) for at in range(used)):
                yield base
                return
    raise AssertionError("no block of ports is free")
