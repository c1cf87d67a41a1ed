"""One entry of the store: a tree and, beside it, the manifest that says what is in it and how it looked."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pipeline.host.content import FOLDER, Fingerprint, Item, Listing, content_digest, fingerprints, normalise, scan
from pipeline.model.identity import identify

FORMAT = 1
MANIFEST = "manifest.json"
TREE = "tree"

Manifest: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Materialized:
    """A tree that lies on the disk: where, what identifies it, and the manifest that lists it.

    `identity` covers the content and the modification times, which a program can see as well. `below` is not
    empty for a part of an entry: the folder inside of it that is the tree.
    """

    path: Path
    identity: str
    manifest: Path
    below: str = ""

    def listing(self) -> Listing:
        """Return what is in the tree. Raises OSError when the entry has gone."""
        items = items_of(json.loads(self.manifest.read_bytes()))
        return part_of(items, self.below) if self.below else items

    def view(self, folder: str) -> Materialized | None:
        """Return a folder inside of the tree as a tree of its own, or None where it has no such folder."""
        manifest = json.loads(self.manifest.read_bytes())
        below = "/".join(part for part in (self.below, folder) if part)
        pairs = list(zip(items_of(manifest), manifest["stats"][1:], strict=True))
        if not any(item.path == below and item.kind == FOLDER for item, _ in pairs):
            return None
        inside = [(item, stats) for item, stats in pairs if item.path.startswith(below + "/")]
        items = part_of(tuple(item for item, _ in inside), below)
        return Materialized(
            path=self.path / folder,
            identity=identity(content_digest(items), [stats for _, stats in inside]),
            manifest=self.manifest,
            below=below,
        )


def items_of(manifest: Manifest) -> Listing:
    """Return the listing that a manifest holds."""
    return tuple(Item(*fields) for fields in manifest["items"])


def part_of(items: Listing, folder: str) -> Listing:
    """Return the listing of one folder inside a tree."""
    prefix = folder + "/"
    return tuple(item._replace(path=item.path[len(prefix) :]) for item in items if item.path.startswith(prefix))


def identity(content: str, stats: Iterable[Sequence[int]]) -> str:
    """Return what identifies a tree to a program that reads it: its content digest and every modification time."""
    return identify("laid/1", [content, [each[2] // 10**9 for each in stats]])


def read(path: Path | str) -> Manifest | None:
    """Return the manifest at `path`, or None for one that is missing, damaged, or of another format."""
    try:
        manifest = json.loads(Path(path).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get("format") == FORMAT else None


def untouched(tree: Path | str, manifest: Manifest) -> bool:
    """Return whether every file of a tree looks as it did when the manifest was written."""
    base = os.fspath(tree)
    # Strings and not Paths: this is asked of every file of every entry that is looked up, and it is what a cached run
    # spends its time on.
    names = [base, *(f"{base}/{item[0]}" for item in manifest["items"])]
    try:
        return all(
            list(Fingerprint.of(os.lstat(name))) == stats for name, stats in zip(names, manifest["stats"], strict=True)
        )
    except OSError:
        return False


def restore_times(tree: Path, manifest: Manifest) -> None:
    """Set every modification time of a tree to what its manifest says."""
    names = [tree, *(tree / item[0] for item in manifest["items"])]
    for name, stats in zip(names, manifest["stats"], strict=True):
        os.utime(name, ns=(stats[2], stats[2]), follow_symlinks=False)


def same_content(tree: Path, manifest: Manifest) -> Listing | None:
    """Hash a tree, and return its listing if that is what the manifest says."""
    try:
        items = scan(tree)
    except (FileNotFoundError, ValueError):
        return None
    sound = items == items_of(manifest) and content_digest(items) == manifest["content"]
    return items if sound else None


def seal(
    staging: Path, digest: str, epoch: int, *, boot: str, items: Listing | None = None, **facts: Any
) -> Materialized:
    """Settle times and modes of `staging/tree`, and write its manifest beside it.

    With `items`, its listing, that has been done: it was copied from trees in the store.
    """
    tree = staging / TREE
    if items is None:
        normalise(tree, epoch)
        items = scan(tree)
    # After normalise: it changes modes and times, and with them the status that is recorded here.
    content = content_digest(items)
    stats = fingerprints(tree, items)
    manifest = {
        "format": FORMAT,
        "digest": digest,
        "content": content,
        "identity": identity(content, stats[1:]),
        "size": sum(item.size for item in items),
        "created": time.time(),
        "boot": boot,
        "items": items,
        "stats": stats,
        **facts,
    }
    (staging / MANIFEST).write_bytes(dump(manifest))
    return Materialized(path=tree, identity=manifest["identity"], manifest=staging / MANIFEST)


def dump(manifest: Manifest) -> bytes:
    """Return a manifest as it is written."""
    return json.dumps(manifest, separators=(",", ":")).encode("ascii")


def shard(digest: str) -> str:
    """Return where the entry for a digest is in a folder of many."""
    name = digest.removeprefix("sha256:")
    return f"{name[:2]}/{name}"
