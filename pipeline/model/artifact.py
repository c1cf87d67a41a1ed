"""Artifacts: the files of a release."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from pipeline.model.step import Step
from pipeline.model.tree import Output, Pick, Tree


class Kind(Enum):
    """What an artifact is to its reader. The words of `release.json`."""

    BINARY = "binary"
    ARCHIVE = "archive"
    PACKAGE = "package"
    SOURCE_PACKAGE = "source-package"
    IMAGE = "image"
    SBOM = "sbom"
    PROOF = "proof"
    SCAN_REPORT = "scan-report"
    VEX = "vex"
    ATTESTATION = "attestation"
    NOTICE = "notice"
    EXPOSURE = "exposure"
    INDEX = "index"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One file of a release: its name, what it is, and the tree that has it under that name at the top.

    `subject` is the name of the artifact that this one speaks about (an SBOM's binary), or empty.
    """

    name: str
    kind: Kind
    media_type: str
    tree: Tree = field(repr=False)
    target: str = ""
    variant: str = ""
    subject: str = ""

    @property
    def label(self) -> str:
        """What the file is for, in short: `linux-arm64 fips`."""
        return f"{self.target.replace('/', '-')} {self.variant}".strip()

    @property
    def optional(self) -> bool:
        """Whether a release may lack the file, because its step had nothing to say in it."""
        return isinstance(self.tree, Pick) and self.name in self.tree.optional

    @property
    def made_by(self) -> Step | None:
        """The step that makes the file, or None for one that was given."""
        tree = self.tree
        while isinstance(tree, Pick):
            tree = tree.tree
        return tree.step if isinstance(tree, Output) else None
