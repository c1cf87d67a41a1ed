"""The index of a release: complete, the same every time, and covered by checksums that GNU tools read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.programs import document
from pipeline.programs.common import Problem, sha256_of
from pipeline.programs.scan.scan_documents import Approval, Approved
from pipeline.programs.sign import index
from pipeline.programs.sign.index import Parameters
from pipeline.programs.sign.release_index import AboutImage, AboutKey, Described, ReleaseIndex
from pipeline.programs.verify import verify
from tests.documents import example_index

BINARY = "weed-3.68-linux-amd64"
FINDING = {
    "id": "CVE-2026-1", "severity": "high", "package": "a|b", "version": "1", "fixed_in": ["2"], "reachable": "no",
    "status": "ignored",
}  # fmt: skip
PROOF = {
    "subject": {"name": BINARY}, "build": {"toolchain": "go1.26.8"}, "linking": {"interpreter": None},
    "fips": {"module": "go", "certificate": "CMVP 5247"},
}  # fmt: skip


@pytest.fixture
def params(tmp_path: Path) -> Parameters:
    """Four artifacts in a folder, and their descriptions in no order."""
    folder = tmp_path / "artifacts"
    folder.mkdir()
    (folder / BINARY).write_bytes(b"binary")
    (folder / f"{BINARY}.proof.json").write_text(json.dumps(PROOF))
    (folder / "weed.scan.json").write_text(json.dumps({"findings": [FINDING], "gaps": []}))
    described = [
        Described("weed.scan.json", "scan-report", "application/json", subject="", step="s2"),
        Described(BINARY, "binary", "application/x-executable", "linux/amd64"),
        Described(f"{BINARY}.proof.json", "proof", "application/json", subject=BINARY),
    ]
    image = AboutImage("rpm", "d", "rpm", "sha256:1", "", resolved=False, stands_in_for="oraclelinux:8", layers=())
    return Parameters(
        release=replace(example_index(), images=(image,)),
        described=tuple(described),
        artifacts_dir=folder,
        approval=_approve(tmp_path, folder / BINARY),
        out=tmp_path / "out",
    )


def _approve(tmp_path: Path, binary: Path) -> Path:
    path = tmp_path / "approval.json"
    document.write(path, Approval((Approved(BINARY, sha256_of(binary)),)))
    return path


def release(params: Parameters) -> ReleaseIndex:
    return document.load(ReleaseIndex, params.out / "release.json")


def telling(params: Parameters, **more: Any) -> Parameters:
    return replace(params, release=replace(params.release, **more))


def test_a_proof_that_is_about_no_binary_is_indexed_and_in_no_table(params: Parameters) -> None:
    name = "openssl-fips.json"
    (params.artifacts_dir / name).write_text("{}")
    index.main(replace(params, described=(*params.described, Described(name, "proof", "application/json"))))
    assert name in {entry.name for entry in release(params).artifacts}
    assert (params.out / "release-notes.md").read_text().count("CMVP 5247") == 1


def test_everything_is_covered_and_checks_out(params: Parameters) -> None:
    index.main(params)
    out, folder = params.out, params.artifacts_dir
    names = [entry.name for entry in release(params).artifacts]
    assert names == sorted([BINARY, f"{BINARY}.proof.json", "release-notes.md", "weed.scan.json"])
    lines = (out / "SHA256SUMS").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == sorted([*names, "release.json"])
    for path in out.iterdir():
        path.rename(folder / path.name)
    assert verify.verify(verify.Parameters(str(folder), unsigned=True)).problems == ()


def test_what_may_be_absent_is_named_only_where_it_is_there(params: Parameters) -> None:
    vex = Described("openvex.json", "vex", "application/json", optional=True)
    optional = replace(params, described=(*params.described, vex))
    index.main(optional)
    assert "openvex.json" not in [entry.name for entry in release(params).artifacts]
    with pytest.raises(Problem, match=r"openvex\.json is described, but is not in the release"):
        index.main(replace(params, described=(*params.described, replace(vex, optional=False))))
    (params.artifacts_dir / "openvex.json").write_text("{}")
    index.main(optional)
    (found,) = [entry for entry in release(params).artifacts if entry.name == "openvex.json"]
    assert set(document.plain(found)) == {"name", "kind", "media_type", "size", "sha256"}


def test_empty_values_are_left_out(params: Parameters) -> None:
    index.main(params)
    scan = next(entry for entry in release(params).artifacts if entry.name == "weed.scan.json")
    assert set(document.plain(scan)) == {"name", "kind", "media_type", "step", "size", "sha256"}


def test_the_order_of_descriptions_changes_nothing(params: Parameters, tmp_path: Path) -> None:
    index.main(params)
    again = replace(params, described=params.described[::-1], out=tmp_path / "again")
    index.main(again)
    for name in ("release.json", "release-notes.md", "SHA256SUMS", "SHA512SUMS"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_the_notes_say_what_a_reader_needs(params: Parameters) -> None:
    index.main(telling(params, signing=AboutKey(True, "ABCD"), snapshot=True))
    notes = (params.out / "release-notes.md").read_text()
    digest = sha256_of(params.artifacts_dir / BINARY)
    for text in (
        "# Weed 3.68", "snapshot", "`a9cd9b0`, 2024-06-10T04:10:46Z", digest, "`ABCD`", "development key",
        f"| {BINARY} | go1.26.8 | static | go | CMVP 5247 |", "| rpm | oraclelinux:8 | sha256:1 |",
        "| CVE-2026-1 | high | a\\|b | 1 | 2 | no | ignored |", "sha256sum --check --strict SHA256SUMS",
    ):  # fmt: skip
        assert text in notes


def test_the_notes_say_which_scanner_looked_at_which_day_and_what_closes_the_gate(params: Parameters) -> None:
    scanners = [{"name": "grype", "version": "1", "database": {"built": "2026-08-21T20:38:00Z"}}]
    report = {"findings": [FINDING], "gaps": [], "scanners": scanners, "policy": {"severities": ["critical", "high"]}}
    (params.artifacts_dir / "weed.scan.json").write_text(json.dumps(report))
    index.main(params)
    notes = (params.out / "release-notes.md").read_text()
    assert "\n\n- grype 1, database of 2026-08-21T20:38:00Z\n\nThe policy closes the gate" in notes
    assert "for a finding that is critical, high, unless it accepts that one.\n\n| Vulnerability |" in notes


def test_the_notes_say_of_a_directory_that_nobody_checked_its_commit(params: Parameters) -> None:
    about = replace(params.release.source, url="", tree="git-tree:0a1b")
    for verified, dirty in ((True, False), (False, False), (False, True)):
        index.main(telling(params, source=replace(about, verified=verified, dirty=dirty)))
        notes = (params.out / "release-notes.md").read_text()
        assert ("its commit was not checked" in notes) == (not verified and not dirty)
        assert ("`0a1b`, with what `git rev-parse a9cd9b0^{tree}` prints" in notes) == (not verified and not dirty)


def test_the_notes_warn_of_a_fips_module_of_which_no_certificate_is_known(params: Parameters) -> None:
    for fips, warned in ((PROOF["fips"], False), ({"module": "boringcrypto", "certificate": ""}, True), (None, False)):
        proof = params.artifacts_dir / f"{BINARY}.proof.json"
        proof.write_text(json.dumps({**PROOF, "fips": fips}))
        index.main(params)
        notes = (params.out / "release-notes.md").read_text()
        assert (f"**No certificate is known for the FIPS module of {BINARY}.**" in notes) == warned


def exposed(params: Parameters, *packages: str) -> str:
    """Return the notes of a release whose two services are in `packages`, one name or several for each."""
    names = ("weed-a@.service", "weed-b@.service")
    units = [
        {"unit": unit, "exposure": 1.2, "verdict": "accepted", "packages": of.split(), "exposed": []}
        for unit, of in zip(names, packages, strict=True)
    ]
    content = {"systemd": "252", "limit": 1.3, "units": units}
    (params.artifacts_dir / "exposure.json").write_text(json.dumps(content))
    described = Described("exposure.json", "exposure", "application/json")
    index.main(replace(params, described=(*params.described, described)))
    return (params.out / "release-notes.md").read_text()


def test_the_notes_have_a_table_of_how_exposed_services_are(params: Parameters) -> None:
    notes = exposed(params, "ol8 ol9", "ol8 ol9")
    assert "| Unit | Exposure | At most | Verdict |\n" in notes
    assert "| `weed-a@.service` | 1.2 | 1.3 | accepted |\n| `weed-b@.service` | 1.2 |" in notes
    assert "of systemd 252 computes it" in notes


def test_the_notes_say_which_package_has_which_unit_where_they_differ(params: Parameters) -> None:
    notes = exposed(params, "ol8 ol9", "ol8")
    assert "| Unit | Exposure | At most | Verdict | In the packages for |\n" in notes
    assert "| `weed-a@.service` | 1.2 | 1.3 | accepted | ol8, ol9 |\n" in notes
    assert "| `weed-b@.service` | 1.2 | 1.3 | accepted | ol8 |\n" in notes


def test_a_plain_release_says_nothing_of_snapshots_and_fips(params: Parameters) -> None:
    (params.artifacts_dir / f"{BINARY}.proof.json").write_text(json.dumps({**PROOF, "fips": None}))
    (params.artifacts_dir / "weed.scan.json").write_text('{"findings": [], "gaps": []}')
    index.main(telling(params, images=()))
    notes = (params.out / "release-notes.md").read_text()
    assert f"| {BINARY} | go1.26.8 | static | none | - |" in notes
    assert "The scanners found none." in notes
    assert "snapshot" not in notes
    assert "Stand-ins" not in notes
    assert "Exposure" not in notes


def test_the_notes_say_who_accepts_a_finding_and_until_when(params: Parameters) -> None:
    entry = {"owner": "Us <us@example.org>", "expires": "2026-12-31", "reason": "not called"}
    report = {"findings": [{**FINDING, "entry": entry}, {**FINDING, "id": "CVE-2026-2", "entry": None}], "gaps": []}
    (params.artifacts_dir / "weed.scan.json").write_text(json.dumps(report))
    index.main(params)
    notes = (params.out / "release-notes.md").read_text()
    accepted = [line for line in notes.splitlines() if "accepted by" in line]
    assert len(accepted) == 1
    assert accepted[0].startswith("- CVE-2026-1 in ")
    assert accepted[0].endswith(": accepted by Us <us@example.org> until 2026-12-31: not called")


def test_the_notes_list_the_packages_to_install(params: Parameters) -> None:
    index.main(params)
    assert "## Packages" not in (params.out / "release-notes.md").read_text()
    packages = (
        Described("weed-3.68-1.el9.x86_64.rpm", "package", "application/x-rpm", "linux/amd64"),
        Described("weed-selinux-3.68-1.el9.noarch.rpm", "package", "application/x-rpm"),
    )
    for package in packages:
        (params.artifacts_dir / package.name).write_text(package.name)
    index.main(replace(params, described=(*params.described, *packages)))
    notes = (params.out / "release-notes.md").read_text()
    assert "Install an RPM and its `-selinux` RPM in one command." in notes
    assert "| `weed-3.68-1.el9.x86_64.rpm` | linux/amd64 | any |" in notes
    assert "| `weed-selinux-3.68-1.el9.noarch.rpm` | any | any |" in notes


@pytest.mark.parametrize("findings", [[], [FINDING]])
def test_the_notes_name_what_the_scan_does_not_prove_and_never_say_none_then(
    params: Parameters, findings: list[dict[str, Any]]
) -> None:
    gaps = ["grype: it has no database: its feed\nfailed", "trivy: its database of 2026-01-01 is older than 5 days"]
    (params.artifacts_dir / "weed.scan.json").write_text(json.dumps({"findings": findings, "gaps": gaps}))
    index.main(params)
    notes = (params.out / "release-notes.md").read_text()
    assert "The scan is not complete" in notes
    assert "- grype: it has no database: its feed failed\n- trivy: its database of 2026-01-01 is older" in notes
    assert "found none" not in notes
    assert ("| CVE-2026-1 |" in notes) == bool(findings)


def test_what_does_not_fit_is_listed_whole(params: Parameters) -> None:
    folder = params.artifacts_dir
    (folder / "surprise").write_bytes(b"")
    (folder / "weed.scan.json").unlink()
    with pytest.raises(Problem) as problem:
        index.main(replace(params, described=(*params.described, params.described[1])))
    assert problem.value.lines == (
        f"{BINARY} is described twice",
        "surprise is in the release, but nothing describes it",
        "weed.scan.json is described, but is not in the release",
    )
    assert not params.out.exists()


@pytest.mark.parametrize("name", ["SHA256SUMS", "release.json", "a b", "-x", "x.asc", "line\nbreak", "signing-key.asc"])
def test_names_that_would_confuse_a_checker_are_refused(params: Parameters, name: str) -> None:
    (params.artifacts_dir / name).write_bytes(b"")
    with pytest.raises(Problem, match="not a name that an artifact may have"):
        index.main(replace(params, described=(*params.described, Described(name, "notice", "text/plain"))))


def test_links_and_folders_are_no_artifacts(params: Parameters) -> None:
    folder = params.artifacts_dir
    (folder / "link").symlink_to(BINARY)
    (folder / "folder").mkdir()
    more = [Described(name, "notice", "text/plain") for name in ("link", "folder")]
    with pytest.raises(Problem, match="folder is not a plain file\nlink is not a plain file"):
        index.main(replace(params, described=(*params.described, *more)))


def test_a_subject_outside_of_the_release_is_refused(params: Parameters) -> None:
    first, *others = params.described
    with pytest.raises(Problem, match="is about another"):
        index.main(replace(params, described=(replace(first, subject="another"), *others)))


def test_a_binary_that_the_gate_did_not_see_is_refused(params: Parameters) -> None:
    (params.artifacts_dir / BINARY).write_bytes(b"swapped")
    with pytest.raises(Problem, match=f"did not approve this {BINARY}"):
        index.main(params)
