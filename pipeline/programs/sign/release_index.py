"""Not a program: `release.json`, the index of a release. Its schema is committed in packaging/schemas/release-pipeline.

A class says in its docstring what it is, and below each field what that means: the schema has both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Optional

from pipeline.programs.document import Count, Sha256, Text
from pipeline.programs.scan.scan_documents import Approval

NAME = r"[A-Za-z0-9][A-Za-z0-9._+~-]*"
Name = Annotated[str, Text(NAME)]


@dataclass(frozen=True)
class AboutProduct:
    """What was released."""

    name: str
    title: str = ""
    license: str = ""


@dataclass(frozen=True)
class AboutSource:
    """What it was made from. A field is empty where nothing is known, as of a folder that is not a repository."""

    url: str
    ref: str
    commit: str
    tree: str
    """The identity of the files, such as `git-tree:` with the id of git's tree object"""
    epoch: Count
    """SOURCE_DATE_EPOCH, seconds since 1970"""
    verified: bool
    """The files were proved to be those of the commit"""
    dirty: bool
    """The files differ from those of the commit"""


@dataclass(frozen=True)
class AboutToolchain:
    """What compiled the release."""

    name: Literal["go"]
    version: str
    sum: str
    """The `h1:` sum of its module for linux-amd64"""
    reason: str
    """Why this one, for people"""
    locked: bool
    """A lock file or the product pins it; otherwise another day may have given another one"""


@dataclass(frozen=True)
class Layer:
    """A tool that was laid over an image."""

    mount: str
    step: str
    """The digest of the step that made it"""


@dataclass(frozen=True)
class AboutImage:
    """An image that steps of the release ran in."""

    name: str
    digest: str
    base: str
    """The name of its root file system"""
    content: str
    """The digest of that root: of an OCI manifest, or of its files"""
    reference: str
    """What was pulled; empty for a root that was made from packages"""
    resolved: bool
    """No lock file pins it: a registry named its digest on that day"""
    stands_in_for: str
    """The image that it was used in place of; empty for none"""
    layers: tuple[Layer, ...]
    made_from: str = ""
    """The distribution whose own archive the root was made from"""
    packages: tuple[str, ...] = ()
    """Its packages with their versions"""


@dataclass(frozen=True)
class AboutKey:
    """The key that signs. One that was made for this run has no fingerprint here."""

    development: bool
    """It is not for shipping"""
    fingerprint: str = ""


@dataclass(frozen=True)
class DatedStatement:
    """A signed statement, which has a day: part of the release, but not the same on every day."""

    name: Name
    subject: str
    """The artifact that it speaks about"""


@dataclass(frozen=True)
class Described:
    """What the stages know of an artifact."""

    name: str
    kind: str
    """A word of `pipeline.model.artifact.Kind`."""
    media_type: str
    target: str = ""
    variant: str = ""
    subject: str = ""
    step: str = ""
    step_title: str = ""
    optional: bool = False
    """A release may lack it; then it is not listed."""


@dataclass(frozen=True)
class Listed:
    """An artifact of the release."""

    name: Name
    kind: str
    """binary, archive, package, source-package, sbom, proof, notice, scan-report, vex, exposure, report, notes"""
    media_type: str
    size: Count
    """Bytes"""
    sha256: Sha256
    target: str = ""
    """Operating system and architecture, such as linux/amd64"""
    variant: str = ""
    subject: str = ""
    """The artifact that this one speaks about"""
    step: str = ""
    """The digest of the step that made it"""
    step_title: str = ""


@dataclass(frozen=True)
class ReleaseIndex:
    """release.json: every artifact of a release, and what it was made from."""

    product: AboutProduct
    version: str
    snapshot: bool
    """Not to be shipped"""
    source: AboutSource
    artifacts: tuple[Listed, ...]
    """Sorted by name; all but release.json, checksums, signatures and what `statements` names"""
    toolchain: Optional[AboutToolchain] = None
    images: tuple[AboutImage, ...] = ()
    signing: Optional[AboutKey] = None
    statements: tuple[DatedStatement, ...] = ()
    approval: Optional[Approval] = None
    schema: Literal["urn:release-pipeline:release:v1"] = "urn:release-pipeline:release:v1"
