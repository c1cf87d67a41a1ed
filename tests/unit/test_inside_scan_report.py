"""What readers get of the findings: SARIF, Markdown, OpenVEX."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.programs.common import Params, Problem
from pipeline.programs.scan import scan_report
from tests.documents import SCHEMAS, check_openvex, check_sarif

EPOCH = 1717992646


def finding(name: str, severity: str, status: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name, "aliases": ["GO-1"], "package": "example.org/a|b", "version": "1.0", "purl": "pkg:golang/a@v1.0",
        "severity": severity, "ratings": {"grype": severity, "trivy": "low"}, "fixed_in": ["1.1", "2.0"],
        "title": "A title", "url": "https://example.test/x", "artifacts": ["weed-1", "weed-2"], "status": status,
        "entry": None, "reachable": "unknown", "symbols": [], **more,
    }  # fmt: skip


ENTRY = {"reason": "never reached", "owner": "Us", "expires": "2026-12-31", "justification": "component_not_present"}
SCAN: dict[str, Any] = {
    "product": "weed", "version": "1.0", "snapshot": False, "gaps": [], "notes": [],
    "artifacts": [{"name": "weed-1", "sha256": "11"}, {"name": "weed-2", "sha256": "22"}],
    "scanners": [
        {"name": "grype", "version": "0.110.0", "database": {"built": "2026-11-20T00:00:00Z"}},
        {"name": "trivy", "version": "", "database": {"built": ""}},
    ],
    "findings": [
        finding("CVE-1", "critical", "fails", fixed_in=[], url=""),
        finding("CVE-2", "high", "accepted", entry=ENTRY),
        finding("CVE-3", "medium", "accepted", entry={**ENTRY, "justification": None}, artifacts=["weed-2"]),
        finding("CVE-4", "negligible", "below the threshold"),
    ],
}  # fmt: skip


def test_sarif_has_a_result_for_every_binary_and_a_rule_for_every_weakness() -> None:
    log = scan_report.sarif(SCAN)
    assert (log["version"], log["$schema"].rpartition("/")[2]) == ("2.1.0", "sarif-schema-2.1.0.json")
    run = log["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["CVE-1", "CVE-2", "CVE-3", "CVE-4"]
    assert [rule["properties"].get("security-severity") for rule in rules] == ["9.5", "8.0", "5.5", None]
    assert len(run["results"]) == 7
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    assert [result["level"] for result in run["results"]] == ["error"] * 4 + ["warning"] + ["note"] * 2
    prints = [result["partialFingerprints"]["finding/v1"] for result in run["results"]]
    assert len(set(prints)) == 7


def test_sarif_suppresses_what_is_accepted_and_nothing_else() -> None:
    results = scan_report.sarif(SCAN)["runs"][0]["results"]
    assert {r["ruleId"] for r in results if r.get("suppressions")} == {"CVE-2", "CVE-3"}
    reasons = {r["suppressions"][0]["justification"] for r in results if r.get("suppressions")}
    assert reasons == {"never reached (Us, until 2026-12-31)"}


def test_openvex_says_not_affected_only_with_a_justification() -> None:
    document = scan_report.openvex(SCAN, "Example", EPOCH)
    assert document["@context"] == "https://openvex.dev/ns/v0.2.0"
    assert (document["author"], document["timestamp"], document["version"]) == ("Example", "2024-06-10T04:10:46Z", 1)
    first, second = document["statements"]
    assert (first["status"], first["justification"]) == ("not_affected", "component_not_present")
    assert first["status_notes"] == "never reached"
    assert "impact_statement" not in first  # the schema allows it or a justification, not both
    assert [product["hashes"] for product in first["products"]] == [{"sha-256": "11"}, {"sha-256": "22"}]
    assert first["products"][0]["@id"] == "pkg:generic/weed@1.0?checksum=sha256:11&file_name=weed-1"
    assert first["products"][0]["subcomponents"] == [{"@id": "pkg:golang/a@v1.0"}]
    assert first["vulnerability"] == {"name": "CVE-2", "aliases": ["GO-1"]}
    assert second["status"] == "affected"
    assert second["action_statement"] == "Accepted by Us until 2026-12-31: never reached"


REACHED = {"reachable": "yes", "symbols": ["example.org/a.F", "example.org/a.T.M"]}
BY = {"name": "govulncheck", "version": "1.6.0", "database": {"built": "2026-11-19T00:00:00Z"}}


def stated(*findings: dict[str, Any]) -> list[dict[str, Any]]:
    scan = {**SCAN, "scanners": [*SCAN["scanners"], BY], "findings": list(findings)}
    document = scan_report.openvex(scan, "Example", EPOCH)
    check_openvex(document)
    check_sarif(scan_report.sarif(scan))
    statements: list[dict[str, Any]] = document["statements"]
    return statements


def test_reachability_decides_what_the_policy_does_not() -> None:
    (no, yes) = stated(
        finding("CVE-1", "critical", "fails", reachable="no"),
        finding("CVE-2", "medium", "below the threshold", **REACHED),
        finding("CVE-3", "medium", "below the threshold"),
    )
    assert (no["vulnerability"]["name"], no["status"]) == ("CVE-1", "not_affected")
    assert no["justification"] == "vulnerable_code_not_in_execute_path"
    assert no["status_notes"].startswith(
        "govulncheck 1.6.0 with its database of 2026-11-19T00:00:00Z found no call path"
    )
    assert (yes["vulnerability"]["name"], yes["status"]) == ("CVE-2", "affected")
    assert yes["action_statement"] == "Update to 1.1 or 2.0."
    assert yes["status_notes"].endswith("found a call path to example.org/a.F, example.org/a.T.M.")


def test_what_the_policy_says_goes_first_unless_it_is_refuted() -> None:
    refuted, kept, plain = (
        {**ENTRY, "justification": "vulnerable_code_not_in_execute_path"},
        {**ENTRY, "justification": "vulnerable_code_cannot_be_controlled_by_adversary"},
        {**ENTRY, "justification": None},
    )
    one, two, three = stated(
        finding("CVE-1", "high", "accepted", entry=refuted, **REACHED),
        finding("CVE-2", "high", "accepted", entry=kept, **REACHED),
        finding("CVE-3", "high", "accepted", entry=plain, reachable="no"),
    )
    assert (one["status"], two["status"], three["status"]) == ("affected", "not_affected", "affected")
    assert one["action_statement"] == "Accepted by Us until 2026-12-31: never reached"
    assert two["justification"] == "vulnerable_code_cannot_be_controlled_by_adversary"


def test_readers_see_what_can_be_called() -> None:
    scan = {**SCAN, "findings": [finding("CVE-1", "high", "fails", **REACHED, fixed_in=["1.1"])]}
    assert "| yes: example.org/a.F, example.org/a.T.M | weed-1, weed-2 |" in scan_report.markdown(scan)
    result = scan_report.sarif(scan)["runs"][0]["results"][0]
    assert result["message"]["text"].endswith(
        "Fixed in 1.1. The vulnerable code is reachable: example.org/a.F, example.org/a.T.M."
    )
    assert result["properties"]["reachable"] == "yes"


def test_openvex_identity_follows_content() -> None:
    document = scan_report.openvex(SCAN, "Example", EPOCH)
    assert document == scan_report.openvex(SCAN, "Example", EPOCH)
    assert uuid.UUID(document["@id"].removeprefix("urn:uuid:")).version == 5
    assert document["@id"] != scan_report.openvex(SCAN, "Another", EPOCH)["@id"]


NAME, RATINGS = "example.org/a\\|b", "grype critical, trivy low"


def test_the_summary_is_readable() -> None:
    text = scan_report.markdown(SCAN)
    for line in (
        "4 findings in 2 binaries, 1 close the gate.",
        "- grype 0.110.0, database of 2026-11-20T00:00:00Z",
        "- trivy, database of an unknown time",
        f"| fails | critical | CVE-1 | {NAME} | 1.0 | - | {RATINGS} | unknown | weed-1, weed-2 |",
        "- CVE-2 in example.org/a|b: never reached (Us, until 2026-12-31)",
    ):
        assert line in text.splitlines()
    assert "[CVE-2](https://example.test/x)" in text
    assert "does not prove" not in text


@pytest.mark.parametrize(("snapshot", "effect"), [(True, "a release would be refused"), (False, "closes the gate")])
def test_the_summary_is_loud_about_gaps(snapshot: bool, effect: str) -> None:
    text = scan_report.markdown({**SCAN, "gaps": ["grype: no report"], "notes": ["unused"], "snapshot": snapshot})
    assert effect in text
    assert "- grype: no report\n" in text
    assert "## About the policy\n\n- unused\n" in text


def test_text_of_advisories_cannot_break_the_table() -> None:
    hostile = finding("CVE-9", "low", "below the threshold", package="x |\n| y", url="javascript:alert(1)")
    text = scan_report.markdown({**SCAN, "findings": [hostile]})
    assert text.splitlines()[-1].count(" | ") == 8
    assert "javascript" not in text


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what runs the program over a scan and returns the files by name; those in JSON as values."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(EPOCH))

    def run(scan: dict[str, Any]) -> dict[str, Any]:
        (tmp_path / "scan.json").write_text(json.dumps(scan))
        places = {"scan": str(tmp_path / "scan.json"), "schemas": str(SCHEMAS), "out": str(tmp_path / "out")}
        scan_report.main(Params(author="Example", **places))
        texts = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
        return {name: text if name.endswith(".md") else json.loads(text) for name, text in texts.items()}

    return run


def test_all_files_are_written_and_valid(written: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    files = written(SCAN)
    assert sorted(files) == ["openvex.json", "scan.md", "scan.sarif"]
    check_sarif(files["scan.sarif"])
    check_openvex(files["openvex.json"])


def test_where_nothing_can_be_stated_there_is_no_openvex_document(
    written: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    files = written({**SCAN, "findings": []})
    assert sorted(files) == ["scan.md", "scan.sarif"]
    check_sarif(files["scan.sarif"])


def test_a_log_that_its_schema_refuses_is_not_written(
    written: Callable[[dict[str, Any]], dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(Problem, match=r"sarif-schema-2\.1\.0\.json: \$\.runs\[0\]\.results\[0\]\.ruleId"):
        written({**SCAN, "findings": [finding(7, "high", "fails")]})  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda d: d.update(statements=[]),
        lambda d: d.update(severity="high"),
        lambda d: d["statements"][0].pop("justification"),
        lambda d: d["statements"][0].update(status="harmless"),
        lambda d: d["statements"][0]["products"][0].update(name="weed"),
        lambda d: d.pop("@id"),
    ],
    ids=["no statement", "unknown member", "no justification", "unknown status", "unknown product member", "no id"],
)
def test_what_openvex_does_not_allow_is_seen(wrong: Callable[[dict[str, Any]], object]) -> None:
    document = scan_report.openvex(SCAN, "Example", EPOCH)
    check_openvex(document)
    wrong(document)
    with pytest.raises((AssertionError, ValueError)):
        check_openvex(document)
