"""Root file systems on this machine: where they are, what is recorded about them, and how each is made exactly once."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from pipeline.errors import ImageError, StoreError
from pipeline.host.content import FILE, SpecialFileError, content_digest, normalise, remove_tree, scan
from pipeline.host.locks import locked
from pipeline.model.tree import BASE_EPOCH

logger = logging.getLogger(__name__)

Progress = Callable[[str], None]
"""Told one line for people at a time."""

ROOTFS = "rootfs"
RECORD = "root.json"
FORMAT = 1

FOLDERS = ("dev", "in", "out", "proc", "run/secrets", "sys", "tmp", "var/tmp", "work")
"""Where a sandbox mounts something. It cannot make them itself: the root is read-only."""

FILES = {"etc/hostname": "pipeline\n", "etc/hosts": "127.0.0.1 localhost pipeline\n::1 localhost pipeline\n"}
EMPTY_FILES = ("etc/machine-id", "etc/resolv.conf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the maker of a root knows about it. `snapshot` is the state of the package archives.

    `manifest` is the digest of a pulled image's manifest, `path` the PATH that it asks for.
    """

    origin: str
    packages: tuple[str, ...] = ()
    snapshot: tuple[str, ...] = ()
    made_with: str = ""
    reference: str = ""
    manifest: str = ""
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A root file system on disk. `content` is the digest of its listing, `size` the bytes of its files."""

    key: str
    content: str
    size: int
    facts: Facts
    path: Path = field(compare=False)


class Roots:
    """The root file systems below `<home>/images`, one folder each, named by the digest of its recipe."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "images"

    def find(self, key: str) -> Root | None:
        """Return the finished root that was made by the recipe `key`, or None."""
        folder = self.folder / _plain(key)
        try:
            record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            if record["format"] != FORMAT or not (folder / ROOTFS).is_dir():
                return None
            facts: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record["facts"].items()}
            known = {name: record[name] for name in ("key", "content", "size")}
            return Root(**known, facts=Facts(**facts), path=folder / ROOTFS)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    async def make(
        self, key: str, build: Callable[[Path], Awaitable[Facts]], *, progress: Progress, again: bool = False
    ) -> Root:
        """Return the root of the recipe `key`, made by `build` if it does not exist (or if `again`).

        `build` fills an empty folder. Nothing of a failed or interrupted attempt is ever seen as a root, and of
        several processes that want the same one, one builds it while the others wait.
        Raises what `build` raises, and StoreError when the disk is full or not writable.
        """
        found = None if again else self.find(key)
        if found:
            logger.debug("hit: the root of the recipe %s is in %s", key, found.path)
            return found
        logger.info("the root of the recipe %s is made: %s", key, "it was asked for" if again else "there is none yet")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            waiting = partial(progress, "another process is making this image; waiting for it")
            async with locked(self._lock(key), waiting=waiting):
                found = None if again else self.find(key)
                return found or await self._build(key, build, progress)
        except OSError as error:
            raise StoreError(
                f"an image cannot be written to {self.folder}: {error.strerror or error}",
                resolution="make room or rights there, or set PIPELINE_HOME to another folder",
            ) from error

    def all(self) -> list[Root]:
        """Return every finished root, also those of recipes that have changed since."""
        folders = sorted(self.folder.glob("*/")) if self.folder.is_dir() else []
        return [root for folder in folders if (root := self.find(folder.name))]

    async def remove(self, key: str) -> None:
        """Delete the root of the recipe `key`, when no other process is making it."""
        async with locked(self._lock(key)):
            await anyio.to_thread.run_sync(remove_tree, self.folder / _plain(key))

    async def _build(self, key: str, build: Callable[[Path], Awaitable[Facts]], progress: Progress) -> Root:
        name = _plain(key)
        for leftover in self.folder.glob(f".{name}.*"):
            await anyio.to_thread.run_sync(remove_tree, leftover)
        staging = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=self.folder))
        try:
            rootfs = staging / ROOTFS
            rootfs.mkdir(mode=0o755)
            facts = await build(rootfs)
            progress("checking and recording what is in it")
            content, size = await anyio.to_thread.run_sync(_seal, rootfs)
            record = {"format": FORMAT, "key": key, "content": content, "size": size, "facts": asdict(facts)}
            (staging / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            staging.chmod(0o755)
            final = self.folder / name
            await anyio.to_thread.run_sync(remove_tree, final)
            await anyio.to_thread.run_sync(os.sync)
            staging.rename(final)
            return Root(key=key, content=content, size=size, facts=facts, path=final / ROOTFS)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(remove_tree, staging)

    def _lock(self, key: str) -> Path:
        return self.folder / f"{_plain(key)}.lock"


def _plain(key: str) -> str:
    return key.removeprefix("sha256:")


def _seal(rootfs: Path) -> tuple[str, int]:
    """Normalise a finished root; return its content digest and the bytes of its files."""
    try:
        normalise(rootfs, BASE_EPOCH)
        listing = scan(rootfs)
    except SpecialFileError as error:
        raise ImageError(f"the root file system holds a special file: {error}") from error
    return content_digest(listing), sum(item.size for item in listing if item.kind == FILE)


def make_mount_points(rootfs: Path, mounts: tuple[str, ...]) -> None:
    """Make what a sandbox needs to mount on in a root that it cannot write to, and neutral files of its own."""
    for name in (*FOLDERS, *(mount.lstrip("/") for mount in mounts)):
        target = inside(rootfs, name)
        target.mkdir(parents=True, exist_ok=True)
    for name, text in (*FILES.items(), *((name, "") for name in EMPTY_FILES)):
        inside(rootfs, name).parent.mkdir(parents=True, exist_ok=True)
        target = rootfs / name
        target.unlink(missing_ok=True)
        target.write_text(text, encoding="ascii")
        target.chmod(0o644)


def inside(rootfs: Path, name: str) -> Path:
    """Return the place of `name` in `rootfs` with symbolic links resolved as if `rootfs` were the root.

    `/lib64`, `/var/run` and the like are often absolute links; on the host they would lead out of the root.
    """
    current, pending, hops = rootfs, list(reversed(Path(name).parts)), 0
    while pending:
        part = pending.pop()
        if part in ("/", "."):
            current = rootfs if part == "/" else current
            continue
        if part == "..":
            current = current if current == rootfs else current.parent
            continue
        target = current / part
        if target.is_symlink():
            hops += 1
            if hops > 40:
                raise ImageError(f"/{name} is behind too many symbolic links")
            pending += reversed(target.readlink().parts)
            continue
        current = target
    return current


def missing_mount_points(rootfs: Path, mounts: tuple[str, ...]) -> list[str]:
    """Return the mount points that a root lacks, as absolute paths."""
    names = (*FOLDERS, *(mount.lstrip("/") for mount in mounts))
    lacking = [f"/{name}" for name in names if not inside(rootfs, name).is_dir()]
    return lacking + [f"/{name}" for name in (*FILES, *EMPTY_FILES) if not inside(rootfs, name).is_file()]
