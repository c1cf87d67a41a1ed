"""Sources: which tree is built, where it came from, and how sure that is."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.errors import SourceError
from pipeline.model.tree import BASE_EPOCH, Given

GIVEN_NAME = "source"
"""The name under which an engine receives the source's directory."""

GO_FIPS_FLOOR = "1.24"
"""The first Go whose standard library has the FIPS 140-3 module (GOFIPS140)."""

_DIRECTIVE = re.compile(
    r"^go[ \t]+(?P<version>[0-9]+(?:\.[0-9]+)+(?:(?:rc|beta)[0-9]+)?)[ \t]*(?://.*)?\r?$", re.MULTILINE
)
_TOOLCHAIN = re.compile(r"^toolchain[ \t]+go(?P<version>[0-9]+(?:\.[0-9]+)+(?:(?:rc|beta)[0-9]+)?)", re.MULTILINE)
_MODULE = re.compile(r"^module[ \t]+\"?(?P<path>[^\s\"]+)\"?", re.MULTILINE)
_GO_VERSION = re.compile(r"(?:go)?(?P<numbers>[0-9]+(?:\.[0-9]+)*)(?P<pre>(?:rc|beta)[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The source of one release, the same value on every machine that has the same tree.

    `revision` is the git commit in full, empty when nobody knows it. `ref` is the git tag, empty when none was
    used. `identity` is `git-tree:<sha1>`: the name that git gives to exactly these files, also when they came from
    a plain directory. `epoch` is the commit's time in seconds since 1970. `url` carries no credentials.
    `verified` is whether the files were proved to be those of `revision`, rather than said to be. `go_directive` and
    `go_toolchain` are the versions in the `go` and `toolchain` lines of go.mod; the second is empty without that line.
    """

    identity: str
    revision: str = ""
    ref: str = ""
    epoch: int = BASE_EPOCH
    url: str = ""
    module: str = ""
    go_directive: str = ""
    go_toolchain: str = ""
    vendored: bool = False
    verified: bool = False
    snapshot: bool = False
    dirty: bool = False

    @property
    def commit(self) -> str:
        """What is stamped into the binary: the commit, marked when the files differ from it, else the tree."""
        if not self.revision:
            return f"tree-{self.identity.partition(':')[2][:12]}"
        return f"{self.revision}-dirty" if self.dirty else self.revision

    @property
    def tree(self) -> Given:
        """The source's files."""
        return Given(GIVEN_NAME, self.identity)


def go_directive(go_mod: str) -> str:
    """Return the version in the `go` line of a `go.mod`; `1.16` when there is none (Go Modules Reference)."""
    match = _DIRECTIVE.search(go_mod)
    return match["version"] if match else "1.16"


def go_toolchain(go_mod: str) -> str:
    """Return the version in the `toolchain` line of a `go.mod`, or an empty string (Go Toolchains, "Configuration").

    `toolchain default` names none, and what follows a version, as in `go1.24.1-custom`, is not looked at.
    """
    match = _TOOLCHAIN.search(go_mod)
    return match["version"] if match else ""


def go_module(go_mod: str) -> str:
    """Return the module path of a `go.mod`, or an empty string."""
    match = _MODULE.search(go_mod)
    return match["path"] if match else ""


def go_order(version: str) -> tuple[int, int, int, int, int]:
    """Return a sort key for a Go version such as `1.26rc1`, `1.22.0` or `go1.24`.

    `1.26` comes before its candidates and those before `1.26.0`, as the Go command has it since 1.21. Raises
    SourceError for a malformed Go version.
    """
    match = _GO_VERSION.fullmatch(version)
    if match is None:
        raise SourceError(f"{version!r} is not a Go version", resolution="write it as 1.24 or 1.24.9")
    numbers = [int(number) for number in match["numbers"].split(".")][:3]
    major, minor = (*numbers, 0)[:2]
    if match["pre"]:
        kind = 0 if match["pre"].startswith("beta") else 1
        return (major, minor, -1, kind, int(match["pre"].lstrip("betarc")))
    if len(numbers) < 3:
        return (major, minor, -2 if (major, minor) >= (1, 21) else 0, 0, 0)
    return (major, minor, numbers[2], 0, 0)


def go_floor(directive: str, *, native_fips: bool = False) -> str:
    """Return the lowest Go version that builds the source; Go's own FIPS module needs 1.24 whatever the source says."""
    return max(directive, GO_FIPS_FLOOR, key=go_order) if native_fips else directive


def check_go(toolchain: str, directive: str, *, native_fips: bool = False) -> None:
    """Raise SourceError unless the Go version `toolchain` can build the source."""
    floor = go_floor(directive, native_fips=native_fips)
    if go_order(toolchain) >= go_order(floor):
        return
    if floor == directive:
        raise SourceError(
            f"go.mod needs Go {floor} or newer, and the toolchain of this release is Go {toolchain}",
            resolution="run `pipeline toolchains lock`, or correct build.toolchains in the product's product.toml",
        )
    raise SourceError(
        f"Go's own FIPS module needs Go {floor} or newer, and this source is compiled by Go {toolchain}",
        details=f"  go.mod says: go {directive}",
        resolution="use BoringCrypto (--fips-module boringcrypto), which works for this source, or release a newer tag",
    )
