"""`packaging/toolchains.lock`: which patch of each minor version of Go compiles releases, and its checksum."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from pipeline.config.images import GoVersion, Sum
from pipeline.config.toml import Document, parse_document, read_document
from pipeline.config.toolchain import OLDEST, Toolchain, Wanted, minor_of
from pipeline.errors import ConfigError, ImageError
from pipeline.host.disk import write_whole
from pipeline.images.tools import ENVIRONMENT, program
from pipeline.model.image import Image
from pipeline.model.source import go_order
from pipeline.model.step import Caching, Step
from pipeline.programs import closure
from pipeline.programs.document import plain
from pipeline.programs.toolchain.go_versions import FoundToolchains, Parameters

LOCK = "toolchains.lock"
FOUND = "toolchains.json"
PLATFORM = "linux-amd64"

_HEADER = """\
# Written by `pipeline toolchains lock`; do not edit. The newest patch of each minor version of Go that the module
# mirror had then, with the sum of golang.org/toolchain v0.0.1-go<version>.linux-amd64 in the checksum database.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """One toolchain: its version, such as `1.22.12`, and its `h1:` sum."""

    version: str
    sum: str


@dataclass(frozen=True, slots=True)
class ToolchainLock:
    """All pinned toolchains, at most one of each minor version, oldest first."""

    entries: tuple[Pinned, ...] = ()

    def find(self, version: str) -> Pinned | None:
        """Return the toolchain of a minor version such as `1.22`, or the one with the version `1.22.12`."""
        return next((entry for entry in self.entries if version in {entry.version, minor_of(entry.version)}), None)

    def toolchain(self, wanted: Wanted) -> Toolchain | None:
        """Return the toolchain that `wanted` means, None when neither the product nor the lock says its sum."""
        if wanted.sum:
            return Toolchain(version=wanted.version, sum=wanted.sum, reason=wanted.reason)
        entry = self.find(wanted.version)
        if entry is None:
            return None
        reason = f"{wanted.reason}; {LOCK} has {entry.version}" if wanted.is_minor else wanted.reason
        return Toolchain(version=entry.version, sum=entry.sum, reason=reason)

    def to_toml(self) -> str:
        """Return the text of the file."""
        tables = [
            f"[[toolchain]]\nversion = {json.dumps(entry.version)}\nsum = {json.dumps(entry.sum)}\n"
            for entry in self.entries
        ]
        return "\n".join([_HEADER, *tables])


def lock_of(entries: Iterable[Pinned]) -> ToolchainLock:
    """Return the lock with `entries` in their order. Raises ConfigError for two of one minor version."""
    ordered = tuple(sorted(entries, key=lambda entry: go_order(entry.version)))
    minors = [minor_of(entry.version) for entry in ordered]
    twice = sorted({minor for minor in minors if minors.count(minor) > 1})
    if twice:
        raise ConfigError(
            f"{LOCK} has more than one toolchain of Go {', '.join(twice)}",
            resolution="restore it from git, or run `pipeline toolchains lock` again",
        )
    return ToolchainLock(ordered)


class _Entry(Document):
    version: GoVersion
    sum: Sum


class _Entries(Document):
    toolchain: tuple[_Entry, ...] = Field(default=())


def load_toolchains(path: Path) -> ToolchainLock:
    """Read a toolchains.lock; a missing file is an empty lock. Raises ConfigError for one that is damaged."""
    if not path.exists():
        return ToolchainLock()
    try:
        document = parse_document(_Entries, read_document(path), where=str(path))
    except ConfigError as error:
        error.resolution = "restore it from git, or run `pipeline toolchains lock` again"
        raise
    return lock_of(Pinned(**entry.model_dump()) for entry in document.toolchain)


def save_toolchains(path: Path, lock: ToolchainLock) -> None:
    """Write `lock` to `path`, whole or not at all."""
    write_whole(path, lock.to_toml().encode())


def look_up(
    image: Image, *, version: str = "", known: ToolchainLock | None = None, caching: Caching = Caching.DAILY
) -> Step:
    """Return the step that asks the module mirror: `toolchains.json` has the toolchain that `version` means.

    Without `version`, the newest patch of every minor version from OLDEST on. What `known` has is not downloaded again.
    The go command of `image` downloads the others, because it checks them against the checksum database. An answer is
    good for a day, unless `caching` asks for a new one.
    """
    held = {entry.version: entry.sum for entry in (known or ToolchainLock()).entries}
    asked = Parameters(wanted=version, oldest=OLDEST, platform=PLATFORM, known=held)
    return Step(
        title=f"look up Go {version}" if version else "look up the newest patch of each Go",
        image=image,
        argv=closure.argv("toolchain.go_versions"),
        inputs=(("program", program("toolchain.go_versions", **plain(asked))),),
        env=ENVIRONMENT,
        caching=caching,
        network=True,
        outputs=(FOUND,),
    )


def pinned(found: FoundToolchains) -> tuple[Pinned, ...]:
    """Return the toolchains that `look_up` has found, from its file."""
    return tuple(Pinned(version=entry.version, sum=entry.sum) for entry in found.toolchains)


def resolved(found: FoundToolchains, wanted: Wanted) -> Toolchain:
    """Return the toolchain that `look_up` has found for `wanted`."""
    (entry,) = pinned(found)
    reason = f"{wanted.reason}; it is not in {LOCK}, and the module mirror has {entry.version}"
    return Toolchain(version=entry.version, sum=entry.sum, reason=reason, locked=False)


async def decide(
    wanted: Wanted,
    lock: ToolchainLock,
    *,
    locked: bool,
    look: Callable[[str], Awaitable[FoundToolchains]],
    say: Callable[[str], None],
) -> Toolchain:
    """Return the toolchain that `wanted` means: the locked one, or with a warning the one that the mirror has.

    `look` carries out `look_up` for a version and returns its file. Raises ImageError when everything must be `locked`
    and this is not.
    """
    found = lock.toolchain(wanted)
    if found is not None:
        return found
    if locked:
        raise not_locked(wanted)
    toolchain = resolved(await look(wanted.version), wanted)
    say(f"warning: {toolchain}")
    return toolchain


def not_locked(wanted: Wanted) -> ImageError:
    """Return the error for a toolchain that would have to be looked up where everything must be locked."""
    return ImageError(
        f"{LOCK} has no Go {wanted.version}, and --locked forbids looking it up",
        details=f"  {wanted.reason}",
        resolution="run `pipeline toolchains lock` and commit packaging/toolchains.lock, or leave --locked out",
    )
