"""The words that the functions of the Dagger module take: each with its type and what Dagger shows about it."""

from enum import Enum
from typing import Annotated

import dagger
from dagger import Doc, enum_type

Tag = Annotated[str, Doc("The version, with or without v: v3.68, 4.44, v1.2.3-rc.1")]
ProductName = Annotated[str, Doc("A folder of packaging/products")]
Source = Annotated[
    dagger.Directory | None,
    Doc("A repository or a plain directory; without it, the product's own repository is cloned at the tag"),
]
Commit = Annotated[str, Doc("The commit that a directory without .git was made from; without it, that is a snapshot")]
Snapshot = Annotated[bool, Doc("Not for shipping: what a release refuses is only recorded")]
Targets = Annotated[list[str] | None, Doc("Only these targets, as in linux/arm64")]
Variants = Annotated[list[str] | None, Doc("Only these variants of the product")]
RequireOpensslFips = Annotated[bool, Doc("Fail unless an OpenSSL FIPS provider is there")]
PolicyFile = Annotated[dagger.File | None, Doc("The gate's policy (default: the product's policy.toml)")]
ScanDb = Annotated[
    dagger.Directory | None, Doc("Scanner databases: grype/ and trivy/ in it, instead of the vendors' feeds")
]
Advisories = Annotated[dagger.Directory | None, Doc("OSV advisories to make the scanner databases from")]
Legs = Annotated[list[dagger.Directory] | None, Doc("What `build` has made on other machines: those binaries are used")]
Images = Annotated[
    dagger.Directory | None, Doc("A folder of `pipeline images export`, for an engine that reaches no registry")
]
SigningKey = Annotated[
    dagger.Secret | None,
    Doc("OpenPGP private key, armored; without it, a key of this run signs and is forgotten: not for shipping"),
]
GoProxy = Annotated[str, Doc("Where steps with network get Go modules, as GOPROXY says it")]
SourceDateEpoch = Annotated[str, Doc("The time of a directory without .git, in seconds since 1970")]
Jobs = Annotated[int, Doc("Steps at once (default: one a core of the engine's machine)")]
Locked = Annotated[bool, Doc("Refuse what packaging/*.lock does not pin")]


@enum_type
class Fips(Enum):
    """The validated module that a FIPS binary uses."""

    BORINGCRYPTO = "BORINGCRYPTO"
    """BoringCrypto."""
    GO = "GO"
    """The Go Cryptographic Module, CMVP certificate 5247."""


FipsArgument = Annotated[Fips, Doc("The validated module that FIPS binaries use")]


@enum_type
class Drawing(Enum):
    """How a graph is drawn."""

    MERMAID = "MERMAID"
    """Mermaid text."""
    SVG = "SVG"
    """One self-contained SVG document."""
