"""Merges what grype and trivy found, and judges it after the policy: `scan.json` and `verdict.json`.

Params:
  product, version   what is judged, for the report
  binaries           `name`, `target` and `variant` of each binary
  binaries_dir       the folder with them (default `/in/binaries`)
  reports            the folder with `<binary>/<scanner>/<scanner>.json` and `<binary>/<scanner>/exit-code` for the
                     scanners grype and trivy (default `/in/reports`)
  trivy_metadata     `metadata.json` of trivy's database, the only place that tells its age: trivy's report does not
                     (default `/in/trivy-database/db/metadata.json`); grype's report tells it
  policy             `gate` {`severities`, `only_fixable`}, `database_max_age_days` {`grype`, `trivy`} and `ignore`:
                     [{`id`, `package`, `reason`, `owner`, `expires`, `justification`, `variants`, `targets`}]
  today              the date to judge on, ISO 8601
  snapshot           true for a release that is not to be shipped
  out                default `/out`

One finding is one weakness in one version of one package, whatever number of scanners, names (CVE, GHSA, GO) and
binaries it shows up under; the worst severity counts, and every scanner's own is kept. A critical finding always closes
the gate. Another one whose severity the policy names does, unless an entry accepts it that has not expired, or nothing
fixes it and the policy asks for fixable ones only. An expired entry accepts nothing.

A scan that proves nothing closes the gate too: no report, a scanner that failed or did not see a Go program, a database
whose age is unknown or above the limit. In a snapshot that is a warning. The exit code is 0 whenever it could be
judged, and the verdict is in the file: `verdict.json` has `open`, `reasons`, `warnings`, and the digests of what was
judged. Neither file depends on the date but for what the date decides.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__:
    from pipeline.inside import common
    from pipeline.inside.common import Json, Params, Problem
else:
    import common
    from common import Json, Params, Problem

SCHEMA = "urn:release-pipeline:scan:v1"
VERDICT_SCHEMA = "urn:release-pipeline:verdict:v1"
SCANNERS = ("grype", "trivy")
SEVERITIES = ("critical", "high", "medium", "low", "negligible", "unknown")
NEVER_IGNORED = "critical"
ORDER_OF_NAMES = ("CVE-", "GHSA-", "GO-")


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
        weakness, package = match["vulnerability"], match["artifact"]
        related = match.get("relatedVulnerabilities") or []
        own = severity_of(weakness.get("severity"))
        yield {
            "ids": sorted({weakness["id"], *(other["id"] for other in related)}),
            "severity": worst(severity_of(o.get("severity")) for o in related) if own == "unknown" else own,
            "package": package["name"],
            "version": plain_version(package["version"]),
            "purl": package.get("purl") or "",
            "fixed_in": [plain_version(fix) for fix in (weakness.get("fix") or {}).get("versions") or []],
            "title": weakness.get("description") or "",
            "url": weakness.get("dataSource") or "",
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
                "fixed_in": [plain_version(fix.strip()) for fix in (found.get("FixedVersion") or "").split(",") if fix],
                "title": found.get("Title") or "",
                "url": next((url for url in urls if url), ""),
            }


READERS = {"grype": from_grype, "trivy": from_trivy}


def age_gap(scanner: str, built: str, params: Params) -> str:
    """Return why the age of a scanner's database says that it proves nothing, or an empty string."""
    limit = int(params["policy"]["database_max_age_days"][scanner])
    try:
        day = dt.date.fromisoformat(built[:10])
        today = dt.date.fromisoformat(params["today"])
    except ValueError:
        return f"{scanner}: the age of its database is not known (built {built or 'at an unknown time'!r})"
    if day > today:
        return f"{scanner}: its database says it was built on {day}, which is yet to come"
    if (today - day).days > limit:
        return f"{scanner}: its database of {day} is older than {limit} days"
    return ""


def scanner_facts(scanner: str, reports: dict[str, Json], params: Params) -> tuple[Json, list[str]]:
    """Return ({name, version, database}, what is amiss with the database)."""
    facts: Json = {"name": scanner, "version": "", "database": {"built": ""}}
    gaps = []
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


def merge(found: list[Json]) -> list[Json]:
    """Return one finding for each weakness in one version of one package.

    `found` has one entry for each scanner and binary. Two names are the same weakness when any scanner says so.
    """
    groups: list[Json] = []
    for entry in found:
        key, ids = (entry["package"], entry["version"]), set(entry["ids"])
        same = [group for group in groups if group["key"] == key and group["ids"] & ids]
        members = [member for group in same for member in group["members"]]
        ids = ids.union(*(group["ids"] for group in same))
        groups = [group for group in groups if not any(group is other for other in same)]
        groups.append({"key": key, "ids": ids, "members": [*members, entry]})
    return [_merged(group) for group in groups]


def _merged(group: Json) -> Json:
    members = sorted(group["members"], key=lambda m: (m["scanner"], m["ids"], m["artifact"]))
    rank = {prefix: number for number, prefix in enumerate(ORDER_OF_NAMES)}
    ids = sorted(group["ids"], key=lambda name: (rank.get(name.split("-")[0] + "-", len(rank)), name))
    ratings = {s: worst([m["severity"] for m in members if m["scanner"] == s]) for s in {m["scanner"] for m in members}}
    return {
        "id": ids[0],
        "aliases": ids[1:],
        "package": group["key"][0],
        "version": group["key"][1],
        "purl": min(m["purl"] for m in members),
        "severity": worst(list(ratings.values())),
        "ratings": ratings,
        "fixed_in": sorted({fix for m in members for fix in m["fixed_in"]}),
        "title": next((m["title"] for m in members if m["title"]), ""),
        "url": next((m["url"] for m in members if m["url"]), ""),
        "artifacts": sorted({m["artifact"] for m in members}),
    }


