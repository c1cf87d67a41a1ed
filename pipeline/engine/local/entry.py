"""One entry of the store: a tree and, beside it, the manifest that says what is in it and how it looked."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pipeline.content import Fingerprint, Item, Listing, content_digest, fingerprints, normalise, scan

FORMAT = 1
MANIFEST = "manifest.json"
TREE = "tree"

Manifest: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """A tree that lies on the disk: where, the digest of its content, and the manifest that lists it.

    `below` is not empty for a part of an entry: the folder inside of it that is the tree.
    """

    path: Path
    content: str
    manifest: Path
    below: str = ""

    def listing(self) -> Listing:
        """Return what is in the tree. Raises OSError when the entry has gone."""
        items = items_of(json.loads(self.manifest.read_bytes()))
        return part_of(items, self.below) if self.below else items


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One thing in the store. `kind` is step, tree, cache or log; `size` in bytes; `used` in seconds since 1970."""

    digest: str
    title: str
    kind: str
    size: int
    used: float
    path: Path


def items_of(manifest: Manifest) -> Listing:
    """Return the listing that a manifest holds."""
    return tuple(Item(*fields) for fields in manifest["items"])


def part_of(items: Listing, folder: str) -> Listing:
    """Return the listing of one folder inside a tree."""
    prefix = folder + "/"
    return tuple(item._replace(path=item.path[len(prefix) :]) for item in items if item.path.startswith(prefix))


def read(path: Path) -> Manifest | None:
    """Return the manifest at `path`, or None for one that is not there, not whole, or of another format."""
    try:
        manifest = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get("format") == FORMAT else None


def untouched(tree: Path, manifest: Manifest) -> bool:
    """Return whether every file of a tree looks as it did when the manifest was written."""
    base = os.fspath(tree)
    names = [base, *(f"{base}/{item[0]}" for item in manifest["items"])]
    try:
        return all(
            list(Fingerprint.of(os.lstat(name))) == stats for name, stats in zip(names, manifest["stats"], strict=True)
        )
    except OSError:
        return False


def same_content(tree: Path, manifest: Manifest) -> Listing | None:
    """Hash a tree, and return its listing if that is what the manifest says."""
    try:
        items = scan(tree)
    except (FileNotFoundError, ValueError):
        return None
    sound = items == items_of(manifest) and content_digest(items) == manifest["content"]
    return items if sound else None


def seal(staging: Path, digest: str, epoch: int, *, boot: str, items: Listing | None = None, **facts: Any) -> Laid:
    """Settle times and modes of `staging/tree`, and write its manifest beside it; `items` saves hashing it."""
    tree = staging / TREE
    normalise(tree, epoch)
    items = scan(tree) if items is None else items
    content = content_digest(items)
    manifest = {
        "format": FORMAT,
        "digest": digest,
        "content": content,
        "size": sum(item.size for item in items),
        "created": time.time(),
        "boot": boot,
        "items": items,
        "stats": fingerprints(tree, items),
        **facts,
    }
    (staging / MANIFEST).write_bytes(dump(manifest))
    return Laid(path=tree, content=content, manifest=staging / MANIFEST)


def dump(manifest: Manifest) -> bytes:
    """Return a manifest as it is written."""
    return json.dumps(manifest, separators=(",", ":")).encode("ascii")
