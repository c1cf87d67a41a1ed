"""Not a program: the documents of a scan, which its programs hand to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Optional

from pipeline.programs.document import Sha256


@dataclass(frozen=True)
class VulnerabilityDatabase:
    """A database of vulnerabilities."""

    built: str
    """RFC 3339; empty when it is not known"""


@dataclass(frozen=True)
class Govulncheck:
    """govulncheck as it ran."""

    name: str
    version: str
    """Empty where it does not tell"""
    go: str
    """The version of Go that it took the source for"""
    database: VulnerabilityDatabase


@dataclass(frozen=True)
class ModuleFinding:
    """One vulnerability in one version of a module that a build needs."""

    ids: tuple[str, ...]
    module: str
    version: str
    fixed_in: str
    title: str
    url: str
    level: Literal["module", "package", "symbol"]
    """The build has no vulnerable package of the module; it has one, and no call path from `main` leads to the
    vulnerable code; a call path leads to it"""
    symbols: tuple[str, ...]
    """The vulnerable functions that are reached first"""


@dataclass(frozen=True)
class Reachability:
    """govulncheck.json: what can be called in a binary, or why nothing is known."""

    findings: tuple[ModuleFinding, ...]
    scanner: Optional[Govulncheck] = None
    failed: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError unless it is either a result or a failure."""
        if bool(self.failed) is bool(self.scanner):
            raise ValueError("it must have either `scanner` or `failed`")


@dataclass(frozen=True)
class ScannedBinary:
    """A binary that was scanned."""

    name: str
    target: str
    """Operating system and architecture, such as linux/amd64"""
    variant: str
    sha256: Sha256


@dataclass(frozen=True)
class Verdict:
    """verdict.json: whether the gate is open, and why not."""

    open: bool
    reasons: tuple[str, ...]
    """Why it is closed; none when it is open"""
    warnings: tuple[str, ...]
    gaps: tuple[str, ...]
    """What the scan does not prove: among the reasons of a release, among the warnings of a snapshot"""
    product: str
    version: str
    snapshot: bool
    """Not to be shipped"""
    artifacts: tuple[ScannedBinary, ...]
    schema: Literal["urn:release-pipeline:verdict:v1"] = "urn:release-pipeline:verdict:v1"

    def __post_init__(self) -> None:
        """Raise ValueError for an open gate with reasons against it, and for a closed one without."""
        if self.open is bool(self.reasons):
            raise ValueError("the gate must be open if and only if there are no reasons against it")


@dataclass(frozen=True)
class Approved:
    """A binary that the gate let through."""

    name: str
    sha256: Sha256


@dataclass(frozen=True)
class Approval:
    """approval.json: what the gate let through. Nothing in it varies with the date."""

    approved: tuple[Approved, ...]
    schema: Literal["urn:release-pipeline:approval:v1"] = "urn:release-pipeline:approval:v1"
