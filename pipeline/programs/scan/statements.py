"""What one scanner found in one binary, as an in-toto statement. A part of `gate.py`, not a program.

Statement: https://in-toto.io/Statement/v1. Predicate: https://in-toto.io/attestation/vulns/v0.2, which has room for one
scanner; so each gets a statement of its own. What scanners call severity goes in with their own name as the method.

The library in-toto-attestation is in no package of Debian, and so not in the image of this step: the statement is a
dataclass here, and a test has that library read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Optional

from pipeline.programs.common import Json
from pipeline.programs.document import key, plain

SCANNERS = {
    "grype": "pkg:golang/github.com/anchore/grype",
    "trivy": "pkg:golang/github.com/aquasecurity/trivy",
}


@dataclass(frozen=True)
class Rating:
    """How severe a vulnerability is by one method."""

    method: str
    score: str


@dataclass(frozen=True)
class Annotation:
    """Where a vulnerability is, and what the gate decides on it."""

    package: str
    version: str
    purl: str
    fixed_in: tuple[str, ...] = field(default=(), metadata=key("fixedIn"))
    reachable: str = ""
    gate: str = ""


@dataclass(frozen=True)
class ScanResult:
    """A vulnerability that a scanner found."""

    id: str
    severity: tuple[Rating, ...]
    annotations: tuple[Annotation, ...]


@dataclass(frozen=True)
class ScanDatabase:
    """What a scanner knew."""

    last_update: str = field(metadata=key("lastUpdate"))
    uri: str = ""


@dataclass(frozen=True)
class ScanRun:
    """A scanner, and all that it found."""

    uri: str
    db: ScanDatabase
    result: tuple[ScanResult, ...]
    version: str = ""


@dataclass(frozen=True)
class ScanTimes:
    """When a scanner ran."""

    started: str = field(metadata=key("scanStartedOn"))
    finished: str = field(metadata=key("scanFinishedOn"))


@dataclass(frozen=True)
class VulnsPredicate:
    """What is stated."""

    scanner: ScanRun
    metadata: ScanTimes


@dataclass(frozen=True)
class Subject:
    """What it is stated of."""

    name: str
    digest: Mapping[str, str]


@dataclass(frozen=True)
class VulnsStatement:
    """An in-toto statement about vulnerabilities."""

    subject: tuple[Subject, ...]
    predicate: VulnsPredicate
    predicate_type: Literal["https://in-toto.io/attestation/vulns/v0.2"] = field(
        default="https://in-toto.io/attestation/vulns/v0.2", metadata=key("predicateType")
    )
    type: Literal["https://in-toto.io/Statement/v1"] = field(
        default="https://in-toto.io/Statement/v1", metadata=key("_type")
    )


def file_name(artifact: str, scanner: str) -> str:
    """Return the name of the statement's file."""
    return f"{artifact}.{scanner}.vulns.intoto.json"


def statement(artifact: Json, scanner: Json, found: list[Json], decided: list[Json], day: str) -> Json:
    """Return the statement about `artifact`, a `VulnsStatement` as JSON.

    `found` is what the scanner reported about it, `decided` are the merged findings. The times of the scan are the
    beginning of `day`, on which it ran: a statement has nothing that differs between machines.
    """
    uri, source = SCANNERS[scanner["name"]], scanner["database"].get("from", "")
    results = [result(entry, scanner["name"], _decision(entry, artifact["name"], decided)) for entry in found]
    results.sort(key=lambda each: (each.id, each.annotations[0].package, each.annotations[0].version))
    run = ScanRun(
        uri=f"{uri}@v{scanner['version']}" if scanner["version"] else uri,
        version=scanner["version"],
        db=ScanDatabase(scanner["database"]["built"], source if "://" in source else ""),
        result=tuple(results),
    )
    time = f"{day}T00:00:00Z"
    subject = Subject(artifact["name"], {"sha256": artifact["sha256"]})
    told: Json = plain(VulnsStatement((subject,), VulnsPredicate(run, ScanTimes(time, time))))
    return told


def _decision(entry: Json, artifact: str, decided: list[Json]) -> Json | None:
    for finding in decided:
        place = artifact in finding["artifacts"] and finding["package"] == entry["package"]
        if (
            place
            and finding["version"] == entry["version"]
            and {finding["id"], *finding["aliases"]} & set(entry["ids"])
        ):
            return finding
    return None


def result(entry: Json, scanner: str, finding: Optional[Json]) -> ScanResult:
    """Return one element of the predicate's `result`: what the scanner says, and what the gate makes of it."""
    ratings = [Rating(scanner, entry["severity"])]
    ratings += [Rating(method, str(score)) for method, score in entry["scores"]]
    note = Annotation(
        entry["package"],
        entry["version"],
        entry["purl"],
        fixed_in=tuple(entry["fixed_in"]),
        reachable=finding["reachable"] if finding else "",
        gate=finding["status"] if finding else "",
    )
    return ScanResult(finding["id"] if finding else entry["ids"][0], tuple(ratings), (note,))
