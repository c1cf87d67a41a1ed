"""Artifacts: the files of a release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Self

from pipeline.model.step import Step
from pipeline.model.tree import Output, Pick, Tree

JSON, TEXT, MARKDOWN = "application/json", "text/plain", "text/markdown"
SCANNED = True


class Kind(Enum):
    """What an artifact is to its reader: the word of `release.json`, then the media type of each ending of a name.

    Those with SCANNED say what scanners found, and so may differ once scanners know more.
    """

    BINARY = "binary", {"": "application/x-executable"}
    ARCHIVE = "archive", {".tar.gz": "application/gzip"}
    PACKAGE = "package", {".deb": "application/vnd.debian.binary-package", ".rpm": "application/x-rpm"}
    SOURCE_PACKAGE = "source-package", {".rpm": "application/x-rpm"}
    SBOM = "sbom", {".cdx.json": "application/vnd.cyclonedx+json", ".spdx.json": "application/spdx+json"}
    PROOF = "proof", {".json": JSON}
    NOTICE = "notice", {".txt": TEXT}
    SCAN_REPORT = "scan-report", {".json": JSON, ".sarif": "application/sarif+json", ".md": MARKDOWN}, SCANNED
    VEX = "vex", {".json": JSON}, SCANNED
    ATTESTATION = "attestation", {".intoto.json": "application/vnd.in-toto+json"}
    EXPOSURE = "exposure", {".json": JSON}
    REPORT = "report", {".json": JSON, ".txt": TEXT, ".md": MARKDOWN}  # of any stage, on nothing that has its own kind
    INDEX = "index", {".json": JSON}
    NOTES = "notes", {".md": MARKDOWN}, SCANNED

    media_types: Mapping[str, str]
    scanned: bool

    def __new__(cls, word: str, media_types: Mapping[str, str], scanned: bool = False) -> Self:
        """Make the member whose value is `word`."""
        kind = object.__new__(cls)
        kind._value_, kind.media_types, kind.scanned = word, media_types, scanned
        return kind

    def media_type(self, name: str) -> str:
        """Return the media type of the file `name` of this kind. Raises ValueError for another ending."""
        endings = [ending for ending in self.media_types if name.endswith(ending)]
        if not endings:
            raise ValueError(f"{name}: a name of the kind {self.value} ends with {' or '.join(self.media_types)}")
        return self.media_types[max(endings, key=len)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One file of a release: its name, what it is, and the tree that has it under that name at the top.

    `subject` is the name of the artifact that this one speaks about (an SBOM's binary), or empty.
    """

    name: str
    kind: Kind
    tree: Tree = field(repr=False)
    target: str = ""
    variant: str = ""
    subject: str = ""

    def __post_init__(self) -> None:
        self.kind.media_type(self.name)

    @property
    def media_type(self) -> str:
        """What the file is to a program, from its kind and the ending of its name."""
        return self.kind.media_type(self.name)

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
        return maker_of(self.tree)


def maker_of(tree: Tree) -> Step | None:
    """Return the step whose output `tree` is or is a part of, None for another tree."""
    while isinstance(tree, Pick):
        tree = tree.tree
    return tree.step if isinstance(tree, Output) else None
