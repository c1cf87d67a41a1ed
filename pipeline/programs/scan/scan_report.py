"""Renders the findings for their readers: SARIF for tools, Markdown for people, OpenVEX for other scanners.

Params: `scan`, the file that `gate.py` wrote (default `/in/scan/scan.json`); `author`, who makes the statements of the
OpenVEX document (required); `schemas`, a folder with the schema of SARIF (default `/in/schemas`); `out` (default
`/out`).

Outputs:
  scan.sarif    SARIF 2.1.0, one rule for each vulnerability, one result for each binary it is in; what the policy
                accepts is suppressed there, with the reason
  scan.md       the same for people, with what the scanners could not do
  openvex.json  OpenVEX 0.2.0: what the policy accepts, and what govulncheck could decide; see `statement`. Its schema
                requires at least one statement: without any, the file is not written

The SARIF log is validated, which needs the library jsonschema in the image. The only time in the files is
SOURCE_DATE_EPOCH, and the OpenVEX document's id is a UUID of version 5 over its content.
"""

from __future__ import annotations

import json
import uuid
from urllib.parse import quote

from pipeline.programs import common
from pipeline.programs.common import Json, Params
from pipeline.programs.purl import purl
from pipeline.programs.schemas import validate

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:release-pipeline:openvex")
SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
OPENVEX_CONTEXT = "https://openvex.dev/ns/v0.2.0"
LEVELS = {"critical": "error", "high": "error", "medium": "warning"}
SCORES = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "2.0"}
"""A number within each severity's range of CVSS 3.1, section 5: code hosts sort findings by it."""
REACHED = {"yes": " The vulnerable code is reachable:", "no": " The vulnerable code is not reachable.", "unknown": ""}
UNREACHABLE = "vulnerable_code_not_in_execute_path"
REFUTED = {"component_not_present", "vulnerable_code_not_present", UNREACHABLE}
"""Justifications that contradict a call path to the vulnerable code."""


def rules(findings: list[Json]) -> list[Json]:
    """Return the SARIF rules, one for each vulnerability, sorted by id."""
    found: dict[str, Json] = {}
    for finding in findings:
        rule: Json = {
            "id": finding["id"],
            "shortDescription": {"text": finding["title"] or finding["id"]},
            "properties": {"tags": ["security", "vulnerability", *finding["aliases"]]},
        }
        if finding["url"]:
            rule["helpUri"] = finding["url"]
        if finding["severity"] in SCORES:
            rule["properties"]["security-severity"] = SCORES[finding["severity"]]
        found.setdefault(finding["id"], rule)
    return [found[name] for name in sorted(found)]


def result(finding: Json, artifact: str, index: int) -> Json:
    """Return one SARIF result."""
    ratings = ", ".join(f"{scanner}: {severity}" for scanner, severity in sorted(finding["ratings"].items()))
    fix = f"Fixed in {', '.join(finding['fixed_in'])}." if finding["fixed_in"] else "No version fixes it."
    text = f"{finding['id']} in {finding['package']} {finding['version']} ({ratings}). {fix}"
    text += REACHED[finding["reachable"]]
    text += f" {', '.join(finding['symbols'])}." if finding["symbols"] else ""
    location = {"artifactLocation": {"uri": quote(artifact)}, "region": {"startLine": 1}}
    content: Json = {
        "ruleId": finding["id"],
        "ruleIndex": index,
        "level": LEVELS.get(finding["severity"], "note"),
        "message": {"text": text},
        "locations": [{"physicalLocation": location}],
        "partialFingerprints": {"finding/v1": f"{finding['id']}/{finding['package']}/{finding['version']}/{artifact}"},
        "properties": {name: finding[name] for name in ("status", "severity", "purl", "reachable")},
    }
    if finding["entry"]:
        content["suppressions"] = [suppression(finding["entry"])]
    return content


def suppression(entry: Json) -> Json:
    """Return the SARIF suppression of a finding that the policy accepts."""
    text = f"{entry['reason']} ({entry['owner']}, until {entry['expires']})"
    return {"kind": "external", "status": "accepted", "justification": text}


def sarif(scan: Json) -> Json:
    """Return the SARIF log."""
    known = rules(scan["findings"])
    indexes = {rule["id"]: number for number, rule in enumerate(known)}
    results = [
        result(finding, artifact, indexes[finding["id"]])
        for finding in scan["findings"]
        for artifact in finding["artifacts"]
    ]
    driver = {"name": "release-pipeline", "rules": known}
    extensions = [{"name": s["name"], **({"version": s["version"]} if s["version"] else {})} for s in scan["scanners"]]
    return {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver, "extensions": extensions},
                "automationDetails": {"id": f"{scan['product']}/{scan['version']}"},
                "columnKind": "unicodeCodePoints",
                "results": results,
            }
        ],
    }


def product_id(scan: Json, artifact: Json) -> Json:
    """Return an OpenVEX product: the same package URL that the artifact's SBOM states."""
    digest, name = str(artifact["sha256"]), str(artifact["name"])
    own = purl("generic", scan["product"], scan["version"], checksum=f"sha256:{digest}", file_name=name)
    return {"@id": own, "identifiers": {"purl": own}, "hashes": {"sha-256": digest}}


