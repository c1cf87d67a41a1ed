"""Not a program: the documents about a binary, which the programs of this room write and others read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Optional

from pipeline.programs.document import Count, Sha256


class FipsModule(Enum):
    """The validated module that a FIPS binary uses."""

    BORINGCRYPTO = "boringcrypto"
    GO = "go"


@dataclass(frozen=True)
class BuildInfo:
    """Go's build information, as the go command prints it: the toolchain, the main package's path, the settings.

    `toolchain` has the experiments after it: `go1.26.11 X:boringcrypto`, or a hyphen before `X:`, as Go 1.26 has it.
    """

    toolchain: str
    path: str
    settings: dict[str, str]


@dataclass(frozen=True)
class Algorithm:
    """One algorithm: whether the FIPS module computes it, and how the module refuses it, empty where it does not."""

    in_module: bool
    refuses: str
    """How the module refuses it; empty where it does not"""


@dataclass(frozen=True)
class Probe:
    """probe.json: what a FIPS module does and refuses. `version` is empty of a module that does not tell it."""

    module: FipsModule
    version: str
    emulated: bool
    algorithms: dict[str, Algorithm]


@dataclass(frozen=True)
class ProvedModule:
    """The FIPS module of a binary; `outside` are its packages with algorithms that are not part of the module.

    `certificate` is the CMVP certificate of the module as Go's sources name it, empty when they name none.
    """

    module: FipsModule
    certificate: str
    """Empty when Go's sources name none"""
    outside: tuple[str, ...]
    """Packages of the binary with algorithms that are not part of the module"""
    probe: Optional[Probe] = None
    """What the module does and refuses, in a program compiled like the binary"""


@dataclass(frozen=True)
class Subject:
    """The binary: `size` in bytes."""

    name: str
    sha256: Sha256
    size: Count


@dataclass(frozen=True)
class Linking:
    """What a binary is linked with: its interpreter (PT_INTERP), and its libraries (DT_NEEDED)."""

    interpreter: Optional[str]
    needed: tuple[str, ...]


@dataclass(frozen=True)
class BinaryRun:
    """What a binary printed; `emulated` when it ran under qemu-user."""

    arguments: tuple[str, ...]
    output: str
    emulated: bool
    """Run under qemu-user"""
    self_tests: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A claim, with where it was seen. It holds when what was expected was found."""

    claim: str
    expected: Any
    found: Any
    evidence: str
    """Where it was seen"""
    holds: bool


@dataclass(frozen=True)
class BinaryProof:
    """<binary>.proof.json: what a binary is, with the evidence for each claim. `fips` is null without a module."""

    subject: Subject
    target: str
    variant: str
    fips: Optional[ProvedModule]
    build: BuildInfo
    linking: Linking
    run: BinaryRun
    claims: tuple[Claim, ...]
    schema: Literal["urn:release-pipeline:binary-proof:v1"] = "urn:release-pipeline:binary-proof:v1"


Activation = Literal["configuration", "by itself", "fipsinstall"]


@dataclass(frozen=True)
class Provider:
    """An OpenSSL provider, as `openssl list -providers -verbose` tells it."""

    name: str = ""
    version: str = ""
    status: str = ""


@dataclass(frozen=True)
class ProviderFile:
    """The file with a provider."""

    file: str
    sha256: Sha256


@dataclass(frozen=True)
class OpensslFips:
    """openssl-fips.json: the FIPS provider of OpenSSL, how it was activated, and the self-tests that it passed."""

    openssl: str
    provider: Provider
    module: Optional[ProviderFile]
    activated: Activation
    self_tests: tuple[str, ...]
    schema: Literal["urn:release-pipeline:openssl-fips:v1"] = "urn:release-pipeline:openssl-fips:v1"
