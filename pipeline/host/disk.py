"""What is written to this machine's disks: whole files, durability, and errors that say what to do."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.errors import StoreError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_MANY = 16
"""Above this number of files one flush of the whole file system is cheaper than one for each."""

_RESERVE = 256 << 10
"""Bytes that are set aside for the moment when the disk is full."""

_DYING = 5.0
"""Seconds to wait for a killed process."""

_SCANS = 100
"""How often to look for processes before those that cannot be killed are left."""

_TOUCH_AFTER = 600.0
"""Seconds after which a use is worth recording again."""

_LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def store_errors(home: Path) -> Iterator[None]:
    """Turn an OSError inside into a StoreError about the disk that holds `home`."""
    try:
        yield
    except OSError as error:
        raise describe(error, home) from error


def describe(error: OSError, home: Path) -> StoreError:
    """Return the StoreError for an error of the operating system: a full or read-only disk, missing rights."""
    if error.errno in _FULL:
        return full_disk(home, details=str(error))
    if error.errno == errno.EROFS:
        resolution = "choose a folder on a disk that can be written to"
        return StoreError(f"the disk that holds {home} is read-only", details=str(error), resolution=resolution)
    return StoreError(
        f"the store in {home} cannot be used: {os.strerror(error.errno or 0)}",
        details=str(error),
        resolution="check the folder's owner and permissions, or choose another one",
    )


def full_disk(home: Path, *, details: str) -> StoreError:
    """Return the StoreError that says that the disk below `home` is full, and how much is free."""
    room = "how much is free is not known"
    with contextlib.suppress(OSError):
        usage = shutil.disk_usage(home)
        room = f"{usage.free / 2**20:.1f} MiB of {usage.total / 2**20:.0f} MiB are free"
    return StoreError(
        f"the disk that holds {home} is full: {room}",
        details=details,
        resolution="run `pipeline cache prune`, or choose a folder on a larger disk",
    )


def with_reserve(reserve: Path, work: Callable[[], None]) -> None:
    """Do `work`, and on a full disk once more without the file `reserve`, which exists for that moment.

    Deleting takes a little room at first, and a full disk is when people delete.
    """
    # On btrfs and ZFS even unlink(2) needs new blocks, so a full disk cannot be made emptier without some that were
    # kept.
    try:
        work()
    except OSError as error:
        if error.errno not in _FULL or not reserve.exists():
            raise
        reserve.unlink(missing_ok=True)
        work()
        return
    if not reserve.exists():
        with contextlib.suppress(OSError):
            reserve.write_bytes(bytes(_RESERVE))


def kill_users(folder: Path) -> None:
    """Kill every process that has a path below `folder` in its command line, and wait until it has gone.

    Bubblewrap ends with the process that started it, except in the moment before it has asked the kernel for
    that: then the engine's death leaves a sandbox behind that nobody waits for. One may be making its second process
    during the search, so the search is repeated until it finds none.
    """
    mark = os.fsencode(folder) + b"/"
    for _ in range(_SCANS):
        if not _kill_those_with(mark):
            return


def _kill_those_with(mark: bytes) -> bool:
    """Kill every process that has `mark` in its command line, and return whether there was one."""
    found = False
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            # Opened before the command line is read. A number alone may be that of another process by the time of the
            # signal, and a descriptor (pidfd_open(2), Linux 5.3) is that of this one or of none.
            descriptor = os.pidfd_open(int(entry.name))
            try:
                if mark in (entry / "cmdline").read_bytes():
                    found = True
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    # It becomes readable when the process has ended. SIGKILL does not end one that waits for a disk
                    # (state D).
                    select.select([descriptor], [], [], _DYING)
            finally:
                os.close(descriptor)
    return found


def write_whole(path: Path, data: bytes, *, mode: int = 0o644, aside: Path | None = None, new: bool = False) -> None:
    """Write a file so that everybody sees the old bytes or the new ones, never a part, also after a power cut.

    It is made beside `path`, or in the folder `aside` of the same file system, whose owner cleans up after a crash.
    `mode` holds whatever the umask is. Raises OSError, and with `new` FileExistsError if `path` already exists.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = (aside or path.parent) / f".{path.name}.{secrets.token_hex(6)}"
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            # Before the rename: a file system may bring the new name to the disk before the bytes. XFS then has an
            # empty file after a power cut. Which of the two contents one finds afterwards is left open.
            os.fsync(file.fileno())
        if new:
            os.link(fresh, path)  # rename(2) would replace what another process has just written
        else:
            fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def point(path: Path, target: str, aside: Path) -> None:
    """Make `path` a symbolic link to `target`, replacing what is there at once; made in the folder `aside`."""
    path.parent.mkdir(exist_ok=True)
    fresh = aside / secrets.token_hex(6)
    # symlink(2) does not replace anything, and to unlink first would leave a moment without the name.
    fresh.symlink_to(target)
    fresh.replace(path)


def flush(paths: list[Path]) -> None:
    """Bring files to the disk, so that they outlive a power cut."""
    if len(paths) > _MANY:
        descriptor = os.open(paths[0], os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Since Linux 5.8 it also reports what could not be written since its last call.
            if _LIBC.syncfs(descriptor):
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code), os.fspath(paths[0]))
        finally:
            os.close(descriptor)
        return
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def boot_id() -> str:
    """Return what identifies this boot of the machine, or an empty string where the kernel does not say."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def is_about_space(output: str) -> bool:
    """Return whether a program's output reports a full disk or an exhausted quota."""
    return any(os.strerror(code) in output for code in _FULL)


def touch(path: Path) -> None:
    """Record a use in a file's modification time, unless one was recorded in the last minutes."""
    with contextlib.suppress(OSError):
        # Otherwise a run in which everything is cached would write to the disk for each of its thousands of hits.
        if time.time() - path.stat().st_mtime > _TOUCH_AFTER:
            os.utime(path)
