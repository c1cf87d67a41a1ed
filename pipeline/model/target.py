"""Targets: what a binary is built for, and what each packaging world calls that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PLATFORM = "linux/amd64"
"""The platform that steps run on."""


@dataclass(frozen=True, slots=True)
class Target:
    """An operating system and an architecture, as Go names them."""

    os: Literal["linux"]
    arch: Literal["amd64", "arm64"]

    def __str__(self) -> str:
        return f"{self.os}/{self.arch}"

    @property
    def deb_arch(self) -> str:
        """The architecture of a Debian package."""
        return self.arch

    @property
    def rpm_arch(self) -> str:
        """The architecture of an RPM, which is also what `uname -m` prints."""
        return _RPM[self.arch]

    @property
    def systemd_arch(self) -> str:
        """The architecture in systemd's `ConditionArchitecture=` and `extension-release` files."""
        return _SYSTEMD[self.arch]


_RPM = {"amd64": "x86_64", "arm64": "aarch64"}
_SYSTEMD = {"amd64": "x86-64", "arm64": "arm64"}

TARGETS = {str(target): target for target in (Target("linux", "amd64"), Target("linux", "arm64"))}
"""Every target there is, by its name."""
