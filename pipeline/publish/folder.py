"""Puts a finished release into `dist/<version>/`: whole or not at all."""

from __future__ import annotations

import ctypes
import errno
import filecmp
import logging
import os
import shutil
import stat
import tempfile
from pathlib import Path

from pipeline.errors import StoreError

logger = logging.getLogger(__name__)

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_FOLDER = 0o755
"""Mode of the folder of a release."""


def deliver(release: Path, target: Path) -> None:
    """Copy the directory `release` to `target`, replacing an older one in one step; one that is the same stays.

    Readers see the old release or the new one, never a mixture; a crash leaves at most a hidden folder beside
    `target`. Files arrive with mode 0644 (0755 where the owner may execute) and keep their modification times.
    Raises StoreError when the target cannot be written.
    """
    if _is_there(release, target):
        logger.info("%s has exactly these files already; nothing is written", target)
        return
    logger.info("%s is written%s", target, ", in place of what it has now" if target.exists() else "")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            _copy(release, aside)
            aside.chmod(_FOLDER)
            _put(aside, target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise StoreError(
            f"cannot write the release to {target}: {error.strerror}",
            details=f"The file concerned: {error.filename}" if error.filename else "",
            resolution="free some space, or choose another folder with --dist",
        ) from error


def _is_there(release: Path, target: Path) -> bool:
    """Return whether `target` holds exactly the files of `release`: names, modes, times and every byte."""
    filecmp.clear_cache()  # it believes sizes and times
    try:
        ours, theirs = (sorted(path.relative_to(root) for path in root.rglob("*")) for root in (release, target))
        whole = ours == theirs and stat.S_IMODE(target.lstat().st_mode) == _FOLDER
        return whole and all(_same(release / name, target / name) for name in ours)
    except OSError:
        return False


def _same(source: Path, there: Path) -> bool:
    if source.is_dir():
        return there.is_dir() and not there.is_symlink()
    wanted, found = source.stat(), there.lstat()
    expected = (stat.S_IFREG | _mode(wanted), wanted.st_mtime_ns)
    return (found.st_mode, found.st_mtime_ns) == expected and filecmp.cmp(source, there, shallow=False)


def _mode(status: os.stat_result) -> int:
    return 0o755 if status.st_mode & 0o100 else 0o644


def _copy(release: Path, aside: Path) -> None:
    """Copy everything, then make it durable: after each file it would cost a commit of the file system each time."""
    copied: list[Path] = []
    for source in sorted(release.rglob("*")):
        destination = aside / source.relative_to(release)
        if source.is_dir():
            destination.mkdir()
            continue
        shutil.copyfile(source, destination, follow_symlinks=False)
        status = source.stat()
        destination.chmod(_mode(status))
        os.utime(destination, ns=(status.st_mtime_ns, status.st_mtime_ns))
        copied.append(destination)
    for path in copied:
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _put(aside: Path, target: Path) -> None:
    if not target.exists():
        aside.rename(target)
        return
    if not _exchange(aside, target):
        old = aside.with_name(aside.name + ".old")
        target.rename(old)
        aside.rename(target)
        shutil.rmtree(old)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two directories with renameat2(2). Return False where the file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    if libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    if ctypes.get_errno() in (errno.EINVAL, errno.ENOSYS):
        return False
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), str(other))
