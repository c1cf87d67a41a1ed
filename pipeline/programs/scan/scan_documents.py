"""Not a program: the documents of a scan, which its programs hand to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.programs.document import Sha256


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
