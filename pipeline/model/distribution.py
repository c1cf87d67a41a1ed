"""Distributions: what packages are made for, and what is different about each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Format(Enum):
    """A package format, and the stage that makes it."""

    DEB = "deb"
    RPM = "rpm"


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
