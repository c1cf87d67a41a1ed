"""How much room the store takes, and making it smaller."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.engine.local.entry import MANIFEST
from pipeline.host.content import remove_tree
from pipeline.host.disk import store_errors
from pipeline.host.locks import try_take

if TYPE_CHECKING:
    from pipeline.engine.local.store import Store  # it prunes itself with the functions here

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One thing in the store. `kind` is step, tree, cache or log; `size` in bytes; `used` in seconds since 1970."""

    digest: str
    title: str
    kind: str
    size: int
    used: float
    path: Path


def usage(store: Store, *, caches: bool = True) -> list[Usage]:
    """Return what is in the store, the longest unused first; with `caches`, whose files must be counted, these too."""
    found = []
    with store_errors(store.home):
        for folder in store.folders():
            with contextlib.suppress(OSError, ValueError, KeyError):
                path = folder / MANIFEST
                manifest = json.loads(path.read_bytes())
                size = manifest["size"] + path.stat().st_size
                used = path.stat().st_mtime
                digest = f"sha256:{folder.name}"
                title, kind = manifest.get("title", ""), manifest.get("kind", "step")
                found.append(Usage(digest=digest, title=title, kind=kind, size=size, used=used, path=folder))
        for folder in (store.home / "caches").iterdir() if caches else ():
            if folder.is_dir():
                used = folder.stat().st_mtime
                size = _size(folder)
                found.append(Usage(digest="", title=folder.name, kind="cache", size=size, used=used, path=folder))
    return sorted(found, key=lambda each: (each.used, each.title))


def prune(store: Store, *, limit: int | None = None, older_than: float | None = None) -> list[Usage]:
    """Delete what has not been used for `older_than` seconds, then the longest unused until `limit` bytes are left.

    With neither: everything. What a running evaluation uses stays, in this process or another. Cache
    directories go by age or with everything, not to make room: what they hold prunes itself. Returns what went.
    """
    everything = usage(store, caches=limit is None or older_than is not None)
    now = time.time()
    total = total_of(each for each in everything if each.kind != "cache")
    gone: list[Usage] = []
    trash: list[Path] = []
    with store_errors(store.home):
        # Nothing is looked up while this decides and moves aside, which takes an instant. To delete takes minutes,
        # and happens after the gate is open again.
        with store.gate():
            used = _leased(store)
            for each in everything:
                # Cache directories count by age alone: what Go or a scanner keeps in them shrinks by rules of their
                # own.
                old = older_than is not None and now - each.used > older_than
                big = limit is not None and total > limit and each.kind != "cache"
                if not (old or big or (limit is None and older_than is None)):
                    continue
                away = _away_cache(store, each) if each.kind == "cache" else _away(store, each, used)
                if away:
                    trash.append(away)
                    gone.append(each)
                    total -= each.size if each.kind != "cache" else 0
            # Names and keys that led to what has just gone. Nobody makes new ones while the gate is held.
            _forget(store)
        for path in trash:
            remove_tree(path)
        for each in gone:
            if each.digest:
                store.log(each.digest).unlink(missing_ok=True)
        if limit is None or older_than is not None:
            _prune_logs(store, now - (older_than or 0.0))
    for each in gone:
        logger.debug("pruned: %s %s, %d bytes", each.kind, each.title, each.size)
    if gone:
        logger.info("pruned %d entries with %d bytes, those that were unused for longest", len(gone), total_of(gone))
    return gone


def total_of(entries: Iterable[Usage]) -> int:
    """Return the bytes that `entries` take together."""
    return sum(each.size for each in entries)


def _prune_logs(store: Store, before: float) -> None:
    """Delete the logs that were last written before a time, except for those of steps that are running."""
    for path in (store.home / "logs").iterdir():
        if path.stat().st_mtime <= before:
            # The process that runs the step has its lock, and the log open: the end of the log would go to a file
            # without a name.
            lock = try_take(store.lock(path.stem))
            if lock is not None:
                path.unlink(missing_ok=True)
                store.lock(path.stem).unlink(missing_ok=True)
                os.close(lock)


def _away(store: Store, each: Usage, used: set[str]) -> Path | None:
    """Move an entry aside, unless a running evaluation uses it."""
    if each.path.name in used:
        return None
    target = store.aside / f"gone-{each.path.name}"
    # Another process may have dropped it as damaged since it was listed.
    with contextlib.suppress(FileNotFoundError):
        each.path.rename(target)
        return target
    return None


def _away_cache(store: Store, each: Usage) -> Path | None:
    """Move a cache directory aside, unless a running step has it mounted."""
    lock = try_take(store.cache_lock(each.path.name))
    if lock is None:
        return None
    try:
        target = store.aside / f"gone-cache-{each.path.name}"
        each.path.rename(target)
        return target
    finally:
        os.close(lock)


def _leased(store: Store) -> set[str]:
    """Return the names of all entries that a living process uses."""
    found: set[str] = set()
    for lease in (store.home / "leases").iterdir():
        lock = try_take(lease)
        # Only who lives holds its lease. The leases of dead processes keep nothing: they are reaped by the next store
        # that opens.
        if lock is None:
            found.update(lease.read_text(encoding="ascii").split())
        else:
            os.close(lock)
    return found


def _forget(store: Store) -> None:
    """Delete names and keys that point to nothing, and locks that nobody holds. The gate is held."""
    for folder in ("store", "keys"):
        for shard in (store.home / folder).iterdir():
            for path in shard.iterdir():
                if path.is_symlink() and not path.exists():
                    path.unlink()
    for path in (store.home / "locks").iterdir():
        lock = try_take(path)
        if lock is not None:
            path.unlink(missing_ok=True)
            os.close(lock)


def _size(root: Path) -> int:
    total = 0
    for folder, _, names in os.walk(root):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(f"{folder}/{name}").st_size
    return total
