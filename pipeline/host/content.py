"""The content of a directory: what is in it, told by one digest, and cheap signs that nobody has touched it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.model.identity import identify

FILE, FOLDER, LINK = "f", "d", "l"
PERMISSIONS = 0o777
"""The permission bits that are content. Set-id and sticky bits mean nothing outside of a package."""

_NO_RANGE_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


class SpecialFileError(ValueError):
    """A socket, device or pipe: no content that could be kept. `path` is relative to its tree."""

    def __init__(self, path: str, kind: str) -> None:
        super().__init__(f"{path} is a {kind}")
        self.path = path
        self.kind = kind


class Item(NamedTuple):
    """One thing in a tree. `content` is a file's SHA-256 in hexadecimal, or where a symbolic link points."""

    path: str
    kind: str
    mode: int = 0
    size: int = 0
    content: str = ""


class Fingerprint(NamedTuple):
    """What changes when anybody writes to a file, even one who sets its times back. Times in nanoseconds."""

    size: int
    mode: int
    mtime: int
    ctime: int
    inode: int

    @staticmethod
    def of(status: os.stat_result) -> Fingerprint:
        """Return the fingerprint in a status. A directory's size is not a sign of anything."""
        # The same folder has another size on another file system, and on some after a file came and went.
        size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
        return Fingerprint(size, status.st_mode, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


Listing = tuple[Item, ...]


def content_digest(items: Iterable[Item]) -> str:
    """Return the `sha256:` digest of a listing: names, types, permissions and bytes; no times, no owners."""
    return identify("content/1", [list(item) for item in items])


def digest_of(root: Path) -> str:
    """Return the content digest of the directory `root`."""
    return content_digest(scan(root))


def walk(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield everything below `root` as (relative path, entry), a directory before what is in it."""
    stack = [(os.fspath(root), "")]
    while stack:
        folder, prefix = stack.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                path = prefix + entry.name
                yield path, entry
                if entry.is_dir(follow_symlinks=False):
                    stack.append((entry.path, path + "/"))


def scan(root: Path, *, hashed: bool = True) -> Listing:
    """Return the listing of everything below `root`, sorted by path; without hashes if they are not wanted.

    Raises SpecialFileError for what is neither file, directory nor symbolic link, and OSError.
    """
    items = []
    for path, entry in walk(root):
        status = entry.stat(follow_symlinks=False)
        mode = status.st_mode & PERMISSIONS
        if stat.S_ISDIR(status.st_mode):
            items.append(Item(path, FOLDER, mode))
        elif stat.S_ISLNK(status.st_mode):
            items.append(Item(path, LINK, content=str(Path(entry.path).readlink())))
        elif stat.S_ISREG(status.st_mode):
            items.append(Item(path, FILE, mode, status.st_size, hash_file(entry.path) if hashed else ""))
        else:
            raise SpecialFileError(path, _describe(status.st_mode))
    return tuple(sorted(items))


def hash_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with Path(path).open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def normalise(root: Path, epoch: int) -> None:
    """Give everything in `root`, and `root` itself, the modification time `epoch` and plain permission bits.

    The owner keeps the right to read files and to list directories, without which nobody could use the tree.
    Raises SpecialFileError and OSError.
    """
    folders = []
    _plain_folder(root)
    for path, entry in walk(root):
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            _plain_folder(entry.path)
            folders.append(entry.path)
        elif stat.S_ISREG(status.st_mode):
            mode = stat.S_IMODE(status.st_mode)
            wanted = mode & PERMISSIONS | stat.S_IRUSR
            if mode != wanted:
                Path(entry.path).chmod(wanted)
            os.utime(entry.path, (epoch, epoch))
        elif stat.S_ISLNK(status.st_mode):
            os.utime(entry.path, (epoch, epoch), follow_symlinks=False)
        else:
            raise SpecialFileError(path, _describe(status.st_mode))
    for folder in (*folders, os.fspath(root)):
        os.utime(folder, (epoch, epoch))


def _plain_folder(path: str | Path) -> None:
    mode = stat.S_IMODE(os.lstat(path).st_mode)
    wanted = mode & PERMISSIONS | stat.S_IRUSR | stat.S_IXUSR
    if mode != wanted:
        Path(path).chmod(wanted)


def fingerprints(root: Path, items: Iterable[Item]) -> list[Fingerprint]:
    """Return the fingerprints of `root` itself and of each of `items`, in that order. Raises OSError."""
    base = os.fspath(root)
    paths = [base, *(f"{base}/{item.path}" for item in items)]
    return [Fingerprint.of(os.lstat(path)) for path in paths]


def copy_items(items: Iterable[tuple[Item, str]], target: Path, epoch: int) -> None:
    """Lay out `items`, sorted by path and each with where it comes from, in the directory `target`.

    Everything keeps its modification time; a directory that comes from nowhere, and `target`, have `epoch`.
    Directories stay writable for the owner until everything is in them. Raises FileExistsError for a file that
    is already there.
    """
    folders: list[tuple[Path, int, str]] = []
    for item, source in items:
        path = target / item.path
        if item.kind == FOLDER:
            path.mkdir(mode=0o700)
            folders.append((path, item.mode, source))
        elif item.kind == LINK:
            path.symlink_to(item.content)
            _keep_time(source, path)
        else:
            copy_file(source, path, item.mode)
            _keep_time(source, path)
    # The deepest first: to set the time of a file in a folder changes that of the folder.
    for path, mode, source in reversed(folders):
        path.chmod(mode)
        if source:
            _keep_time(source, path)
        else:
            os.utime(path, (epoch, epoch))
    os.utime(target, (epoch, epoch))


def _keep_time(source: str, target: Path) -> None:
    time = os.lstat(source).st_mtime_ns
    os.utime(target, ns=(time, time), follow_symlinks=False)


def copy_file(source: str | Path, target: str | Path, mode: int) -> None:
    """Copy one file's bytes to the new file `target`, inside the kernel where that is possible.

    `copy_file_range` shares blocks on file systems that can (btrfs, XFS). A hard link would be cheaper, but it
    changes the source's ctime and gives two trees one inode, so that damage to one would damage both.
    """
    with Path(source).open("rb", buffering=0) as reader, Path(target).open("xb", buffering=0) as writer:
        try:
            while os.copy_file_range(reader.fileno(), writer.fileno(), 1 << 30):
                pass
        except OSError as error:
            if error.errno not in _NO_RANGE_COPY:
                raise
            reader.seek(0)
            writer.seek(0)
            writer.truncate()
            shutil.copyfileobj(reader, writer, 1 << 20)
        os.fchmod(writer.fileno(), mode)


def remove_tree(path: Path) -> None:
    """Delete a directory and everything in it, also where permission bits forbid it to the owner."""
    with contextlib.suppress(FileNotFoundError):
        try:
            # Go's module cache is read-only, folders included: nobody but root may delete from it as it is.
            shutil.rmtree(path)
        except PermissionError:
            _allow(path)
            shutil.rmtree(path)


def _allow(root: Path) -> None:
    stack = [root]
    while stack:
        folder = stack.pop()
        folder.chmod(0o700)
        with os.scandir(folder) as entries:
            stack.extend(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))


def _describe(mode: int) -> str:
    kinds = {stat.S_IFSOCK: "socket", stat.S_IFIFO: "named pipe", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
    return kinds.get(stat.S_IFMT(mode), "special file")
