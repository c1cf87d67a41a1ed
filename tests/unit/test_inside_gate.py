"""The gate: merged findings, the policy, and what a scan does not prove. The reports are the scanners' own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.programs import document
from pipeline.programs.common import Params, Problem, sha256_of
from pipeline.programs.scan import approve, gate, scanners
from pipeline.programs.scan.scan_documents import Approval, Approved, Verdict
from tests.documents import check_statement

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
            for scanner in scanners.SCANNERS:
                self.put(name, scanner, report(scanner))
                (self.at(name, scanner) / "exit-code").write_text("0\n")
        (folder / "metadata.json").write_text(json.dumps({"Version": 2, "UpdatedAt": "2026-11-20T06:11:23.123456789Z"}))
        self.gate: dict[str, Any] = {"severities": ["critical", "high"], "only_fixable": False}
        self.ages = {"grype": 5, "trivy": 5, "govulncheck": 30}
        self.reachability = False
        self.missing: dict[str, str] = {}

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
            product="weed", version="1", binaries=binaries, binaries_dir=str(self.folder / "binaries"),
            reports=str(self.folder / "reports"), trivy_metadata=str(self.folder / "metadata.json"), policy=policy,
            snapshot=snapshot, out=str(self.folder / "out"), reachability=self.reachability,
            missing=self.missing,
        )  # fmt: skip
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        with pytest.MonkeyPatch.context() as variables:
            variables.setenv("TODAY", today)
            gate.main(params)
        verdict: dict[str, Any] = json.loads((self.folder / "out" / "verdict.json").read_text())
        return verdict

    def reach(self, *entries: dict[str, Any], binary: str = "", built: str = "2026-11-10T00:00:00Z") -> None:
        """Let govulncheck have found `entries` in the source of one binary, or of both."""
        self.reachability = True
        scanner = {"name": "govulncheck", "version": "1.6.0", "go": "go1.26.8", "database": {"built": built}}
        for name in (AMD64, ARM64) if not binary else (binary,):
            self.put(name, "govulncheck", {"scanner": scanner, "findings": list(entries)})

    def statements(self) -> dict[str, dict[str, Any]]:
        folder = self.folder / "out" / "statements"
        found = {path.name: json.loads(path.read_text()) for path in folder.iterdir()}
        for statement in found.values():
            check_statement(statement)
        return found

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
    assert verdict["reasons"] == [f"high: EXAMPLE-2026-0002 in {TOML} 2.4.3 (fixed in 2.4.4; in all 2 binaries)"]


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
    scan.ages = dict.fromkeys(scan.ages, 365)
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
    assert unused == f"the policy's entry for CVE-1999-1 in {TOML} (Us) matches no finding; remove it"
    assert expired.startswith(
        "the policy's entry for EXAMPLE-2026-0002 in other (Us) expired on 2020-01-01, and matches no"
    )


@pytest.mark.parametrize("limits", [{"variants": ["standard"]}, {"targets": ["linux/amd64"]}])
def test_an_entry_for_one_binary_leaves_the_other_one_failing(scan: Scan, limits: dict[str, Any]) -> None:
    assert not scan.judge({**ENTRY, **limits})["open"]
    high = [(f["status"], f["artifacts"]) for f in scan.findings() if f["severity"] == "high"]
    assert high == [("accepted", [AMD64]), ("fails", [ARM64])]


STATED = {**ENTRY, "source": "vex/toml.json", "reason": "Toml Authors states not_affected", "version": ""}


@pytest.mark.parametrize("about", [{}, {"package": ""}, {"version": "2.0.5"}])
def test_what_another_states_of_the_package_in_that_version_opens_the_gate(scan: Scan, about: dict[str, str]) -> None:
    found = next(f for f in scan_findings(scan) if f["package"] == TOML)
    about = {**about, **({"version": found["version"].removeprefix("v")} if "version" in about else {})}
    assert scan.judge({**STATED, **about})["open"]


@pytest.mark.parametrize("about", [{"version": "0.0.1"}, {"package": UUID}, {"expires": "2026-01-01"}])
def test_what_another_states_of_something_else_or_too_long_ago_does_not(scan: Scan, about: dict[str, str]) -> None:
    verdict = scan.judge({**STATED, **about})
    assert not verdict["open"]
    expired = "the VEX document vex/toml.json of the policy (Us) expired on 2026-01-01"
    assert verdict["warnings"] == ([expired] if "expires" in about else [])


def test_an_entry_of_the_policy_cannot_be_about_every_package(scan: Scan) -> None:
    assert not scan.judge({**ENTRY, "package": ""})["open"]


def scan_findings(scan: Scan) -> list[dict[str, Any]]:
    scan.judge()
    content: dict[str, Any] = json.loads((scan.folder / "out" / "scan.json").read_text())
    findings: list[dict[str, Any]] = content["findings"]
    return findings


def test_what_nothing_fixes_may_pass_when_the_policy_says_so(scan: Scan) -> None:
    for scanner in scanners.SCANNERS:
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
    ("trivy", "2026-11-19", "trivy: its database says it was built on 2026-11-20, which is in the future"),
]


@pytest.mark.parametrize(("scanner", "today", "reason"), STALE)
def test_a_stale_database_closes_a_release_and_warns_in_a_snapshot(
    scan: Scan, scanner: str, today: str, reason: str
) -> None:
    assert scan.judge(ENTRY, today="2026-11-25")["open"]
    verdict = scan.judge(ENTRY, today=today)
    assert not verdict["open"]
    assert reason in verdict["reasons"]
    assert verdict["gaps"] == verdict["reasons"]
    verdict = scan.judge(ENTRY, today=today, snapshot=True)
    assert verdict["open"]
    assert reason in verdict["warnings"]
    assert verdict["gaps"] == verdict["warnings"]
    assert reason in json.loads((scan.folder / "out" / "scan.json").read_text())["gaps"]


def test_a_missing_database_is_one_reason_for_each_scanner_and_a_warning_in_a_snapshot(scan: Scan) -> None:
    scan.missing = {"grype": "its feed failed (no route to host)", "govulncheck": "its feed failed"}
    scan.reachability = True
    reasons = [
        "grype: it has no database: its feed failed (no route to host)",
        "govulncheck: it has no database: its feed failed",
    ]
    verdict = scan.judge(ENTRY)
    assert (verdict["open"], verdict["reasons"]) == (False, reasons)
    unused = {**ENTRY, "id": "EXAMPLE-2026-0009"}
    verdict = scan.judge(ENTRY, unused, snapshot=True)
    assert (verdict["open"], verdict["warnings"]) == (True, reasons), "who did not look cannot say what is unused"
    assert set(scan.statements()) == {f"{name}.trivy.vulns.intoto.json" for name in (AMD64, ARM64)}


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
    with pytest.raises(Problem, match="TODAY is not a date"):
        scan.judge(today="")


def entry(level: str, package: str = TOML, version: str = "v2.4.3", **more: Any) -> dict[str, Any]:
    symbols = [f"{package}.Unmarshal"] if level == "symbol" else []
    return {
        "ids": ["EXAMPLE-2026-0002"], "module": package, "version": version, "level": level, "symbols": symbols,
        "fixed_in": "v2.4.4", "title": "", "url": "", **more,
    }  # fmt: skip


def reached(scan: Scan) -> dict[str, tuple[str, list[str]]]:
    return {f["package"]: (f["reachable"], f["artifacts"]) for f in scan.findings()}


@pytest.mark.parametrize(("level", "expected"), [("module", "no"), ("package", "no"), ("symbol", "yes")])
def test_only_a_way_to_the_weak_code_makes_a_finding_reachable(scan: Scan, level: str, expected: str) -> None:
    scan.reach(entry(level))
    assert not scan.judge()["open"]
    assert reached(scan) == {TOML: (expected, [AMD64, ARM64]), UUID: ("unknown", [AMD64, ARM64])}
    assert scan.findings()[0]["symbols"] == ([f"{TOML}.Unmarshal"] if expected == "yes" else [])


@pytest.mark.parametrize("other", [{"version": "v2.4.2"}, {"package": UUID}, {"ids": ["CVE-1999-1"]}])
def test_what_is_said_of_something_else_says_nothing(scan: Scan, other: dict[str, Any]) -> None:
    scan.reach(entry("package", **other))
    scan.judge(ENTRY)
    assert reached(scan)[TOML][0] == "unknown"


def test_a_finding_that_is_reachable_in_one_binary_only_becomes_two(scan: Scan) -> None:
    scan.reach(entry("package"), binary=ARM64)
    scan.reach(entry("symbol"), binary=AMD64)
    scan.judge(ENTRY)
    high = {(f["reachable"], *f["artifacts"]) for f in scan.findings() if f["package"] == TOML}
    assert high == {("yes", AMD64), ("no", ARM64)}


def test_unreachable_code_passes_only_when_the_policy_says_so_and_never_when_critical(scan: Scan) -> None:
    scan.reach(entry("package"))
    assert not scan.judge()["open"]
    scan.gate["unreachable"] = "accept"
    assert scan.judge()["open"]
    assert scan.findings()[0]["status"] == "not reachable"
    scan.worsen("critical", package=TOML)
    assert not scan.judge()["open"]


@pytest.mark.parametrize("level", ["", "symbol"])
def test_what_may_be_reachable_is_refused_also_by_a_policy_that_accepts_the_rest(scan: Scan, level: str) -> None:
    scan.reach(*([entry(level)] if level else []))
    scan.gate["unreachable"] = "accept"
    assert not scan.judge()["open"]


def test_an_entry_that_govulncheck_refutes_is_reported(scan: Scan) -> None:
    scan.reach(entry("symbol"))
    verdict = scan.judge(ENTRY)
    assert verdict["open"]
    (warning,) = verdict["warnings"]
    assert warning.endswith(
        f"says vulnerable_code_not_in_execute_path, but govulncheck found a call path to {TOML}.Unmarshal"
    )


def test_weak_code_that_only_govulncheck_sees_is_a_finding_when_it_can_be_called(scan: Scan) -> None:
    about: dict[str, Any] = {"package": "example.org/seen", "version": "v1.0.0", "ids": ["CVE-2026-9", "GO-2026-9"]}
    scan.reach(entry("symbol", **about), entry("package", **{**about, "ids": ["GO-2026-8"]}))
    assert scan.judge(ENTRY)["open"]
    (found,) = [f for f in scan.findings() if f["package"] == "example.org/seen"]
    assert (found["id"], found["severity"], found["ratings"]) == ("CVE-2026-9", "unknown", {"govulncheck": "unknown"})
    assert (found["reachable"], found["purl"]) == ("yes", "pkg:golang/example.org/seen@v1.0.0")
    scan.gate["severities"] = ["critical", "high", "unknown"]
    assert not scan.judge(ENTRY)["open"]


def test_reachability_that_was_asked_for_and_is_not_known_closes_the_gate(scan: Scan) -> None:
    scan.reach(entry("package"))
    scan.put(ARM64, "govulncheck", {"failed": "it has no database", "findings": []})
    assert scan.judge(ENTRY)["reasons"] == [f"govulncheck: it failed on the source of {ARM64}: it has no database"]
    (scan.at(ARM64, "govulncheck") / "govulncheck.json").unlink()
    assert scan.judge(ENTRY)["reasons"] == [f"govulncheck: there is no result for {ARM64}"]
    scan.reach(entry("package"), built="2026-10-01T00:00:00Z")
    assert scan.judge(ENTRY)["reasons"] == ["govulncheck: its database of 2026-10-01 is older than 30 days"]
    assert scan.judge(ENTRY, snapshot=True)["open"]


def test_every_scan_of_a_binary_is_stated_with_its_day(scan: Scan) -> None:
    scan.reach(entry("package"))
    scan.judge(ENTRY)
    stated = scan.statements()
    assert set(stated) == {
        f"{name}.{scanner}.vulns.intoto.json" for name in (AMD64, ARM64) for scanner in ("grype", "trivy")
    }
    one = stated[f"{AMD64}.grype.vulns.intoto.json"]
    assert one["subject"] == [{"name": AMD64, "digest": {"sha256": sha256_of(scan.folder / "binaries" / AMD64)}}]
    assert one["predicateType"] == "https://in-toto.io/attestation/vulns/v0.2"
    predicate = one["predicate"]
    assert predicate["metadata"] == {"scanStartedOn": "2026-11-21T00:00:00Z", "scanFinishedOn": "2026-11-21T00:00:00Z"}
    assert predicate["scanner"]["uri"] == "pkg:golang/github.com/anchore/grype@v0.110.0"
    assert predicate["scanner"]["db"]["lastUpdate"].startswith("2026-11-2")
    medium, high = predicate["scanner"]["result"]
    assert (medium["id"], high["id"]) == ("EXAMPLE-2026-0001", "EXAMPLE-2026-0002")
    assert high["severity"] == [{"method": "grype", "score": "high"}, {"method": "cvss_v3.1", "score": "7.5"}]
    (note,) = high["annotations"]
    assert (note["package"], note["version"], note["reachable"], note["gate"]) == (TOML, "2.4.3", "no", "accepted")
    scan.judge(ENTRY, today="2026-11-22")
    assert scan.statements()[f"{AMD64}.grype.vulns.intoto.json"]["predicate"]["metadata"] != predicate["metadata"]


@pytest.mark.parametrize(("spoil", "lost"), [(_failed, {f"{ARM64}.trivy"}), (_no_metadata, {AMD64, ARM64})])
def test_a_scan_that_proves_nothing_states_nothing(scan: Scan, spoil: Any, lost: set[str]) -> None:
    spoil(scan)
    scan.judge(ENTRY, snapshot=True)
    stated = {name.removesuffix(".vulns.intoto.json") for name in scan.statements()}
    every = {f"{name}.{scanner}" for name in (AMD64, ARM64) for scanner in ("grype", "trivy")}
    assert every - stated == {name if "." in name else f"{name}.trivy" for name in lost}


def seen(scanner: str, *ids: str, package: str = "p", version: str = "1", severity: str = "low") -> dict[str, Any]:
    return {
        "ids": list(ids), "severity": severity, "package": package, "version": version, "purl": "", "title": "",
        "fixed_in": [], "url": "", "scores": [], "scanner": scanner, "artifact": AMD64,
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
    assert scanners.plain_version(written) == plain


def test_an_unknown_rating_of_grype_takes_that_of_a_related_name() -> None:
    changed = report("grype")
    match = changed["matches"][0]
    match["vulnerability"]["severity"] = "Unknown"
    match["relatedVulnerabilities"] = [{"id": "CVE-2026-7", "severity": "Critical"}]
    first = next(iter(scanners.from_grype(changed)))
    assert (first["severity"], "CVE-2026-7" in first["ids"]) == ("critical", True)


def test_the_approval_names_bytes_and_no_dates(scan: Scan) -> None:
    approval = approve.approve(verdict(scan.judge(ENTRY)))
    expected = tuple(Approved(n, sha256_of(scan.folder / "binaries" / n)) for n in (AMD64, ARM64))
    assert approval == Approval(expected)
    assert approval == approve.approve(verdict(scan.judge(ENTRY, today="2026-11-25")))


def verdict(content: dict[str, Any]) -> Verdict:
    return document.parse(Verdict, content, "verdict.json")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"open": False, "reasons": ["one", "two"]}, "the gate is closed: one\nthe gate is closed: two"),
        ({"open": "yes"}, "open must be true or false"),
        ({"open": None}, "open must be true or false"),
        ({"open": False}, "if and only if there are no reasons"),
        ({"reasons": ["one"]}, "if and only if there are no reasons"),
        ({"schema": "urn:release-pipeline:scan:v1"}, "schema must be"),
        ({"artifacts": []}, "about nothing"),
    ],
)
def test_nothing_passes_a_closed_gate(scan: Scan, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(Problem, match=reason):
        approve.approve(verdict({**scan.judge(ENTRY), **change}))
