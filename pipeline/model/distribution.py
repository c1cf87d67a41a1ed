"""Distributions: what packages are made for, and what is different about each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Self

from pipeline.model.version import Version


class Format(Enum):
    """A package format: the name of its stage, and the folders of packaging files that are for no other format."""

    DEB = "deb", ("apparmor", "deb")
    RPM = "rpm", ("rpm", "selinux")

    folders: tuple[str, ...]

    def __new__(cls, name: str, folders: tuple[str, ...]) -> Self:
        """Make the member whose value is `name`."""
        format_ = object.__new__(cls)
        format_._value_, format_.folders = name, folders
        return format_

    @property
    def others(self) -> tuple[str, ...]:
        """The folders that are for other formats alone."""
        return tuple(folder for each in Format if each is not self for folder in each.folders)

    def version(self, version: Version) -> str:
        """Return `version` as the format writes it: the property of `Version` that is called like the format."""
        return str(getattr(version, self.value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """One release of a distribution.

    `suffix` is what its packages add to their revision: it tells apart packages of one version for two releases and
    makes an upgrade of the distribution an upgrade of the package. `suite` is what a Debian changelog calls it.
    `python` is the interpreter of the system itself, which is there on every installation. `image` is the name in
    `packaging/images.toml` of the environment that packages for it are made in.
    """

    name: str
    title: str
    format: Format
    suite: str
    suffix: str
    python: str
    image: str


DISTRIBUTIONS = {
    distribution.name: distribution
    for distribution in (
        Distribution(
            name="ubuntu22.04",
            title="Ubuntu 22.04",
            format=Format.DEB,
            suite="jammy",
            suffix="~ubuntu22.04.1",
            python="/usr/bin/python3",
            image="deb-ubuntu22.04",
        ),
        Distribution(
            name="ol8",
            title="Oracle Linux 8",
            format=Format.RPM,
            suite="el8",
            suffix=".el8",
            python="/usr/libexec/platform-python",
            image="rpm-ol8",
        ),
        Distribution(
            name="ol9",
            title="Oracle Linux 9",
            format=Format.RPM,
            suite="el9",
            suffix=".el9",
            python="/usr/bin/python3",
            image="rpm-ol9",
        ),
    )
}
"""Every distribution that packages are made for, by its name."""