def entry_for(finding: Json, entries: list[Json], variant: str, target: str) -> Json | None:
    """Return the policy's entry about a finding in one variant on one target, expired or not; a valid one first."""
    about = [
        entry
        for entry in entries
        if entry["id"] in {finding["id"], *finding["aliases"]}
        and entry["package"] == finding["package"]
        and (not entry.get("variants") or variant in entry["variants"])
        and (not entry.get("targets") or target in entry["targets"])
    ]
    return min(about, key=lambda entry: bool(entry["expired"]), default=None)


def status_of(finding: Json, gate: Json, entry: Json | None) -> str:
    """Return `fails`, `accepted`, `not fixable` or `below the threshold`."""
    if finding["severity"] == NEVER_IGNORED:
        return "fails"
    if entry is not None and not entry["expired"]:
        return "accepted"
    if finding["severity"] not in gate["severities"]:
        return "below the threshold"
    return "not fixable" if gate.get("only_fixable") and not finding["fixed_in"] else "fails"


def judge(findings: list[Json], params: Params) -> tuple[list[Json], list[str]]:
    """Return (findings with their status, worst first; what to say about the policy's entries).

    A finding that is accepted in one binary and not in another one becomes two.
    """
    policy, today = params["policy"], dt.date.fromisoformat(params["today"])
    entries = [{**e, "expired": dt.date.fromisoformat(e["expires"]) < today} for e in policy.get("ignore") or []]
    binaries = {binary["name"]: binary for binary in params["binaries"]}
    judged: dict[tuple[object, ...], Json] = {}
    used = []
    for finding in findings:
        for name in finding["artifacts"]:
            entry = entry_for(finding, entries, binaries[name]["variant"], binaries[name]["target"])
            status = status_of(finding, policy["gate"], entry)
            used += [entry] if entry else []
            kept = {k: v for k, v in entry.items() if k != "expired"} if entry and status == "accepted" else None
            key = (finding["id"], finding["package"], finding["version"], status, common.to_json(kept))
            one = judged.setdefault(key, {**finding, "artifacts": [], "status": status, "entry": kept})
            one["artifacts"].append(name)
    notes = [_note(entry, entry in used) for entry in entries if entry["expired"] or entry not in used]
    order = sorted(judged, key=lambda key: (SEVERITIES.index(judged[key]["severity"]), *map(str, key)))
    return [judged[key] for key in order], notes


def _note(entry: Json, used: bool) -> str:
    about = f"the policy's entry for {entry['id']} in {entry['package']} ({entry['owner']})"
    if entry["expired"]:
        return f"{about} expired on {entry['expires']}" + ("" if used else ", and nothing is found that it is about")
    return f"{about} is about nothing that was found; remove it"


def reason(finding: Json) -> str:
    """Return one line for people about a finding that closes the gate."""
    fix = f"fixed in {', '.join(finding['fixed_in'])}" if finding["fixed_in"] else "no version fixes it"
    where = ", ".join(finding["artifacts"])
    return f"{finding['severity']}: {finding['id']} in {finding['package']} {finding['version']} ({fix}; in {where})"


def main(params: Params) -> None:
    """Write the report and the verdict."""
    folder, out = params.path("reports", "/in/reports"), params.path("out", "/out")
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", params["today"]):
        raise Problem(f"{params['today']!r} is not a date: findings cannot be judged without today's")
    artifacts = [
        {**binary, "sha256": common.sha256_of(params.path("binaries_dir", "/in/binaries") / binary["name"])}
        for binary in sorted(params["binaries"], key=lambda binary: str(binary["name"]))
    ]
    gaps, found, scanners = [], [], []
    for scanner in SCANNERS:
        reports = {}
        for name in [str(binary["name"]) for binary in artifacts]:
            report, gap = read_report(folder / name / scanner, scanner, name)
            if report is None:
                gaps.append(gap)
                continue
            reports[name] = report
            found += [{**entry, "scanner": scanner, "artifact": name} for entry in report["findings"]]
        facts, amiss = scanner_facts(scanner, reports, params)
        scanners.append(facts)
        gaps += amiss
    findings, notes = judge(merge(found), params)
    failing = [reason(finding) for finding in findings if finding["status"] == "fails"]
    snapshot = bool(params.get("snapshot"))
    reasons, warnings = (failing, gaps + notes) if snapshot else (failing + gaps, notes)
    about = {"product": params["product"], "version": params["version"], "snapshot": snapshot, "artifacts": artifacts}
    gate = params["policy"]["gate"]
    scan = {"schema": SCHEMA, "scanners": scanners, "findings": findings, "policy": gate, "gaps": gaps, "notes": notes}
    verdict = {"schema": VERDICT_SCHEMA, "open": not reasons, "reasons": reasons, "warnings": warnings}
    common.write_json(out / "scan.json", {**scan, **about})
    common.write_json(out / "verdict.json", {**verdict, **about})


if __name__ == "__main__":
    common.run_program(main)
