"""Where an image comes from in this run: images.toml, the chosen mode, and what the person asked for instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TypeAlias

from pipeline.config.images import ImageSpecs
from pipeline.errors import UsageError
from pipeline.images.lock import Lock
from pipeline.oci.reference import Reference

DISTRIBUTION = "distribution"
"""The override that makes an image from its distribution's archive."""

EVERY = "*"
"""The name of the override that moves all references to a mirror."""


class Mode(Enum):
    """Which of its two origins an image has unless it is overridden."""

    BOOTSTRAP = "bootstrap"
    REFERENCE = "reference"


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """The root `root` of images.toml with its tools laid over it; with `distribution`, that of the image `root`."""

    root: str
    distribution: bool = False


@dataclass(frozen=True, slots=True)
class Pulled:
    """An image of a registry. `locked` is the digest that images.lock has for `reference`; empty when it has none."""

    reference: Reference
    locked: str = ""

    @property
    def pinned(self) -> Reference:
        """The reference with the digest that is known before a registry is asked, if there is one."""
        return self.reference.at(self.locked) if self.locked else self.reference


@dataclass(frozen=True, slots=True)
class Archived:
    """An OCI archive (a tar file) or an OCI layout (a folder) on disk, used as it is."""

    path: Path


@dataclass(frozen=True, slots=True)
class Folder:
    """An unpacked root file system on disk, used as it is."""

    path: Path


Origin: TypeAlias = Bootstrapped | Pulled | Archived | Folder


def distributions(specs: ImageSpecs) -> dict[str, str]:
    """Return the overrides that make every image from its distribution's archive that can be."""
    return {name: DISTRIBUTION for name, image in specs.images.items() if image.distribution}


def origins(specs: ImageSpecs, lock: Lock, overrides: Mapping[str, str], mode: Mode) -> dict[str, Origin]:
    """Return the origin of every image. Raises UsageError for an override of an image that does not exist."""
    unknown = sorted(set(overrides) - set(specs.images) - {EVERY})
    if unknown:
        raise UsageError(
            f"there is no image called {', '.join(unknown)} to replace",
            resolution=f"use one of: {', '.join(sorted(specs.images))}, or * for a mirror",
        )
    return {name: _origin(specs, lock, overrides, mode, name) for name in sorted(specs.images)}


def _origin(specs: ImageSpecs, lock: Lock, overrides: Mapping[str, str], mode: Mode, name: str) -> Origin:
    mirror = overrides.get(EVERY, "")
    spec = specs.images[name]
    given = overrides.get(name, "")
    kind, colon, rest = given.partition(":")
    if colon and kind in ("oci-archive", "oci"):
        return Archived(Path(rest).expanduser().absolute())
    if colon and kind == "root-dir":
        return Folder(Path(rest).expanduser().absolute())
    if given == DISTRIBUTION:
        if spec.distribution is None:
            raise UsageError(
                f"images.toml does not say from which archive {name} could be made",
                resolution=f"use --image {name}=bootstrap, or add a table [images.{name}.distribution]",
            )
        return Bootstrapped(name, distribution=True)
    if given == Mode.BOOTSTRAP.value:
        return Bootstrapped(spec.bootstrap.root)
    if given and given != Mode.REFERENCE.value:
        return _pulled(lock, given)
    if not given and mode is Mode.BOOTSTRAP:
        return Bootstrapped(spec.bootstrap.root)
    return _pulled(lock, spec.reference, mirror)


def _pulled(lock: Lock, text: str, mirror: str = "") -> Pulled:
    reference = Reference.parse(text)
    entry = lock.entry(text)
    place = reference.mirrored(mirror) if mirror else reference
    return Pulled(place, entry.digest if entry and not reference.digest else "")
