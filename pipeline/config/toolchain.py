"""Toolchains: which Go compiles a release, and why. The source decides unless the product does."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config.product import Product
from pipeline.model.source import Source, go_order
from pipeline.model.version import Version

OLDEST = "1.21"
"""The first Go with all that the build uses: `go -C` before the name of the command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The toolchain that a release asks for: a minor version such as `1.22`, or one patch such as `1.22.5`.

    `sum` is the `h1:` sum of that patch when the product says it. `reason` is for people.
    """

    version: str
    reason: str
    sum: str = ""

    @property
    def is_minor(self) -> bool:
        """Whether the patch is still to be chosen."""
        return self.version.count(".") == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """The toolchain that compiles one release.

    `sum` is the `h1:` sum of the module `golang.org/toolchain` for linux-amd64. `locked` is whether version and sum
    were known before this run; otherwise they are what the module mirror had on that day.
    """

    version: str
    sum: str
    reason: str
    locked: bool = True

    def __str__(self) -> str:
        return f"Go {self.version}: {self.reason}"


def wanted(product: Product, version: Version, source: Source) -> Wanted:
    """Return the toolchain that `source` asks for, or the one that the product names for this version."""
    override = product.toolchain(version)
    if override is not None:
        which = f" for {override.versions}" if override.versions else ""
        return Wanted(version=override.value, sum=override.sum, reason=f"product.toml names {override.value}{which}")
    named, line = source.go_directive, f"go {source.go_directive}"
    if source.go_toolchain and go_order(source.go_toolchain) > go_order(named):
        named, line = source.go_toolchain, f"toolchain go{source.go_toolchain}"
    minor = minor_of(named)
    if go_order(minor) < go_order(OLDEST):
        return Wanted(version=OLDEST, reason=f"go.mod says `{line}`; Go {OLDEST} is the oldest that is used")
    return Wanted(version=minor, reason=f"go.mod says `{line}`")


def minor_of(version: str) -> str:
    """Return the minor version of a Go version: `1.26` of `1.26.8`, `1.26rc1` and `1.26`. Raises SourceError."""
    major, minor, *_ = go_order(version)
    return f"{major}.{minor}"
