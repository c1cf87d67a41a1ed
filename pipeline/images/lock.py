"""`packaging/images.lock`: the digest that each reference of images.toml is pinned to.

The digest is that of the image index, or of the manifest where a registry has a single one. The manifest of a platform
follows from it, so one lock serves every platform (image-spec 1.1, image-index.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import Field, model_validator

from pipeline.config.toml import Document, parse_document, read_document
from pipeline.errors import ConfigError
from pipeline.host.disk import write_whole
from pipeline.oci.reference import Reference

_HEADER = """\
# Written by `pipeline images lock`. Each digest is that of the image index, or of the manifest where there is only one.
# `resolved` is when the registry was asked. `recorded` is where a digest comes from that was not checked against a
# registry yet; `pipeline images lock` replaces it on a machine that reaches the registry. An image that is missing here
# is resolved with a warning when it is used; `--locked` refuses it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """One pinned reference.

    `digest` is that of the index or of the single manifest. `resolved` is when a registry was asked (UTC, RFC 3339);
    it is empty for a digest that only was `recorded` somewhere: then that says where.
    """

    reference: str
    digest: str
    resolved: str = ""
    recorded: str = ""


@dataclass(frozen=True, slots=True)
class Staleness:
    """How a lock differs from images.toml and from what registries have today."""

    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    moved: tuple[tuple[str, str, str], ...] = ()
    """(reference, digest in the lock, digest in the registry)."""

    def __bool__(self) -> bool:
        return bool(self.missing or self.unused or self.moved)

    def __str__(self) -> str:
        lines = [f"{name}: not locked" for name in self.missing]
        lines += [f"{name}: no longer in images.toml" for name in self.unused]
        lines += [f"{name}: was {before}, is {now}" for name, before, now in self.moved]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Age:
    """A reference, what it is pinned to, and the digest that its registry has for it `now`."""

    reference: str
    locked: Locked | None
    now: str

    @property
    def outdated(self) -> bool:
        """Whether locking it again would change what is used."""
        return self.locked is None or self.locked.digest != self.now

    def __str__(self) -> str:
        if self.locked is None:
            return f"not locked; the registry has {self.now}"
        since = f"resolved {self.locked.resolved}" if self.locked.resolved else "recorded, never checked"
        if self.outdated:
            return f"moved: {self.locked.digest} ({since}) is now {self.now}"
        return f"up to date ({since})"


@dataclass(frozen=True, slots=True)
class Lock:
    """All resolved references, in full form and sorted."""

    entries: tuple[Locked, ...] = ()

    def digest(self, reference: str) -> str:
        """Return the digest that `reference` is pinned to, or an empty string when it is not locked.

        A reference that carries a digest of its own needs no lock.
        """
        parsed = Reference.parse(reference)
        if parsed.digest:
            return parsed.digest
        entry = self.entry(reference)
        return entry.digest if entry else ""

    def entry(self, reference: str) -> Locked | None:
        """Return what is known of `reference`, or None when it is not locked."""
        wanted = str(Reference.parse(reference))
        return next((entry for entry in self.entries if entry.reference == wanted), None)

    def ages(self, current: Mapping[str, str]) -> list[Age]:
        """Return how each reference compares with the digest that its registry has today, which is `current`."""
        return [Age(name, self.entry(name), digest) for name, digest in sorted(current.items())]

    def staleness(self, current: Mapping[str, str]) -> Staleness:
        """Compare the lock with the references of images.toml and the digests that registries have today."""
        known = {entry.reference: entry.digest for entry in self.entries}
        moved = [(name, known[name], now) for name, now in sorted(current.items()) if known.get(name, now) != now]
        missing, unused = current.keys() - known.keys(), known.keys() - current.keys()
        return Staleness(tuple(sorted(missing)), tuple(sorted(unused)), tuple(moved))

    def updated(self, current: Mapping[str, str], now: str) -> Lock:
        """Return the lock with the digests that registries have today and nothing else; `now` is the UTC time.

        An entry that did not move keeps its time, so that nothing changes where nothing changed.
        """
        before = {entry.reference: entry for entry in self.entries}
        entries = []
        for name, digest in sorted(current.items()):
            old = before.get(name)
            kept = old.resolved if old and old.resolved and old.digest == digest else now
            entries.append(Locked(reference=name, digest=digest, resolved=kept))
        return Lock(tuple(entries))

    def to_toml(self) -> str:
        """Return the text of the file."""
        parts = [_HEADER]
        for entry in self.entries:
            known = ((key, value) for key, value in asdict(entry).items() if value)
            lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in known]
            parts.append("\n".join(["[[image]]", *lines]) + "\n")
        return "\n".join(parts)


class _Entry(Document):
    reference: str
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    resolved: str = Field(default="", pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(Z|[+]00:00)$")
    recorded: str = Field(default="", pattern=r"^[^\x00-\x1f\x7f]+$")

    @model_validator(mode="after")
    def _has_one_origin(self) -> _Entry:
        if bool(self.resolved) == bool(self.recorded):
            raise ValueError("must have either `resolved` or `recorded`")
        return self


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
    return Lock(tuple(sorted(entries, key=lambda entry: entry.reference)))


def save_lock(path: Path, lock: Lock) -> None:
    """Write `lock` to `path`, whole or not at all."""
    write_whole(path, lock.to_toml().encode())
