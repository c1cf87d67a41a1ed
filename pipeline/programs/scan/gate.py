"""Merges what the scanners found, and applies the policy to it: `scan.json`, `verdict.json` and `statements/`.

Params:
  product, version   what was scanned, for the report
  binaries           `name`, `target` and `variant` of each binary
  binaries_dir       the folder with them (default `/in/binaries`)
  reports            the folder with `<binary>/<scanner>/<scanner>.json` and `<binary>/<scanner>/exit-code` for the
                     scanners grype and trivy, and `<binary>/govulncheck/govulncheck.json` (default `/in/reports`)
  trivy_metadata     `metadata.json` of trivy's database, the only place that tells its age: trivy's report does not
                     (default `/in/trivy-database/db/metadata.json`); grype's report tells it
  reachability       true when govulncheck looked at the source, and its results are expected
  missing            why a scanner has no database, by scanner: nothing is read of one that is named here; optional
  policy             `gate` {`severities`, `only_fixable`, `unreachable`}, `database_max_age_days` by scanner, and
                     `ignore`: [{`id`, `package`, `reason`, `owner`, `expires`, `justification`, `variants`, `targets`}]
                     and, where another's VEX document states it, `source` (its file) and `version` (of the package);
                     there an empty `package` or `version` means all
  snapshot           true for a release that is not to be shipped
  out                default `/out`

The date to decide on is the variable TODAY, which the engine sets for a step that runs once a day.

One finding is one vulnerability in one version of one package, whatever number of scanners, names (CVE, GHSA, GO) and
binaries it shows up under; the worst severity counts, and every scanner's own is kept. A critical finding always closes
the gate. Another one whose severity the policy names does, unless an entry accepts it that has not expired, or nothing
fixes it and the policy asks for fixable ones only, or the vulnerable code is unreachable and the policy accepts that.
An expired entry accepts nothing. Every finding has `reachable`: `yes`, with the functions, `no`, or `unknown`.

A scan that proves nothing closes the gate too: no report, a scanner that failed or did not see a Go program, a database
whose age is unknown or above the limit. In a snapshot that is a warning. The exit code is 0 whenever there is a
verdict: `verdict.json` has `open`, `reasons`, `warnings`, `gaps` (what the scan does not prove: reasons in a release,
warnings in a snapshot), and the digests of the binaries. Neither file depends on the date, except for what the date
decides. `statements` has an in-toto statement, with the date, of what each scanner found in each binary.
"""

from __future__ import annotations

import datetime as dt

from pipeline.programs import common, document
from pipeline.programs.common import Json, Params
from pipeline.programs.scan import scanners, statements
from pipeline.programs.scan.scan_documents import ScannedBinary, Verdict
from pipeline.programs.scan.scanners import SCANNERS, SEVERITIES, worst

SCHEMA = "urn:release-pipeline:scan:v1"
NEVER_IGNORED = "critical"
ORDER_OF_NAMES = ("CVE-", "GHSA-", "GO-")
REFUTED = {"component_not_present", "vulnerable_code_not_present", "vulnerable_code_not_in_execute_path"}
"""Justifications that contradict a call path to the vulnerable code."""


