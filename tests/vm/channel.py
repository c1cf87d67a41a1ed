"""JSON objects, one a line, to and from the agent in a machine."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.waiting import until

Process = subprocess.Popen[bytes]


class LostError(Exception):
    """Nothing came in time, or nothing can come any more."""


class Channel:
    """The host's end of the virtio port: a Unix socket that qemu serves."""

    def __init__(self, path: Path) -> None:
        """Prepare to connect to `path`; a longer path than the system allows for a socket is reached through /proc."""
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._buffer = bytearray()

    def connect(self, process: Process, timeout: float) -> None:
        """Connect once `process` listens. Raises LostError."""
        folder = os.open(self._path.parent, os.O_PATH)
        try:
            until(lambda: self._connected(folder, process), "qemu did not start", bound=timeout)
        finally:
            os.close(folder)

    def _connected(self, folder: int, process: Process) -> bool:
        if process.poll() is not None:
            raise LostError(f"qemu did not start: exit code {process.poll()}")
        try:
            self._socket.connect(f"/proc/self/fd/{folder}/{self._path.name}")
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def send(self, message: dict[str, Any]) -> None:
        """Send one message. An end that is gone shows at the next `receive`."""
        with contextlib.suppress(OSError):
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, process: Process, timeout: float, fatal: Callable[[], str | None]) -> dict[str, Any]:
        """Return the next message. Raises LostError when `process` ends, `timeout` seconds pass or all is `fatal`."""
        end = time.monotonic() + timeout
        while True:
            while b"\n" in self._buffer:
                line, _, rest = bytes(self._buffer).partition(b"\n")
                self._buffer[:] = rest
                message = _message(line)
                if message is not None:
                    return message
            left = end - time.monotonic()
            if left <= 0:
                raise LostError(f"the machine said nothing for {timeout:.0f} s")
            if select.select([self._socket], [], [], min(left, 1.0))[0]:
                got = self._read()
                if got:
                    self._buffer += got
                    continue
                process.wait(30)
            if process.poll() is not None:
                raise LostError(f"the machine is gone: qemu ended with {process.returncode}")
            if said := fatal():
                raise LostError(f"the machine is lost: {said}")

    def _read(self) -> bytes:
        try:
            return self._socket.recv(1 << 16)
        except OSError:
            return b""

    def close(self) -> None:
        """Close it."""
        self._socket.close()


def _message(line: bytes) -> dict[str, Any] | None:
    """Return the message of a line, or None for the rest of one that a reboot cut off."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
