"""What a publisher is: a place where finished releases go, and what it tells of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What publishing a release changes at its place: names of files, sorted. Nothing once it is there."""

    put: tuple[str, ...] = ()
    """New, or different from what is there."""
    keep: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.put or self.remove)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was published: `where` is a path or a URL that a person can open, `changes` what had to be done for it."""

    where: str
    changes: Changes

    def __str__(self) -> str:
        put, kept, removed = (len(names) for names in (self.changes.put, self.changes.keep, self.changes.remove))
        return f"{self.where}: {put} files put, {kept} kept, {removed} removed"


class Publisher(Protocol):
    """A place for finished releases. `name` is a version as files have it, such as 1.2.3.

    A finished release is a folder that says everything of itself in its `release.json`. Every method raises
    PublishError.
    """

    async def check(self, name: str) -> None:
        """Say before the build, without changing anything, why a release could not be published here."""
        ...

    async def plan(self, release: Path, name: str) -> Changes:
        """Return what `publish` would do, without doing it."""
        ...

    async def publish(self, release: Path, name: str) -> Receipt:
        """Put the files of `release` here, as `name`.

        Readers never see part of a release as if it were whole. Once a release is there, publishing it again changes
        nothing; after a failure, it completes what is missing.
        """
        ...
