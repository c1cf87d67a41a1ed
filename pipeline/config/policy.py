"""The policy of a product: which findings close the gate, which are accepted and until when."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, field_validator, model_validator

from pipeline.config.build import Line
from pipeline.config.toml import Document, parse_document, read_document
from pipeline.config.vex import OpenVex, entries, load_vex
from pipeline.model.target import TARGETS

FILE_NAME = "policy.toml"


class Severity(Enum):
    """How bad a finding is, in the words that both scanners share."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    NEGLIGIBLE = "negligible"
    UNKNOWN = "unknown"


NEVER_IGNORED = frozenset({Severity.CRITICAL})
"""Severities that close the gate whatever an entry says."""

Justification = Literal[
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
]
"""Why a product is not affected (OpenVEX specification 0.2.0, status justifications)."""

SeverityField = Annotated[Severity, Field(strict=False)]
Days = Annotated[int, Field(ge=1, le=36500)]


class Gate(Document):
    """What closes the gate."""

    severities: tuple[SeverityField, ...] = (Severity.CRITICAL, Severity.HIGH)
    only_fixable: bool = False
    """Let a finding pass for which no fixed version exists. Never for a critical one."""
    unreachable: Literal["accept", "refuse"] = "refuse"
    """What to do with a finding that govulncheck finds unreachable. A critical one is always refused."""

    @field_validator("severities")
    @classmethod
    def _always_critical(cls, severities: tuple[Severity, ...]) -> tuple[Severity, ...]:
        if not set(severities) >= NEVER_IGNORED:
            raise ValueError('"critical" cannot be left out: a critical finding always closes the gate')
        return severities


class MaxAge(Document):
    """How old a scanner's database may be, in days, before it proves nothing."""

    grype: Days = 5
    trivy: Days = 5
    govulncheck: Days = 30
    """Its database has the date of its newest entry, and does not change on most days."""


class Ignore(Document):
    """One accepted finding: who accepted it, why, and until when."""

    id: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]*(-[A-Za-z0-9.]+)+$")]
    """CVE-..., GHSA-..., GO-... or another database's own."""
    package: Annotated[str, Field(pattern=r"^[A-Za-z0-9@][A-Za-z0-9@._/+~-]*$")]
    """The name of the package as the scanners write it: a Go module's path, or `stdlib`."""
    reason: Line
    owner: Line
    expires: dt.date
    """The last day on which the entry counts."""
    variants: tuple[str, ...] = ()
    """The variants it is accepted in; none named means all."""
    targets: tuple[str, ...] = ()
    justification: Justification | None = None

    @field_validator("targets")
    @classmethod
    def _known_targets(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in targets if name not in TARGETS]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not a target. Allowed: {', '.join(TARGETS)}")
        return targets


class Vex(Document):
    """A VEX document of somebody else that is believed: who answers for that, and until when."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._/-]*$")]
    """OpenVEX 0.2.0; a path beside the policy's file."""
    owner: Line
    expires: dt.date
    """The last day on which it counts."""

    @field_validator("file")
    @classmethod
    def _beside(cls, file: str) -> str:
        if ".." in file.split("/"):
            raise ValueError(f"{file!r} leads out of the policy's folder")
        return file


class Licenses(Document):
    """Which licenses the dependencies may have, by SPDX identifier."""

    allow: tuple[Line, ...] = ()
    """When not empty, every other license is refused."""
    deny: tuple[Line, ...] = ()
    unknown: Literal["accept", "refuse"] = "accept"
    """What to do with a dependency whose license was not found."""

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        both = sorted(set(self.allow) & set(self.deny))
        if both:
            raise ValueError(f"{both[0]} is both allowed and denied")
        return self


class Policy(Document):
    """One policy file."""

    gate: Gate = Gate()
    database_max_age_days: MaxAge = MaxAge()
    licenses: Licenses = Licenses()
    ignore: tuple[Ignore, ...] = ()
    vex: tuple[Vex, ...] = ()
    _documents: dict[str, OpenVex] = PrivateAttr(default_factory=dict)

    @field_validator("ignore")
    @classmethod
    def _once(cls, ignore: tuple[Ignore, ...]) -> tuple[Ignore, ...]:
        seen = set()
        for entry in ignore:
            key = (entry.id, entry.package, entry.variants, entry.targets)
            if key in seen:
                raise ValueError(f"{entry.id} in {entry.package} is listed twice")
            seen.add(key)
        return ignore

    def believe(self, documents: Mapping[str, OpenVex]) -> None:
        """Take the documents that `vex` names, by their files."""
        self._documents.update(documents)

    def accepted(self, *, product: str, version: str) -> list[dict[str, Any]]:
        """Return everything that is accepted in that version of the product: `ignore`, then what others state."""
        stated = [
            {**entry, "owner": vex.owner, "expires": vex.expires.isoformat(), "source": vex.file}
            for vex in self.vex
            for entry in entries(self._documents[vex.file], product=product, version=version)
        ]
        return [*self.as_parameters()["ignore"], *stated]

    def as_parameters(self) -> dict[str, Any]:
        """Return the policy as plain JSON values, for a program that runs in a step; dates are ISO 8601."""
        return self.model_dump(mode="json")


def parse_policy(text: str, *, where: str) -> Policy:
    """Return the policy that a TOML text describes; `where` names its file. Raises ConfigError."""
    return parse_document(Policy, text, where=where)


def load_policy(path: Path) -> Policy:
    """Return the policy in the file `path`, or in `policy.toml` of the directory `path`, with its VEX documents.

    Raises ConfigError.
    """
    file = path / FILE_NAME if path.is_dir() else path
    policy = parse_policy(read_document(file), where=str(file))
    policy.believe({vex.file: load_vex(file.parent / vex.file) for vex in policy.vex})
    return policy
