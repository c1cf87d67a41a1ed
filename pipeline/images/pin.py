"""What an image of a registry is pinned to in this run: by its own digest, by images.lock, or by asking for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from pipeline.errors import ImageError
from pipeline.images.origin import Origin, Pulled
from pipeline.oci.reference import NoSuchImageError, Reference

Ask: TypeAlias = Callable[[Reference], Awaitable[str]]
"""Asks a registry what a reference means: the digest of an index or of a manifest.

Raises NoSuchImageError when the registry has no such image, and other errors when it cannot be asked.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A reference with its digest. `resolved` tells that the registry named the digest in this run."""

    reference: Reference
    resolved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A registry's answer about an image that a run would use; `problem` is empty when it can be used."""

    reference: Reference
    problem: str = ""
    note: str = ""


async def answers(origins: Iterable[Origin], ask: Ask) -> list[Answer]:
    """Return what registries answer about those of `origins` that are theirs, once for each reference."""
    found = []
    for origin in dict.fromkeys(each for each in origins if isinstance(each, Pulled)):
        pinned = origin.pinned
        note = "" if pinned.digest else "not pinned: images.lock has no digest for it"
        try:
            await ask(pinned)
            found.append(Answer(reference=pinned, note=note))
        except ImageError as error:
            problem = ": ".join(filter(None, (error.brief, " ".join(error.details.split()))))
            found.append(Answer(reference=pinned, problem=problem, note=note))
    return found


async def pin(origin: Pulled, ask: Ask, *, locked: bool, warn: Callable[[str], None]) -> Pin:
    """Return what `origin` is pinned to, and `warn` with one line when it had to be resolved.

    A reference with a digest of its own is taken as it is. Raises ImageError instead of resolving when `locked`.
    """
    name = origin.reference
    if name.digest:
        return Pin(reference=name)
    why = f"images.lock has no digest for {name}"
    if origin.locked:
        try:
            await ask(name.at(origin.locked))
            return Pin(reference=name.at(origin.locked))
        except NoSuchImageError:
            why = f"the registry no longer has {name.at(origin.locked)}, which images.lock names"
    if locked:
        raise ImageError(
            f"{why}, and --locked refuses an image that is not pinned",
            resolution="run `pipeline images lock` where the registry can be reached and commit packaging/images.lock, "
            f"or name the image with a digest: --image NAME={name}@sha256:…",
        )
    digest = await ask(name)
    warn(f"warning: {why}; it is resolved to {digest} for this run")
    return Pin(reference=name.at(digest), resolved=True)