def statement(scan: Json, finding: Json) -> Json | None:
    """Return the OpenVEX statement about a finding, or None when nobody knows more than that it was found.

    The policy's entry decides first: with a justification it is `not_affected`, without one `affected`, with what is
    done about it. A justification that govulncheck has refuted is not repeated. Without an entry, govulncheck decides:
    code that cannot be called is `not_affected`, code that can is `affected`.
    """
    if not finding["entry"] and finding["reachable"] == "unknown":
        return None
    artifacts = {artifact["name"]: artifact for artifact in scan["artifacts"]}
    part = [{"@id": finding["purl"]}] if finding["purl"] else []
    products = [{**product_id(scan, artifacts[name]), "subcomponents": part} for name in finding["artifacts"]]
    vulnerability: Json = {"name": finding["id"]}
    if finding["aliases"]:
        vulnerability["aliases"] = finding["aliases"]
    return {"vulnerability": vulnerability, "products": products, **_decision(scan, finding)}


def _decision(scan: Json, finding: Json) -> Json:
    entry, reachable = finding["entry"], finding["reachable"]
    if entry:
        justification = entry.get("justification")
        if justification and not (reachable == "yes" and justification in REFUTED):
            return {"status": "not_affected", "justification": justification, "status_notes": entry["reason"]}
        action = f"Accepted by {entry['owner']} until {entry['expires']}: {entry['reason']}"
        return {"status": "affected", "action_statement": action}
    by = next(scanner for scanner in scan["scanners"] if scanner["name"] == "govulncheck")
    about = f"govulncheck {by['version']} with its database of {by['database']['built']}"
    if reachable == "no":
        notes = f"{about} found no call path from the program's main function to the vulnerable code."
        return {"status": "not_affected", "justification": UNREACHABLE, "status_notes": notes}
    action = f"Update to {' or '.join(finding['fixed_in'])}." if finding["fixed_in"] else "No version fixes it yet."
    return {
        "status": "affected",
        "action_statement": action,
        "status_notes": f"{about} found a call path to {', '.join(finding['symbols'])}.",
    }


def openvex(scan: Json, author: str, epoch: int) -> Json:
    """Return the OpenVEX document."""
    statements = [made for finding in scan["findings"] if (made := statement(scan, finding))]
    document = {
        "@context": OPENVEX_CONTEXT,
        "author": author,
        "timestamp": common.timestamp(epoch),
        "version": 1,
        "statements": statements,
    }
    about = {**document, "artifacts": scan["artifacts"]}
    content = json.dumps(about, sort_keys=True, separators=(",", ":"))
    return {**document, "@id": f"urn:uuid:{uuid.uuid5(NAMESPACE, content)}"}


def row(*cells: str) -> str:
    """Return a row of a Markdown table; bars and line ends in cells are made harmless."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def markdown(scan: Json) -> str:
    """Return the summary for people: what closes the gate first."""
    lines = [f"# Scan of {scan['product']} {scan['version']}", ""]
    failing = [finding for finding in scan["findings"] if finding["status"] == "fails"]
    lines += [
        f"{len(scan['findings'])} findings in {len(scan['artifacts'])} binaries, {len(failing)} close the gate.",
        "",
    ]
    for scanner in scan["scanners"]:
        built = scanner["database"]["built"] or "an unknown time"
        lines.append(f"- {scanner['name']} {scanner['version']}".rstrip() + f", database of {built}")
    lines.append("")
    if scan["gaps"]:
        effect = "This is a snapshot; a release would be refused." if scan["snapshot"] else "This closes the gate."
        lines += ["## What the scan does not prove", "", f"**{effect}**", ""]
        lines += [*(f"- {gap}" for gap in scan["gaps"]), ""]
    if scan["findings"]:
        header = ("Status", "Severity", "Id", "Package", "Version", "Fixed in", "Ratings", "Reachable", "In")
        lines += ["## Findings", "", row(*header), row(*["---"] * len(header))]
    for finding in scan["findings"]:
        name = f"[{finding['id']}]({finding['url']})" if finding["url"].startswith("https://") else finding["id"]
        ratings = ", ".join(f"{scanner} {severity}" for scanner, severity in sorted(finding["ratings"].items()))
        cells = [finding["status"], finding["severity"], name, finding["package"], finding["version"]]
        fixed = ", ".join(finding["fixed_in"]) or "-"
        reachable = ": ".join(filter(None, (finding["reachable"], ", ".join(finding["symbols"]))))
        lines.append(row(*cells, fixed, ratings, reachable, ", ".join(finding["artifacts"])))
    accepted = [finding for finding in scan["findings"] if finding["entry"]]
    if accepted:
        lines += ["", "## Accepted", ""]
    for finding in accepted:
        entry = finding["entry"]
        about = f"{finding['id']} in {finding['package']}: {entry['reason']}"
        lines.append(f"- {about} ({entry['owner']}, until {entry['expires']})")
    if scan["notes"]:
        lines += ["", "## About the policy", "", *(f"- {note}" for note in scan["notes"])]
    return "\n".join(lines).rstrip("\n") + "\n"


def main(params: Params) -> None:
    """Write the files. Raises Problem with the places in the SARIF log that its schema refuses."""
    scan, out = common.read_object(params.path("scan", "/in/scan/scan.json")), params.path("out", "/out")
    log = sarif(scan)
    validate(log, params.path("schemas", "/in/schemas"), SARIF_SCHEMA.rpartition("/")[2])
    common.write_json(out / "scan.sarif", log)
    common.write_text(out / "scan.md", markdown(scan))
    vex = openvex(scan, str(params["author"]), common.source_date_epoch())
    if vex["statements"]:
        common.write_json(out / "openvex.json", vex)


if __name__ == "__main__":
    common.run_program(main)
