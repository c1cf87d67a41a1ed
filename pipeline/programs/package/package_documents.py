"""Not a program: the documents about packages, which the programs of this room write and others read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Entry:
    """A file of a package; `mode` is octal. A regular file has `size` in bytes and digests, a symbolic link `link`."""

    path: str
    mode: str
    size: int = 0
    sha1: str = ""
    sha256: str = ""
    link: str = ""


@dataclass(frozen=True)
class Contents:
    """contents.json: what a package is, what it needs, and every file of it but folders.

    `sha256` is that of the package. Of an RPM it is empty: a release signs it in its header, and that makes another
    file of it.
    """

    name: str
    version: str
    arch: str
    purl: str
    sha256: str
    requires: tuple[str, ...]
    files: tuple[Entry, ...]

    @property
    def regular(self) -> dict[str, Entry]:
        """The regular files by their paths."""
        return {entry.path: entry for entry in self.files if entry.sha256}


@dataclass(frozen=True)
class Exposed:
    """One thing that adds to the exposure of a service, with why."""

    directive: str
    exposure: float
    why: str


@dataclass(frozen=True)
class Service:
    """A service: its exposure (0 is best, 10 is worst), what adds to it, worst first, and the packages with it."""

    unit: str
    exposure: float
    """0 is best, 10 is worst"""
    verdict: Literal["accepted", "over the limit"]
    packages: tuple[str, ...]
    """Distribution and variant of each package with it"""
    exposed: tuple[Exposed, ...]
    """What adds to the exposure, worst first; systemd rounds each up to a tenth"""


@dataclass(frozen=True)
class Exposure:
    """exposure.json: every service of the packages, as the systemd of that version computes it; `limit` is allowed."""

    systemd: str
    """The version of systemd-analyze"""
    limit: float
    """The highest exposure that the product allows"""
    units: tuple[Service, ...]
    """Sorted by unit; a unit whose content is not the same in all packages is there once for each content"""
    schema: Literal["urn:release-pipeline:exposure:v1"] = "urn:release-pipeline:exposure:v1"
