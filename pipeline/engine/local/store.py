"""The store: what steps left behind, by digest, each entry whole or not there at all.

An entry is a folder with the tree and a manifest: its listing, its content digest and a fingerprint of every file.
It is written aside, synced to the disk, and renamed into place. A process that dies leaves only files aside,
and the lock that says that they are nobody's.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from pipeline.engine.local import entry
from pipeline.engine.local.entry import MANIFEST, TREE, Manifest, Materialized
from pipeline.engine.local.prune import prune, usage
from pipeline.host.content import fingerprints, remove_tree
from pipeline.host.disk import boot_id, flush, kill_users, point, store_errors, touch, with_reserve, write_whole
from pipeline.host.locks import held, take, try_take

logger = logging.getLogger(__name__)

Notice = Callable[[str, str], None]


def _unnoticed(_digest: str, _text: str) -> None:
    """Take no notice."""


class Store:
    """The store in one folder, as one process sees it. `close` it, or use it as a context manager."""

    def __init__(self, home: Path, *, notice: Notice = _unnoticed) -> None:
        self.home = home.absolute()
        self.notice = notice
        self._mutex = threading.Lock()
        self._leased: set[str] = set()
        self._boot = boot_id()
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.aside = self.home / "tmp" / name
        self._lease_path = self.home / "leases" / name
        self._lease = self._gate = -1
        with store_errors(self.home):
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            with_reserve(self.home / "reserve", self._enter)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _enter(self) -> None:
        """Make what every process needs in the store. Can be tried again."""
        # store: entries, in 256 folders by their first byte. keys: links to entries by the content of a step's
        # inputs. tmp: what processes make, a folder each. locks: one file for each thing that is being made. leases:
        # one file for each process, with the entries that it uses.
        for each in ("store", "keys", "tmp", "locks", "leases", "logs", "caches"):
            (self.home / each).mkdir(exist_ok=True)
        if self._gate < 0:
            self._gate = os.open(self.home / "gate", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            # Before this process makes anything: what dead ones left may be why the disk is full.
            self._reap()
        if self._lease < 0:
            # The name is a random one; another process that has just begun may hold it while it looks who lives.
            self._lease = take(self._lease_path)
        # What lies here has not been searched for secrets yet.
        self.aside.mkdir(mode=0o700, exist_ok=True)

    def close(self) -> None:
        """Let go of what this process used, and delete what it left aside."""
        if self._lease < 0:
            return
        # The lease goes last. A process that dies in between leaves the lease, by which the next one finds the rest.
        with contextlib.suppress(OSError):
            remove_tree(self.aside)
            self._lease_path.unlink(missing_ok=True)
        os.close(self._lease)
        os.close(self._gate)
        self._lease = self._gate = -1

    def scratch(self) -> Path:
        """Return a new empty folder aside, in the store's file system. Who asks deletes it."""
        path = self.aside / secrets.token_hex(6)
        path.mkdir(mode=0o700)
        return path

    def folder(self, digest: str) -> Path:
        """Return where the entry for `digest` is, if it is there."""
        return Path(f"{self.home}/store/{entry.shard(digest)}")

    def log(self, digest: str) -> Path:
        """Return where the log of the step with this digest is, if it has run here."""
        return self.home / "logs" / f"{digest.removeprefix('sha256:')}.log"

    def lock(self, digest: str) -> Path:
        """Return the lock file that the maker of the entry for `digest` holds."""
        return self.home / "locks" / digest.removeprefix("sha256:")

    def cache_lock(self, name: str) -> Path:
        """Return the lock file that running steps share while they have this cache directory mounted."""
        return self.home / "locks" / f"cache-{name}"

    def has(self, digest: str) -> bool:
        """Return whether there is a sound entry for `digest`, without keeping it from being pruned."""
        with store_errors(self.home):
            folder = f"{self.home}/store/{entry.shard(digest)}"
            manifest = entry.read(f"{folder}/{MANIFEST}")
            return manifest is not None and self._sound(f"{folder}/{TREE}", manifest)

    def lookup(self, digest: str) -> Materialized | None:
        """Return the entry for `digest` if it is there and sound, and keep it from being pruned until `close`.

        An entry whose files have been touched is hashed: with the same content it stays, otherwise it is
        dropped with a notice. Raises StoreError.
        """
        with store_errors(self.home):
            # To look and to keep is one action for the one who prunes: it has the gate to itself while it reads all
            # leases. Otherwise it could delete an entry that was just found.
            with self._reading():
                folder = self._resolve(digest)
                manifest = entry.read(folder / MANIFEST) if folder else None
                if folder is None or manifest is None:
                    if folder:
                        self._drop(folder, digest, "its manifest cannot be read")
                    return None
                self._keep(folder.name)
            # Not behind the gate: to hash a large entry takes minutes, in which nobody could look anything up. The
            # lease keeps it.
            result = Materialized(path=folder / TREE, identity=manifest["identity"], manifest=folder / MANIFEST)
            if not self._sound(result.path, manifest) and not self._repair(folder, manifest, digest):
                return None
            # Its modification time is when the entry was last used. Access times are not kept on file systems mounted
            # noatime.
            touch(folder / MANIFEST)
            return result

    def alias(self, key: str, digest: str | None = None) -> Materialized | None:
        """Return the entry that was recorded under the content key `key`; let `digest` name it too."""
        with store_errors(self.home):
            try:
                target = (self.home / "keys" / entry.shard(key)).readlink()
            except FileNotFoundError:
                return None
        result = self.lookup(f"sha256:{target.name}")
        # From the next time on, the digest alone finds the entry, and the inputs need not be there for it.
        if result and digest and result.manifest.parent != self.folder(digest):
            with store_errors(self.home):
                folder = result.manifest.parent
                point(self.folder(digest), f"../{folder.parent.name}/{folder.name}", self.aside)
        return result

    def commit(
        self, staging: Path, digest: str, *, key: str = "", epoch: int, durable: bool, **facts: Any
    ) -> Materialized:
        """Make `staging`, a folder aside with the tree in it, the entry for `digest`, and return it.

        `key` is a content key to find it by as well; `facts` go into the manifest. An entry that is not `durable`
        is cheap to make again: it is not forced to the disk, and hashed on its first use after a restart.
        Directories are never forced there: after a power cut an entry may have gone, or lack a file and be
        noticed, and is never taken for whole when it is not.
        Raises StoreError, and SpecialFileError for what cannot be kept.
        """
        with store_errors(self.home):
            result = entry.seal(staging, digest, epoch, boot="" if durable else self._boot, **facts)
            # Before the rename: an entry with a name is taken for whole, so its bytes are on the disk before it has
            # one.
            if durable:
                flush([*(result.path / item.path for item in result.listing() if item.size), result.manifest])
            target = self.folder(digest)
            with self._reading():
                self._keep(target.name)
                target.parent.mkdir(exist_ok=True)
                # rename(2) replaces an empty directory only.
                self._discard(target)
                staging.rename(target)
            # After the entry: a process that finds the key finds the entry, also when this process dies in between.
            if key:
                where = f"../../store/{target.parent.name}/{target.name}"
                point(self.home / "keys" / entry.shard(key), where, self.aside)
            return Materialized(path=target / TREE, identity=result.identity, manifest=target / MANIFEST)

    def verify(self) -> list[str]:
        """Hash every entry, drop those that are damaged, and return their digests."""
        damaged = []
        with store_errors(self.home):
            for folder in self.folders():
                digest = f"sha256:{folder.name}"
                manifest = entry.read(folder / MANIFEST)
                if manifest is None and folder.is_dir():
                    # A folder that has gone meanwhile is not damaged: another process has pruned it.
                    with self._reading():
                        self._drop(folder, digest, "its manifest cannot be read")
                    damaged.append(digest)
                elif manifest and not self._repair(folder, manifest, digest):
                    damaged.append(digest)
        return damaged

    usage = usage
    prune = prune

    def folders(self) -> Iterator[Path]:
        """Yield the folder of every entry; names that only point to another entry are left out."""
        for shard in sorted((self.home / "store").iterdir()):
            for folder in sorted(shard.iterdir()):
                if not folder.name.startswith(".") and not folder.is_symlink():
                    yield folder

    @contextlib.contextmanager
    def gate(self) -> Iterator[None]:
        """Keep every process from looking anything up: held, briefly, by who decides what can go."""
        # flock(2) locks an open file, and all threads of this process have this one open. Without the mutex the first
        # thread that is done would unlock for all of them.
        with self._mutex, held(self._gate):
            yield

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        with self._mutex, held(self._gate, shared=True):
            yield

    def _keep(self, name: str) -> None:
        """Put an entry on the list of what this process uses. The gate is held."""
        # Written before a file of the entry is read. Pruning sees whole lines only, because the gate is held.
        if name not in self._leased:
            os.write(self._lease, name.encode("ascii") + b"\n")
            self._leased.add(name)

    def _resolve(self, digest: str) -> Path | None:
        """Return the folder of the entry, following a name that points to another; None where there is none."""
        path = self.folder(digest)
        try:
            target = path.readlink()
        except FileNotFoundError:
            return None
        # EINVAL: the name is not a link, so it is the entry itself.
        except OSError:
            return path
        folder = self.home / "store" / target.parent.name / target.name
        return folder if folder.is_dir() else None

    def _sound(self, tree: Path | str, manifest: Manifest) -> bool:
        return manifest["boot"] in ("", self._boot) and entry.untouched(tree, manifest)

    def _repair(self, folder: Path, manifest: Manifest, digest: str) -> bool:
        """Hash an entry. With its content as recorded, refresh times and fingerprints; otherwise drop it."""
        items = entry.same_content(folder / TREE, manifest)
        if items is None:
            with self._reading():
                # Another process may have repaired it, or made it again, while this one was hashing.
                if entry.read(folder / MANIFEST) == manifest:
                    self._drop(folder, digest, "its files are not what was stored")
            return False
        # Made before the last restart and not forced to the disk then. It is whole, so it is forced there now, and
        # counts as sound from then on.
        if manifest["boot"]:
            flush([folder / TREE / item.path for item in items if item.size])
        # Programs see modification times, as make(1) does, and the identity covers them. A backup that was restored
        # has others.
        entry.restore_times(folder / TREE, manifest)
        stats = fingerprints(folder / TREE, items)
        fresh = {**manifest, "stats": stats, "boot": ""}
        write_whole(folder / MANIFEST, entry.dump(fresh), aside=self.aside)
        return True

    def _drop(self, folder: Path, digest: str, why: str) -> None:
        self._discard(folder)
        logger.info("%s was damaged and is dropped: %s", digest, why)
        self.notice(digest, f"the stored result was damaged ({why}) and has been dropped")

    def _discard(self, path: Path) -> None:
        """Move what is at `path` aside and delete it."""
        with contextlib.suppress(FileNotFoundError):
            if path.is_symlink():
                path.unlink()
            else:
                # A rename happens at once. A process that is killed while it deletes in place would leave half of an
                # entry under its name.
                away = self.aside / secrets.token_hex(6)
                path.rename(away)
                remove_tree(away)

    def _reap(self) -> None:
        """Delete what processes left aside that no longer live, and end what they left running."""
        for lease in (self.home / "leases").iterdir():
            # A lease that can be locked is that of a dead process: the kernel has let go of it. This holds however it
            # died.
            descriptor = try_take(lease)
            if descriptor is not None:
                logger.info("the process %s has died; what it left aside is removed", lease.name)
                # Its sandboxes first: one that still runs would write into the folder while it is being deleted.
                kill_users(self.home / "tmp" / lease.name)
                remove_tree(self.home / "tmp" / lease.name)
                lease.unlink(missing_ok=True)
                os.close(descriptor)
