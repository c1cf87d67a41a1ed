"""The gate: merged findings, the policy, and what a scan does not prove. The reports are the scanners' own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.inside import approve, gate
from pipeline.inside.common import Params, Problem, sha256_of

DATA = Path(__file__).parent.parent / "data" / "inside"
AMD64, ARM64 = "weed-1-linux-amd64", "weed-1-linux-arm64"
TOML, UUID = "github.com/pelletier/go-toml/v2", "github.com/google/uuid"
ENTRY = {
    "id": "EXAMPLE-2026-0002", "package": TOML, "reason": "not reachable", "owner": "Us", "expires": "2026-12-31",
    "justification": "vulnerable_code_not_in_execute_path", "variants": [], "targets": [],
}  # fmt: skip


def report(scanner: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DATA / f"{scanner}.json").read_text("utf-8"))
    return content


class Scan:
    """The inputs of the gate for two binaries, as steps leave them, and a way to run it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in (AMD64, ARM64):
            (folder / "binaries").mkdir(exist_ok=True)
            (folder / "binaries" / name).write_text(name)
            for scanner in gate.SCANNERS:
                self.put(name, scanner, report(scanner))
                (self.at(name, scanner) / "exit-code").write_text("0\n")
        (folder / "metadata.json").write_text(json.dumps({"Version": 2, "UpdatedAt": "2026-11-20T06:11:23.123456789Z"}))
        self.gate: dict[str, Any] = {"severities": ["critical", "high"], "only_fixable": False}
        self.ages = {"grype": 5, "trivy": 5}

    def at(self, name: str, scanner: str) -> Path:
        return self.folder / "reports" / name / scanner

    def put(self, name: str, scanner: str, content: dict[str, Any]) -> None:
        self.at(name, scanner).mkdir(parents=True, exist_ok=True)
        (self.at(name, scanner) / f"{scanner}.json").write_text(json.dumps(content))

    def judge(self, *ignore: dict[str, Any], today: str = "2026-11-21", snapshot: bool = False) -> dict[str, Any]:
        """Return the verdict; the report is in `scan.json`."""
        binaries = [
            {"name": ARM64, "target": "linux/arm64", "variant": "fips"},
            {"name": AMD64, "target": "linux/amd64", "variant": "standard"},
        ]
        policy = {"gate": self.gate, "database_max_age_days": self.ages, "ignore": list(ignore)}
        params = Params(
            product="weed", version="1", binaries=binaries, binaries_dir=str(self.folder / "binaries"), today=today,
            reports=str(self.folder / "reports"), trivy_metadata=str(self.folder / "metadata.json"), policy=policy,
            snapshot=snapshot, out=str(self.folder / "out"),
        )  # fmt: skip
        gate.main(params)
        verdict: dict[str, Any] = json.loads((self.folder / "out" / "verdict.json").read_text())
        return verdict

    def findings(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((self.folder / "out" / "scan.json").read_text())["findings"]
        return found

    def worsen(self, severity: str, scanner: str = "grype", package: str = UUID) -> None:
        """Let one scanner rate the findings in one package differently, in every binary."""
        changed = report(scanner)
        if scanner == "grype":
            for match in changed["matches"]:
                if match["artifact"]["name"] == package:
                    match["vulnerability"]["severity"] = severity.title()
        else:
            for found in changed["Results"][0]["Vulnerabilities"]:
                if found["PkgName"] == package:
                    found["Severity"] = severity.upper()
        for name in (AMD64, ARM64):
            self.put(name, scanner, changed)


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    return Scan(tmp_path)


def test_real_reports_of_both_scanners_become_one_finding_each(scan: Scan) -> None:
    verdict = scan.judge(ENTRY)
    assert (verdict["open"], verdict["reasons"], verdict["warnings"]) == (True, [], [])
    found = scan.findings()
    assert [(f["id"], f["package"], f["severity"], f["status"]) for f in found] == [
        ("EXAMPLE-2026-0002", TOML, "high", "accepted"),
        ("EXAMPLE-2026-0001", UUID, "medium", "below the threshold"),
    ]
    assert found[0]["artifacts"] == [AMD64, ARM64]
    assert found[0]["ratings"] == {"grype": "high", "trivy": "high"}
    assert found[0]["entry"]["reason"] == "not reachable"
    assert found[0]["version"] == "2.4.3"


def test_a_high_finding_closes_the_gate(scan: Scan) -> None:
    verdict = scan.judge()
    assert not verdict["open"]
    assert verdict["reasons"] == [f"high: EXAMPLE-2026-0002 in {TOML} 2.4.3 (fixed in 2.4.4; in {AMD64}, {ARM64})"]


def test_a_critical_finding_cannot_be_accepted(scan: Scan) -> None:
    scan.worsen("critical", package=TOML)
    assert not scan.judge(ENTRY)["open"]
    assert scan.findings()[0]["entry"] is None


@pytest.mark.parametrize("scanner", ["grype", "trivy"])
def test_the_worst_rating_counts_and_both_are_shown(scan: Scan, scanner: str) -> None:
    scan.worsen("critical", scanner)
    assert not scan.judge(ENTRY)["open"]
    other = {"grype": "trivy", "trivy": "grype"}[scanner]
    assert scan.findings()[0]["ratings"] == {scanner: "critical", other: "medium"}


@pytest.mark.parametrize(("today", "opened"), [("2026-12-31", True), ("2027-01-01", False)])
def test_an_entry_counts_until_the_end_of_its_last_day(scan: Scan, today: str, opened: bool) -> None:
    scan.ages = {"grype": 365, "trivy": 365}
    verdict = scan.judge(ENTRY, today=today)
    assert verdict["open"] is opened
    assert verdict["warnings"] == (
        [] if opened else [f"the policy's entry for EXAMPLE-2026-0002 in {TOML} (Us) expired on 2026-12-31"]
    )


def test_a_valid_entry_goes_before_an_expired_one(scan: Scan) -> None:
    assert scan.judge({**ENTRY, "expires": "2020-01-01"}, ENTRY)["open"]


def test_an_unused_entry_is_reported(scan: Scan) -> None:
    verdict = scan.judge(ENTRY, {**ENTRY, "id": "CVE-1999-1"}, {**ENTRY, "package": "other", "expires": "2020-01-01"})
    assert verdict["open"]
    unused, expired = verdict["warnings"]
    assert unused == f"the policy's entry for CVE-1999-1 in {TOML} (Us) is about nothing that was found; remove it"
    assert expired.startswith(
        "the policy's entry for EXAMPLE-2026-0002 in other (Us) expired on 2020-01-01, and nothing"
    )


@pytest.mark.parametrize("limits", [{"variants": ["standard"]}, {"targets": ["linux/amd64"]}])
def test_an_entry_for_one_binary_leaves_the_other_one_failing(scan: Scan, limits: dict[str, Any]) -> None:
    assert not scan.judge({**ENTRY, **limits})["open"]
    high = [(f["status"], f["artifacts"]) for f in scan.findings() if f["severity"] == "high"]
    assert high == [("accepted", [AMD64]), ("fails", [ARM64])]


def test_what_nothing_fixes_may_pass_when_the_policy_says_so(scan: Scan) -> None:
    for scanner in gate.SCANNERS:
        changed = json.loads(json.dumps(report(scanner)).replace("2.4.4", ""))
        for match in changed.get("matches", []):
            match["vulnerability"]["fix"] = {"versions": [], "state": "not-fixed"}
        for name in (AMD64, ARM64):
            scan.put(name, scanner, changed)
    assert not scan.judge()["open"]
    scan.gate["only_fixable"] = True
    assert scan.judge()["open"]
    assert {f["status"] for f in scan.findings() if f["severity"] == "high"} == {"not fixable"}


STALE = [
    ("grype", "2026-11-26", "grype: its database of 2026-11-20 is older than 5 days"),
    ("trivy", "2026-11-26", "trivy: its database of 2026-11-20 is older than 5 days"),
    ("trivy", "2026-11-19", "trivy: its database says it was built on 2026-11-20, which is yet to come"),
]


@pytest.mark.parametrize(("scanner", "today", "reason"), STALE)
def test_a_stale_database_closes_a_release_and_warns_in_a_snapshot(
    scan: Scan, scanner: str, today: str, reason: str
) -> None:
    assert scan.judge(ENTRY, today="2026-11-25")["open"]
    verdict = scan.judge(ENTRY, today=today)
    assert not verdict["open"]
    assert reason in verdict["reasons"]
    verdict = scan.judge(ENTRY, today=today, snapshot=True)
    assert verdict["open"]
    assert reason in verdict["warnings"]
    assert reason in json.loads((scan.folder / "out" / "scan.json").read_text())["gaps"]


def _no_report(scan: Scan) -> None:
    (scan.at(ARM64, "grype") / "grype.json").unlink()


def _failed(scan: Scan) -> None:
    (scan.at(ARM64, "trivy") / "exit-code").write_text("1\n")


def _not_recognised(scan: Scan) -> None:
    scan.put(ARM64, "trivy", {**report("trivy"), "Results": []})


def _empty(scan: Scan) -> None:
    (scan.at(ARM64, "grype") / "grype.json").write_text("")


def _other_shape(scan: Scan) -> None:
    scan.put(ARM64, "grype", {"matches": [{"artifact": {}}]})


def _no_metadata(scan: Scan) -> None:
    (scan.folder / "metadata.json").unlink()


def _invalid(scan: Scan) -> None:
    changed = report("grype")
    changed["descriptor"]["db"]["status"].update(valid=False, error="checksum mismatch")
    scan.put(ARM64, "grype", changed)


GAPS = [
    (_no_report, f"grype: there is no report about {ARM64}"),
    (_failed, f"trivy: it failed on {ARM64} with exit code 1"),
    (_not_recognised, f"trivy: it did not recognise {ARM64} as a Go program"),
    (_empty, f"grype: its report about {ARM64} cannot be read: "),
    (_other_shape, f"grype: its report about {ARM64} cannot be read: "),
    (_no_metadata, "trivy: the age of its database is not known (built 'at an unknown time')"),
    (_invalid, f"grype: its database is not valid ({ARM64}): checksum mismatch"),
]


@pytest.mark.parametrize(("spoil", "reason"), GAPS, ids=[spoil.__name__ for spoil, _ in GAPS])
def test_a_scan_that_proves_nothing_closes_the_gate(scan: Scan, spoil: Any, reason: str) -> None:
    spoil(scan)
    verdict = scan.judge(ENTRY)
    assert not verdict["open"]
    assert any(text.startswith(reason) for text in verdict["reasons"])
    assert scan.judge(ENTRY, snapshot=True)["open"]


def test_a_snapshot_with_a_critical_finding_stays_closed(scan: Scan) -> None:
    scan.worsen("critical")
    assert not scan.judge(ENTRY, snapshot=True)["open"]


def test_the_day_changes_nothing_but_what_it_decides(scan: Scan) -> None:
    scan.judge(ENTRY, today="2026-11-21")
    before = [(scan.folder / "out" / name).read_bytes() for name in ("scan.json", "verdict.json")]
    scan.judge(ENTRY, today="2026-11-24")
    assert before == [(scan.folder / "out" / name).read_bytes() for name in ("scan.json", "verdict.json")]


def test_without_a_date_nothing_is_judged(scan: Scan) -> None:
    with pytest.raises(Problem, match="is not a date"):
        scan.judge(today="")


def seen(scanner: str, *ids: str, package: str = "p", version: str = "1", severity: str = "low") -> dict[str, Any]:
    return {
        "ids": list(ids), "severity": severity, "package": package, "version": version, "purl": "", "title": "",
        "fixed_in": [], "url": "", "scanner": scanner, "artifact": AMD64,
    }  # fmt: skip


def test_names_of_one_weakness_join_even_through_a_third() -> None:
    found = [
        seen("grype", "GO-2026-1", "CVE-2026-1"),
        seen("trivy", "GHSA-a"),
        seen("grype", "GHSA-a", "CVE-2026-1", severity="high"),
        seen("trivy", "CVE-2026-2"),
        seen("trivy", "CVE-2026-1", package="other"),
        seen("trivy", "CVE-2026-1", version="2"),
    ]
    for order in (found, found[::-1]):
        merged = {(f["id"], f["package"], f["version"]): f for f in gate.merge(order)}
        assert len(merged) == 4
        one = merged["CVE-2026-1", "p", "1"]
        assert (one["aliases"], one["severity"]) == (["GHSA-a", "GO-2026-1"], "high")
        assert one["ratings"] == {"grype": "high", "trivy": "low"}


@pytest.mark.parametrize(
    ("written", "plain"),
    [("v1.2.3", "1.2.3"), ("1.2.3", "1.2.3"), ("go1.26.8", "1.26.8"), ("version-x", "version-x"), ("", "")],
)
def test_versions_are_compared_as_numbers(written: str, plain: str) -> None:
    assert gate.plain_version(written) == plain


def test_an_unknown_rating_of_grype_takes_that_of_a_related_name() -> None:
    changed = report("grype")
    match = changed["matches"][0]
    match["vulnerability"]["severity"] = "Unknown"
    match["relatedVulnerabilities"] = [{"id": "CVE-2026-7", "severity": "Critical"}]
    first = next(iter(gate.from_grype(changed)))
    assert (first["severity"], "CVE-2026-7" in first["ids"]) == ("critical", True)


def test_the_approval_names_bytes_and_no_dates(scan: Scan) -> None:
    approval = approve.approve(scan.judge(ENTRY))
    expected = [{"name": n, "sha256": sha256_of(scan.folder / "binaries" / n)} for n in (AMD64, ARM64)]
    assert approval == {"schema": approve.SCHEMA, "approved": expected}
    assert approval == approve.approve(scan.judge(ENTRY, today="2026-11-25"))


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        ({"open": False, "reasons": ["one", "two"]}, "the gate is closed: one\nthe gate is closed: two"),
        ({"open": "yes", "artifacts": [{}]}, "does not say that the gate is open"),
        ({}, "does not say that the gate is open"),
        ({"open": True, "artifacts": []}, "about nothing"),
    ],
)
def test_nothing_passes_a_closed_gate(verdict: dict[str, Any], reason: str) -> None:
    with pytest.raises(Problem, match=reason):
        approve.approve(verdict)
