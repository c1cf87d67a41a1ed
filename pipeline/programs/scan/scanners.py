"""What grype, trivy and govulncheck say, in one form. A part of `gate.py`, not a program."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.programs import common, document
from pipeline.programs.common import Json, Params, Problem
from pipeline.programs.purl import purl
from pipeline.programs.scan.scan_documents import Reachability

SCANNERS = ("grype", "trivy")
REACHABILITY = "govulncheck"
TRIVY_SCORES = {"V2Score": "cvss_v2", "V3Score": "cvss_v3", "V40Score": "cvss_v4.0"}
SEVERITIES = ("critical", "high", "medium", "low", "negligible", "unknown")


def severity_of(text: object) -> str:
    """Return the severity in the words of the policy."""
    word = str(text or "").lower()
    return word if word in SEVERITIES else "unknown"


def worst(severities: Iterator[str] | list[str]) -> str:
    """Return the worst of several severities; `unknown` is the least."""
    return min(severities, key=SEVERITIES.index, default="unknown")


def plain_version(version: str) -> str:
    """Return a version as both scanners would write it: `v1.2` and `1.2`, `go1.26` and `1.26` are the same."""
    return (
        version[2:] if version.startswith("go") else version[1:] if version[:2].strip("0123456789") == "v" else version
    )


def from_grype(report: Json) -> Iterator[Json]:
    """Yield the matches of a grype report (its JSON document, schema 16)."""
    for match in report["matches"]:
        vulnerability, package = match["vulnerability"], match["artifact"]
        related = match.get("relatedVulnerabilities") or []
        own = severity_of(vulnerability.get("severity"))
        yield {
            "ids": sorted({vulnerability["id"], *(other["id"] for other in related)}),
            "severity": worst(severity_of(o.get("severity")) for o in related) if own == "unknown" else own,
            "package": package["name"],
            "version": plain_version(package["version"]),
            "purl": package.get("purl") or "",
            "scores": [
                [f"cvss_v{score['version']}", score["metrics"]["baseScore"]]
                for score in vulnerability.get("cvss") or []
            ],
            "fixed_in": [plain_version(fix) for fix in (vulnerability.get("fix") or {}).get("versions") or []],
            "title": vulnerability.get("description") or "",
            "url": vulnerability.get("dataSource") or "",
        }


def from_trivy(report: Json) -> Iterator[Json]:
    """Yield the vulnerabilities of a trivy report (SchemaVersion 2)."""
    for result in report.get("Results") or []:
        for found in result.get("Vulnerabilities") or []:
            custom = found.get("Custom")
            more = custom.get("IDs") or [] if isinstance(custom, dict) else []
            urls = [found.get("PrimaryURL") or "", *(found.get("References") or [])]
            yield {
                "ids": sorted({found["VulnerabilityID"], *(found.get("VendorIDs") or []), *more}),
                "severity": severity_of(found.get("Severity")),
                "package": found["PkgName"],
                "version": plain_version(found.get("InstalledVersion") or ""),
                "purl": (found.get("PkgIdentifier") or {}).get("PURL") or "",
                "scores": [
                    [TRIVY_SCORES[name], score]
                    for _, scores in sorted((found.get("CVSS") or {}).items())
                    for name, score in sorted(scores.items())
                    if name in TRIVY_SCORES
                ],
                "fixed_in": [plain_version(fix.strip()) for fix in (found.get("FixedVersion") or "").split(",") if fix],
                "title": found.get("Title") or "",
                "url": next((url for url in urls if url), ""),
            }


def today() -> dt.date:
    """Return the day of this run, which the engine tells a step that runs once a day. Raises Problem without it."""
    try:
        return dt.date.fromisoformat(os.environ.get("TODAY", ""))
    except ValueError:
        raise Problem("TODAY is not a date: the policy's dates are compared with today's") from None


READERS = {"grype": from_grype, "trivy": from_trivy}


def age_gap(scanner: str, built: str, params: Params) -> str:
    """Return why the age of a scanner's database says that it proves nothing, or an empty string."""
    limit = int(params["policy"]["database_max_age_days"][scanner])
    try:
        day = dt.date.fromisoformat(built[:10])
    except ValueError:
        return f"{scanner}: the age of its database is not known (built {built or 'at an unknown time'!r})"
    if day > today():
        return f"{scanner}: its database says it was built on {day}, which is in the future"
    if (today() - day).days > limit:
        return f"{scanner}: its database of {day} is older than {limit} days"
    return ""


def no_database(scanner: str, params: Params) -> str:
    """Return the message for a scanner that could not run without its database, or an empty string."""
    reason = (params.get("missing") or {}).get(scanner)
    return f"{scanner}: it has no database: {reason}" if reason else ""


def unknown_facts(scanner: str) -> Json:
    """Return the facts of a scanner of which no report tells anything."""
    return {"name": scanner, "version": "", "database": {"built": ""}}


