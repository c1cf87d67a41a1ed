"""`packaging/images.lock`: which manifest each reference of images.toml meant when somebody last looked."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from pipeline.errors import ConfigError
from pipeline.images.reference import Reference
from pipeline.model.document import Document, parse_document, read_document

PLATFORM = "linux/amd64"

_HEADER = """\
# Written by `pipeline images lock`; do not edit. A reference that is not here was never resolved: its image can be
# bootstrapped, but not pulled, until that command has run on a machine that reaches the registry.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """One resolved reference. `digest` is that of the manifest for `platform`; `resolved` is a UTC time (RFC 3339)."""

    reference: str
    platform: str
    digest: str
    resolved: str


@dataclass(frozen=True, slots=True)
class Staleness:
    """How a lock differs from images.toml, and, where a registry was asked, from what it says today."""

    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    moved: tuple[tuple[str, str, str], ...] = ()
    """(reference, digest in the lock, digest in the registry)."""

    def __bool__(self) -> bool:
        return bool(self.missing or self.unused or self.moved)

    def __str__(self) -> str:
        lines = [f"{name}: never resolved" for name in self.missing]
        lines += [f"{name}: no longer in images.toml" for name in self.unused]
        lines += [f"{name}: was {before}, is {now}" for name, before, now in self.moved]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Lock:
    """All resolved references, in full form and sorted."""

    entries: tuple[Locked, ...] = ()

    def digest(self, reference: str, platform: str = PLATFORM) -> str:
        """Return the manifest digest of `reference`, or an empty string when it was never resolved.

        A reference that carries a digest of its own needs no lock.
        """
        parsed = Reference.parse(reference)
        if parsed.digest:
            return parsed.digest
        wanted = str(parsed)
        found = (entry.digest for entry in self.entries if (entry.reference, entry.platform) == (wanted, platform))
        return next(found, "")

    def staleness(self, references: Iterable[str], resolve: Callable[[Reference], str] | None = None) -> Staleness:
        """Compare the lock with `references` and, with `resolve`, with the registries. Raises what `resolve` does."""
        wanted = _full(references)
        known = {entry.reference: entry.digest for entry in self.entries}
        moved = []
        for name in sorted(wanted & known.keys()) if resolve else ():
            assert resolve is not None
            now = resolve(Reference.parse(name))
            if now != known[name]:
                moved.append((name, known[name], now))
        return Staleness(tuple(sorted(wanted - known.keys())), tuple(sorted(known.keys() - wanted)), tuple(moved))

    def updated(self, references: Iterable[str], resolve: Callable[[Reference], str], now: str) -> Lock:
        """Return the lock with every one of `references` resolved anew and nothing else in it.

        An entry that did not move keeps its time, so that nothing changes where nothing changed.
        """
        before = {entry.reference: entry for entry in self.entries}
        entries = []
        for name in sorted(_full(references)):
            digest = resolve(Reference.parse(name))
            old = before.get(name)
            kept = old.resolved if old and old.digest == digest else now
            entries.append(Locked(reference=name, platform=PLATFORM, digest=digest, resolved=kept))
        return Lock(tuple(entries))

    def to_toml(self) -> str:
        """Return the text of the file."""
        parts = [_HEADER]
        for entry in self.entries:
            fields = (("reference", entry.reference), ("platform", entry.platform), ("digest", entry.digest))
            lines = [f"{key} = {json.dumps(value)}" for key, value in (*fields, ("resolved", entry.resolved))]
            parts.append("\n".join(["[[image]]", *lines]) + "\n")
        return "\n".join(parts)


def _full(references: Iterable[str]) -> set[str]:
    """Return the references in full form, without those that carry a digest."""
    return {str(parsed) for parsed in map(Reference.parse, references) if not parsed.digest}


class _Entry(Document):
    reference: str
    platform: Literal["linux/amd64"]
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    resolved: str = Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(Z|[+]00:00)$")


class _Locks(Document):
    image: tuple[_Entry, ...] = ()


def load_lock(path: Path) -> Lock:
    """Read an images.lock; a missing file is an empty lock. Raises ConfigError for one that is damaged."""
    if not path.exists():
        return Lock()
    try:
        document = parse_document(_Locks, read_document(path), where=str(path))
    except ConfigError as error:
        error.resolution = "restore it from git, or run `pipeline images lock` again"
        raise
    entries = [Locked(**entry.model_dump()) for entry in document.image]
    return Lock(tuple(sorted(entries, key=lambda entry: (entry.reference, entry.platform))))


def save_lock(path: Path, lock: Lock) -> None:
    """Write `lock` to `path`, whole or not at all."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(lock.to_toml(), encoding="utf-8")
    aside.replace(path)