def merge(found: list[Json]) -> list[Json]:
    """Return one finding for each vulnerability in one version of one package.

    `found` has one entry for each scanner and binary. Two names are the same vulnerability if any scanner says so.
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
        and entry["package"] in {finding["package"], *([""] if entry.get("source") else [])}
        and entry.get("version", "") in {"", finding["version"].removeprefix("go").removeprefix("v")}
        and (not entry.get("variants") or variant in entry["variants"])
        and (not entry.get("targets") or target in entry["targets"])
    ]
    return min(about, key=lambda entry: bool(entry["expired"]), default=None)


def status_of(finding: Json, gate: Json, entry: Json | None, reachable: str) -> str:
    """Return `fails`, `accepted`, `not fixable`, `not reachable` or `below the threshold`."""
    if finding["severity"] == NEVER_IGNORED:
        return "fails"
    if entry is not None and not entry["expired"]:
        return "accepted"
    if finding["severity"] not in gate["severities"]:
        return "below the threshold"
    if reachable == "no" and gate.get("unreachable") == "accept":
        return "not reachable"
    return "not fixable" if gate.get("only_fixable") and not finding["fixed_in"] else "fails"


def decide(
    findings: list[Json], results: dict[str, Json], params: Params, *, complete: bool
) -> tuple[list[Json], list[str]]:
    """Return (findings with their status, worst first; what to say about the policy's entries).

    `results` are govulncheck's, by binary. A finding that is accepted or reachable in one binary and not in another one
    becomes two. Unused entries are reported only if the scan is `complete`.
    """
    policy, today = params["policy"], scanners.today()
    entries = [{**e, "expired": dt.date.fromisoformat(e["expires"]) < today} for e in policy.get("ignore") or []]
    binaries = {binary["name"]: binary for binary in params["binaries"]}
    decided: dict[tuple[object, ...], Json] = {}
    used, refuted = [], set()
    for finding in findings:
        for name in finding["artifacts"]:
            entry = entry_for(finding, entries, binaries[name]["variant"], binaries[name]["target"])
            reachable, symbols = scanners.reach(finding, results.get(name))
            status = status_of(finding, policy["gate"], entry, reachable)
            used += [entry] if entry else []
            kept = {k: v for k, v in entry.items() if k != "expired"} if entry and status == "accepted" else None
            if kept and reachable == "yes" and kept.get("justification") in REFUTED:
                refuted.add(_contradiction(kept, symbols))
            about = {"status": status, "entry": kept, "reachable": reachable, "symbols": symbols}
            key = (finding["id"], finding["package"], finding["version"], status, common.to_json(about))
            decided.setdefault(key, {**finding, **about, "artifacts": []})["artifacts"].append(name)
    needless = [e for e in entries if e["expired"] or (complete and e not in used and not e.get("source"))]
    notes = list(dict.fromkeys(_note(entry, entry in used or not complete) for entry in needless))
    order = sorted(decided, key=lambda key: (SEVERITIES.index(decided[key]["severity"]), *map(str, key)))
    return [decided[key] for key in order], [*notes, *sorted(refuted)]


def _contradiction(entry: Json, symbols: list[str]) -> str:
    return f"{_about(entry)} says {entry['justification']}, but govulncheck found a call path to {', '.join(symbols)}"


def _about(entry: Json) -> str:
    where = f", from {entry['source']}," if entry.get("source") else ""
    return f"the policy's entry for {entry['id']}{where} in {entry['package'] or 'any package'} ({entry['owner']})"


def _note(entry: Json, used: bool) -> str:
    about = _about(entry)
    if entry["expired"] and entry.get("source"):
        return f"the VEX document {entry['source']} of the policy ({entry['owner']}) expired on {entry['expires']}"
    if entry["expired"]:
        return f"{about} expired on {entry['expires']}" + ("" if used else ", and matches no finding")
    return f"{about} matches no finding; remove it"


def reason(finding: Json, binaries: int) -> str:
    """Return one line for people about a finding, in one or more of so many `binaries`, that closes the gate."""
    fix = f"fixed in {', '.join(finding['fixed_in'])}" if finding["fixed_in"] else "no version fixes it"
    where = ", ".join(finding["artifacts"])
    if len(finding["artifacts"]) == binaries > 1:
        where = f"all {binaries} binaries"
    return f"{finding['severity']}: {finding['id']} in {finding['package']} {finding['version']} ({fix}; in {where})"


def collect(artifacts: list[Json], params: Params) -> tuple[list[Json], list[Json], list[str]]:
    """Return (scanners, everything that they found, what that does not prove) of grype and trivy.

    `scanned` of a scanner are the binaries about which it has proved something.
    """
    folder = params.path("reports", "/in/reports")
    facts, found, gaps = [], [], []
    for scanner in SCANNERS:
        if without := scanners.no_database(scanner, params):
            facts.append({**scanners.unknown_facts(scanner), "scanned": []})
            gaps.append(without)
            continue
        reports = {}
        for name in [str(binary["name"]) for binary in artifacts]:
            report, gap = scanners.read_report(folder / name / scanner, scanner, name)
            if report is None:
                gaps.append(gap)
                continue
            reports[name] = report
            found += [{**entry, "scanner": scanner, "artifact": name} for entry in report["findings"]]
        about, amiss = scanners.scanner_facts(scanner, reports, params)
        facts.append({**about, "scanned": [] if amiss else sorted(reports)})
        gaps += amiss
    return facts, found, gaps


def attest(artifacts: list[Json], used: list[Json], found: list[Json], findings: list[Json], params: Params) -> None:
    """Write the statement of each scanner about each binary about which it has proved something."""
    folder = params.path("out", "/out") / "statements"
    folder.mkdir(parents=True)
    for artifact in artifacts:
        for scanner in used:
            own = [e for e in found if (e["scanner"], e["artifact"]) == (scanner["name"], artifact["name"])]
            if artifact["name"] in scanner["scanned"]:
                made = statements.statement(artifact, scanner, own, findings, scanners.today().isoformat())
                common.write_json(folder / statements.file_name(artifact["name"], scanner["name"]), made)


def collect_reachability(artifacts: list[Json], params: Params) -> tuple[list[Json], dict[str, Json], list[str]]:
    """Return (govulncheck itself, its results by binary, what they do not prove); nothing if it was not asked."""
    if not params.get("reachability"):
        return [], {}, []
    if without := scanners.no_database(scanners.REACHABILITY, params):
        return [scanners.unknown_facts(scanners.REACHABILITY)], {}, [without]
    folder = params.path("reports", "/in/reports")
    results, gaps = {}, []
    for name in [str(binary["name"]) for binary in artifacts]:
        result, gap = scanners.read_reachability(folder / name / scanners.REACHABILITY, name)
        if result is None:
            gaps.append(gap)
        else:
            results[name] = result
    facts, amiss = scanners.reachability_facts(results, params)
    return [facts], results, gaps + amiss


def main(params: Params) -> None:
    """Write the report, the verdict and the statements."""
    out = params.path("out", "/out")
    artifacts = [
        {**binary, "sha256": common.sha256_of(params.path("binaries_dir", "/in/binaries") / binary["name"])}
        for binary in sorted(params["binaries"], key=lambda binary: str(binary["name"]))
    ]
    used, found, gaps = collect(artifacts, params)
    reachability, results, unreached = collect_reachability(artifacts, params)
    gaps += unreached
    every = merge(found + scanners.unreported(results, found))
    findings, notes = decide(every, results, params, complete=not gaps)
    failing = [reason(finding, len(artifacts)) for finding in findings if finding["status"] == "fails"]
    snapshot = bool(params.get("snapshot"))
    reasons, warnings = (failing, gaps + notes) if snapshot else (failing + gaps, notes)
    about = {"product": params["product"], "version": params["version"], "snapshot": snapshot, "artifacts": artifacts}
    policy = params["policy"]["gate"]
    scan = {"schema": SCHEMA, "findings": findings, "policy": policy}
    scan["scanners"] = [{k: v for k, v in scanner.items() if k != "scanned"} for scanner in used + reachability]
    binaries = tuple(ScannedBinary(**artifact) for artifact in artifacts)
    told = (params["product"], params["version"], snapshot)
    verdict = Verdict(not reasons, tuple(reasons), tuple(warnings), tuple(gaps), *told, binaries)
    common.write_json(out / "scan.json", {**scan, **about, "gaps": gaps, "notes": notes})
    document.write(out / "verdict.json", verdict)
    attest(artifacts, used, found, findings, params)


if __name__ == "__main__":
    common.run_program(main)
