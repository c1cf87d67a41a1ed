"""Not a program: the documents of a scan, which its programs hand to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.programs.document import Sha256


@dataclass(frozen=True)
class JudgedBinary:
    """A binary that was judged."""

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
    artifacts: tuple[JudgedBinary, ...]
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
