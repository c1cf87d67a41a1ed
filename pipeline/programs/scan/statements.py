"""What one scanner found in one binary, as an in-toto statement. A part of `gate.py`, not a program.

Statement: https://in-toto.io/Statement/v1. Predicate: https://in-toto.io/attestation/vulns/v0.2, which has room for one
scanner; so each gets a statement of its own. What scanners call severity goes in with their own name as the method.
"""

from __future__ import annotations

from pipeline.programs.common import Json
from pipeline.programs.purl import purl

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/vulns/v0.2"
MODULES = {
    "grype": "github.com/anchore/grype",
    "trivy": "github.com/aquasecurity/trivy",
}


def file_name(artifact: str, scanner: str) -> str:
    """Return the name of the statement's file."""
    return f"{artifact}.{scanner}.vulns.intoto.json"


def statement(artifact: Json, scanner: Json, found: list[Json], judged: list[Json], day: str) -> Json:
    """Return the statement about `artifact`.

    `found` is what the scanner reported about it, `judged` are the merged findings. The times of the scan are `day`, on
    which it ran, at its beginning: no more is said than the release knows on every machine.
    """
    version = f"v{scanner['version']}" if scanner["version"] else ""
    about: Json = {"uri": purl("golang", MODULES[scanner["name"]], version)}
    if scanner["version"]:
        about["version"] = scanner["version"]
    database = {"lastUpdate": scanner["database"]["built"]}
    if "://" in scanner["database"].get("from", ""):
        database["uri"] = scanner["database"]["from"]
    results = [result(entry, scanner["name"], _judgement(entry, artifact["name"], judged)) for entry in found]
    results.sort(
        key=lambda entry: (entry["id"], entry["annotations"][0]["package"], entry["annotations"][0]["version"])
    )
    time = f"{day}T00:00:00Z"
    return {
        "_type": STATEMENT,
        "subject": [{"name": artifact["name"], "digest": {"sha256": artifact["sha256"]}}],
        "predicateType": PREDICATE,
        "predicate": {
            "scanner": {**about, "db": database, "result": results},
            "metadata": {"scanStartedOn": time, "scanFinishedOn": time},
        },
    }


def _judgement(entry: Json, artifact: str, judged: list[Json]) -> Json | None:
    for finding in judged:
        place = artifact in finding["artifacts"] and finding["package"] == entry["package"]
        if (
            place
            and finding["version"] == entry["version"]
            and {finding["id"], *finding["aliases"]} & set(entry["ids"])
        ):
            return finding
    return None


def result(entry: Json, scanner: str, finding: Json | None) -> Json:
    """Return one element of the predicate's `result`: what the scanner says, and what the gate makes of it."""
    note = {"package": entry["package"], "version": entry["version"], "purl": entry["purl"]}
    if entry["fixed_in"]:
        note["fixedIn"] = entry["fixed_in"]
    if finding:
        note |= {"reachable": finding["reachable"], "gate": finding["status"]}
    ratings = [{"method": scanner, "score": entry["severity"]}]
    ratings += [{"method": method, "score": str(score)} for method, score in entry["scores"]]
    return {"id": finding["id"] if finding else entry["ids"][0], "severity": ratings, "annotations": [note]}
