"""Publishes into a folder of this machine, such as `dist/<version>/`: whole or not at all."""

from __future__ import annotations

import ctypes
import errno
import filecmp
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from pipeline.errors import PublishError
from pipeline.publish.publisher import Changes, Receipt

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_FOLDER = 0o755
"""Mode of the folder of a release."""
OTHER_FOLDER = "name another folder with --dist or --publish"


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder `<where>/<name>` for each release. Files have mode 0644 or 0755, and keep their modification times.

    Readers see the old release or the new one, never a mixture; a crash leaves at most a hidden folder beside it.
    """

    where: str | Path

    async def check(self, name: str) -> None:
        """Raise PublishError when the folder could not be written."""
        await to_thread.run_sync(_check, Path(self.where) / name)

    async def plan(self, release: Path, name: str) -> Changes:
        """Compare names, modes, times and every byte."""
        return await to_thread.run_sync(_changes, release, Path(self.where) / name)

    async def publish(self, release: Path, name: str) -> Receipt:
        """Copy the release, and put it in the place of an older one in one step. One that is the same stays."""
        target = Path(self.where) / name
        changes = await self.plan(release, name)
        if changes or not target.is_dir():
            await to_thread.run_sync(_deliver, release, target)
        return Receipt(where=str(target), changes=changes)


PUBLISHER = Folder


def _check(target: Path) -> None:
    there = next(path for path in (target, *target.absolute().parents) if path.exists())
    parent = target.absolute().parent if there == target else there
    if not there.is_dir():
        raise PublishError(f"cannot write the release to {target}: {there} is not a folder", resolution=OTHER_FOLDER)
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PublishError(f"cannot write the release to {target}: {parent} is not writable", resolution=OTHER_FOLDER)


def _deliver(release: Path, target: Path) -> None:
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
        raise PublishError(
            f"cannot write the release to {target}: {error.strerror}",
            details=f"The file concerned: {error.filename}" if error.filename else "",
            resolution=f"free some space, or {OTHER_FOLDER}",
        ) from error


def _changes(release: Path, target: Path) -> Changes:
    filecmp.clear_cache()  # it believes sizes and times
    ours = {path.relative_to(release) for path in release.rglob("*")}
    theirs = {path.relative_to(target) for path in target.rglob("*")} if target.is_dir() else set()
    usable = bool(theirs) and stat.S_IMODE(target.lstat().st_mode) == _FOLDER
    keep = {name for name in ours & theirs if usable and _same(release / name, target / name)}
    put, removed = ours - keep, theirs - ours
    return Changes(
        put=tuple(sorted(map(str, put))), keep=tuple(sorted(map(str, keep))), remove=tuple(sorted(map(str, removed)))
    )


def _same(source: Path, there: Path) -> bool:
    if source.is_dir():
        return there.is_dir() and not there.is_symlink()
    wanted, found = source.stat(), there.lstat()
    expected = (stat.S_IFREG | _mode(wanted), wanted.st_mtime_ns)
    try:
        return (found.st_mode, found.st_mtime_ns) == expected and filecmp.cmp(source, there, shallow=False)
    except OSError:  # what cannot be read is replaced
        return False


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