def scanner_facts(scanner: str, reports: dict[str, Json], params: Params) -> tuple[Json, list[str]]:
    """Return ({name, version, database}, what is amiss with the database)."""
    facts, gaps = unknown_facts(scanner), []
    if scanner == "trivy":
        path = params.path("trivy_metadata", "/in/trivy-database/db/metadata.json")
        if path.is_file():
            facts["database"]["built"] = str(common.read_object(path).get("UpdatedAt") or "")
    for name, report in sorted(reports.items()) if scanner == "grype" else []:
        descriptor = report.get("descriptor") or {}
        status = (descriptor.get("db") or {}).get("status") or {}
        if status.get("valid") is False or status.get("error"):
            gaps.append(f"grype: its database is not valid ({name}): {status.get('error') or 'no reason given'}")
        facts["version"] = str(descriptor.get("version") or "")
        facts["database"] = {"built": str(status.get("built") or ""), "from": str(status.get("from") or "")}
    stale = age_gap(scanner, facts["database"]["built"], params)
    return facts, [*gaps, *([stale] if stale else [])]


def read_report(folder: Path, scanner: str, binary: str) -> tuple[Json | None, str]:
    """Return (report, "") of one run over one binary, or (None, why it proves nothing)."""
    code = folder / "exit-code"
    if code.is_file() and code.read_text().strip() != "0":
        return None, f"{scanner}: it failed on {binary} with exit code {code.read_text().strip()}"
    path = folder / f"{scanner}.json"
    if not path.is_file():
        return None, f"{scanner}: there is no report about {binary}"
    try:
        report = common.read_object(path)
        findings = list(READERS[scanner](report))
    except (Problem, KeyError, TypeError, AttributeError) as error:
        return None, f"{scanner}: its report about {binary} cannot be read: {error}"
    seen = scanner != "trivy" or any(r.get("Type") == "gobinary" for r in report.get("Results") or [])
    if not seen:
        return None, f"{scanner}: it did not recognise {binary} as a Go program"
    return {**report, "findings": findings}, ""


def read_reachability(folder: Path, binary: str) -> tuple[Json | None, str]:
    """Return (the result of `govulncheck.py`, "") about one binary's source, or (None, why it proves nothing)."""
    path = folder / f"{REACHABILITY}.json"
    if not path.is_file():
        return None, f"{REACHABILITY}: there is no result for {binary}"
    result = document.load(Reachability, path)
    if result.failed:
        return None, f"{REACHABILITY}: it failed on the source of {binary}: {result.failed}"
    told: Json = document.plain(result)
    return told, ""


def reachability_facts(results: dict[str, Json], params: Params) -> tuple[Json, list[str]]:
    """Return ({name, version, database}, what is amiss with the database)."""
    facts = unknown_facts(REACHABILITY)
    for _, result in sorted(results.items()):
        facts = {key: result["scanner"][key] for key in facts}
    stale = age_gap(REACHABILITY, facts["database"]["built"], params)
    return facts, [stale] if results and stale else []


def about(entry: Json, finding: Json) -> bool:
    """Return whether govulncheck's `entry` is about the vulnerability, the package and the version of `finding`."""
    same = entry["module"] == finding["package"] and plain_version(entry["version"]) == finding["version"]
    return same and bool(set(entry["ids"]) & {*finding.get("ids", ()), finding.get("id"), *finding.get("aliases", ())})


def unreported(results: dict[str, Json], found: list[Json]) -> list[Json]:
    """Return what govulncheck alone found: reachable vulnerable code that no other scanner reports.

    It does not say how severe that is.
    """
    return [
        {
            "ids": entry["ids"],
            "severity": "unknown",
            "package": entry["module"],
            "version": plain_version(entry["version"]),
            "purl": purl("golang", entry["module"], entry["version"]),
            "scores": [],
            "fixed_in": [plain_version(entry["fixed_in"])] if entry["fixed_in"] else [],
            "title": entry["title"],
            "url": entry["url"],
            "scanner": REACHABILITY,
            "artifact": name,
        }
        for name, result in sorted(results.items())
        for entry in result["findings"]
        if entry["level"] == "symbol" and not any(f["artifact"] == name and about(entry, f) for f in found)
    ]


def reach(finding: Json, result: Json | None) -> tuple[str, list[str]]:
    """Return (`yes`, `no` or `unknown`, the vulnerable functions that are reachable) for a finding in one binary.

    `no` only if govulncheck knows the vulnerability, considers this version affected, and finds no call path.
    """
    entries = [entry for entry in (result or {"findings": []})["findings"] if about(entry, finding)]
    symbols = sorted({symbol for entry in entries for symbol in entry["symbols"]})
    if any(entry["level"] == "symbol" for entry in entries):
        return "yes", symbols
    return ("no" if entries else "unknown"), []
