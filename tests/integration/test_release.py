"""The example's release from end to end: everything is there, everything checks out, and the gate really closes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.documents import check_openvex, check_sarif, check_statement
from tests.integration.released import PROJECT, RELEASE, contents, pipeline, succeeded

STATED = "example-1.2.3-linux-amd64.trivy.vulns.intoto.json"
TARGETS = ("linux-amd64", "linux-arm64")
SCANNED = ("grype", "trivy")
SMALL = ("--target", "linux/amd64", "--variant", "standard")
NOWHERE = "http://127.0.0.1:1"
"""A proxy that refuses every connection."""


def test_the_release_holds_everything_the_requirement_names(dist: Path) -> None:
    binaries = [f"example-1.2.3-{target}{suffix}" for target in TARGETS for suffix in ("", "-fips")]
    expected = {"SHA256SUMS", "SHA512SUMS", "release.json", "release-notes.md"}
    expected |= {"scan.json", "scan.sarif", "scan.md", "openvex.json", "exposure.json"}
    for binary in binaries:
        suffixes = ("", ".tar.gz", ".proof.json", ".cdx.json", ".spdx.json", ".NOTICE.txt")
        expected |= {f"{binary}{suffix}" for suffix in suffixes}
        expected |= {f"{binary}.{scanner}.vulns.intoto.json" for scanner in ("grype", "trivy")}
    for name in ("example", "example-fips"):
        expected |= {f"{name}_1.2.3-1~ubuntu22.04.1_{arch}.deb" for arch in ("amd64", "arm64")}
        expected |= {f"{name}-1.2.3-1.{el}.{arch}.rpm" for el in ("el8", "el9") for arch in ("x86_64", "aarch64")}
    expected |= {f"example-selinux-1.2.3-1.{el}.noarch.rpm" for el in ("el8", "el9")}
    packages = {name for name in expected if name.endswith((".deb", ".rpm"))}
    expected |= {f"{package}.{suffix}" for package in packages for suffix in ("cdx.json", "spdx.json")}
    for el in ("el8", "el9"):
        expected |= {f"{name}-1.2.3-1.{el}.nosrc.rpm" for name in ("example", "example-fips")}
        expected.add(f"example-selinux-1.2.3-1.{el}.src.rpm")
    signatures = {f"{name}.asc" for name in expected} | {"SHA256SUMS.gpg"}
    assert {path.name for path in dist.iterdir()} == expected | signatures | {"signing-key.asc"}


def test_every_binary_is_what_its_name_says(dist: Path) -> None:
    for target in TARGETS:
        for suffix, module in (("", None), ("-fips", "boringcrypto")):
            name = f"example-1.2.3-{target}{suffix}"
            said = subprocess.run(["file", "-b", str(dist / name)], capture_output=True, text=True, check=True).stdout
            assert ("x86-64" if "amd64" in target else "aarch64") in said
            assert "statically linked" in said
            proof = json.loads((dist / f"{name}.proof.json").read_text())
            assert (proof["fips"] or {}).get("module") == module
            if module:
                assert "crypto/md5" in proof["fips"]["outside"]
                asked = proof["fips"]["probe"]["algorithms"]
                assert (asked["AES-256-GCM"]["in_module"], asked["MD5"]["in_module"]) == (True, False)
            assert all(claim["expected"] == claim["found"] for claim in proof["claims"])


def test_gos_own_fips_module_refuses_what_is_not_approved(tmp_path: Path) -> None:
    chosen = ("--variant", "fips", "--target", "linux/amd64", "--fips-module", "go", "--dist", str(tmp_path))
    succeeded(pipeline("build", *RELEASE[1:], *chosen))
    fips = json.loads((tmp_path / "1.2.3-build" / "example-1.2.3-linux-amd64-fips.proof.json").read_text())["fips"]
    assert (fips["module"], fips["certificate"], fips["probe"]["version"]) == ("go", "CMVP 5247", "v1.0.0")
    for name, found in fips["probe"]["algorithms"].items():
        assert found["in_module"] != found["refuses"].startswith("fips140=only: crypto/"), name
    assert "crypto/sha1" in fips["outside"]


def test_the_native_binary_runs_and_names_its_version_and_commit(dist: Path) -> None:
    done = subprocess.run(
        [str(dist / "example-1.2.3-linux-amd64"), "version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"version 30GB 1.2.3 {'1' * 40} linux amd64\n"


def test_the_index_follows_its_schema(dist: Path, follows: Callable[[Path, str], None]) -> None:
    follows(dist / "release.json", "release")


def test_the_index_names_every_artifact_and_the_step_that_made_it(dist: Path) -> None:
    release = json.loads((dist / "release.json").read_text())
    assert release["source"]["commit"] == "1" * 40
    for artifact in release["artifacts"]:
        assert (dist / artifact["name"]).stat().st_size == artifact["size"]
        if artifact["kind"] != "notes":
            assert artifact["step"].startswith("sha256:")
    assert all(image["content"].startswith("sha256:") for image in release["images"])
    stand_ins = {image["name"]: image["stands_in_for"] for image in release["images"] if image["stands_in_for"]}
    assert stand_ins == {
        "deb-ubuntu22.04": "ubuntu:22.04", "rpm-ol8": "oraclelinux:8", "rpm-ol9": "oraclelinux:9",
    }  # fmt: skip


def test_the_release_says_that_its_key_is_not_for_shipping(dist: Path) -> None:
    said = succeeded(pipeline("verify", str(dist)))
    signing = json.loads((dist / "release.json").read_text())["signing"]
    assert signing["development"] is True
    assert f"signed by {signing['fingerprint']}" in said
    assert "development key" in said
    notes = (dist / "release-notes.md").read_text()
    assert f"`{signing['fingerprint']}`" in notes
    assert "**This release is signed with a development key. It is not for shipping.**" in notes


def test_a_key_that_is_for_shipping_changes_only_the_index_and_the_notes(dist: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.asc"
    succeeded(pipeline("keygen", "--identity", "Releases <releases@example.org>", "--output", str(key)))
    succeeded(pipeline(*RELEASE, "--signing-key", str(key), "--dist", str(tmp_path / "dist")))
    made = tmp_path / "dist" / "1.2.3"
    signing = json.loads((made / "release.json").read_text())["signing"]
    assert signing["development"] is False
    assert "development" not in (made / "release-notes.md").read_text()
    assert "development" not in succeeded(pipeline("verify", str(made), "--fingerprint", signing["fingerprint"]))
    before, after = contents(dist), contents(made)
    changed = {name for name in before if before[name] != after[name] and not name.endswith(".rpm")}
    assert changed == {"SHA256SUMS", "SHA512SUMS", "release-notes.md", "release.json"}


def test_the_release_verifies_with_plain_tools(dist: Path, tmp_path: Path) -> None:
    checked = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=dist, check=False)
    assert checked.returncode == 0
    env = {"GNUPGHOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    subprocess.run(["gpg", "--quiet", "--import", str(dist / "signing-key.asc")], env=env, check=True)
    for signature in sorted(dist.glob("*.asc")):
        if signature.name != "signing-key.asc":
            file = signature.with_suffix("")
            argv = ["gpg", "--quiet", "--verify", str(signature), str(file)]
            assert subprocess.run(argv, env=env, capture_output=True, check=False).returncode == 0, file
    subprocess.run(["gpgconf", "--kill", "all"], env=env, check=False)


def _change(release: Path) -> None:
    binary = release / "example-1.2.3-linux-amd64"
    binary.write_bytes(binary.read_bytes()[:-1] + b"x")


def _restate(release: Path) -> None:
    """Put another binary's statement, with its good signature, in the place of one."""
    for suffix in ("", ".asc"):
        other = release / f"example-1.2.3-linux-arm64.grype.vulns.intoto.json{suffix}"
        shutil.copy(other, release / f"example-1.2.3-linux-amd64.grype.vulns.intoto.json{suffix}")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a changed byte": _change,
    "a missing file": lambda release: (release / "scan.json").unlink(),
    "an extra file": lambda release: (release / "backdoor").write_text("x"),
    "a missing signature": lambda release: (release / "release.json.asc").unlink(),
    "a missing statement": lambda release: (release / STATED).unlink(),
    "an unsigned statement": lambda release: (release / f"{STATED}.asc").unlink(),
    "a changed statement": lambda release: (release / STATED).write_text((release / STATED).read_text() + " "),
    "another binary's statement": _restate,
    "another file's signature": lambda release: shutil.copy(release / "scan.md.asc", release / "release.json.asc"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_verify_notices(dist: Path, tmp_path: Path, damage: str) -> None:
    copy = tmp_path / "1.2.3"
    shutil.copytree(dist, copy)
    DAMAGES[damage](copy)
    done = pipeline("verify", str(copy))
    assert done.returncode == 10
    assert "does not check out" in done.stderr
    assert "What to do" in done.stderr


def test_verify_accepts_what_is_whole_and_refuses_another_key(dist: Path) -> None:
    assert "signed by" in succeeded(pipeline("verify", str(dist)))
    done = pipeline("verify", str(dist), "--fingerprint", "A" * 40)
    assert done.returncode == 10
    assert "not by" in done.stderr


def test_a_second_run_finds_everything_in_the_store(dist: Path, tmp_path: Path) -> None:
    done = pipeline(*RELEASE, "--dist", str(tmp_path))
    succeeded(done)
    ran = [line for line in done.stderr.splitlines() if "✓" in line]
    assert [line.split("✓")[1].split("  ")[0].strip() for line in ran] == ["inspect the signing key"]
    assert {p.name: p.read_bytes() for p in (tmp_path / "1.2.3").iterdir()} == {
        p.name: p.read_bytes() for p in dist.iterdir()
    }


def test_the_index_names_the_very_steps_whose_results_the_release_is_made_of(dist: Path) -> None:
    index = json.loads((dist / "release.json").read_text())
    named = {each["step"]: each["step_title"] for each in index["artifacts"] if each["kind"] != "notes"}
    planned = json.loads(succeeded(pipeline("plan", *RELEASE[1:], "--json")))
    assert not any(row["state"] == "will run" for row in planned)  # a full store may have lost what is not needed
    assert named.items() <= {row["digest"]: row["title"] for row in planned}.items()
    layers = {layer["step"] for image in index["images"] for layer in image["layers"]}
    assert layers <= {row["digest"] for row in planned}


@pytest.mark.usefixtures("dist")
def test_a_planted_critical_vulnerability_closes_the_gate(tmp_path: Path) -> None:
    planted = json.loads((PROJECT / "packaging/products/example/advisories/EXAMPLE-2026-0001.json").read_text())
    planted["id"] = "EXAMPLE-2026-9999"
    planted["severity"] = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H"}]
    package = planted["affected"][0]["package"]["name"]
    advisories = tmp_path / "advisories"
    advisories.mkdir()
    (advisories / "planted.json").write_text(json.dumps(planted))
    shutil.copy(PROJECT / "tests/data/advisories/stdlib/EXAMPLE-2026-0040.json", advisories)
    fips = ("--target", "linux/amd64", "--variant", "fips")
    done = pipeline(*RELEASE, *fips, "--advisories", str(advisories), "--dist", str(tmp_path / "dist"))
    assert done.returncode == 8
    assert "EXAMPLE-2026-9999" in done.stderr
    assert not (tmp_path / "dist" / "1.2.3").exists()
    report = json.loads((tmp_path / "dist" / "1.2.3-rejected" / "scan.json").read_text())
    found = {finding["package"]: set(finding["ratings"]) for finding in report["findings"]}
    both = {"grype", "trivy"}
    assert found == {package: both, "stdlib": both}, "Go's own library is seen in FIPS binaries, too"


@pytest.mark.usefixtures("dist")
@pytest.mark.parametrize("folders", [("grype", "trivy"), ()], ids=["empty", "absent"])
def test_a_missing_database_closes_the_gate_and_is_recorded_in_a_snapshot(
    tmp_path: Path, folders: tuple[str, ...]
) -> None:
    for name in ("", *folders):
        (tmp_path / "db" / name).mkdir(parents=True, exist_ok=True)
    where = ("--scan-db", str(tmp_path / "db"), "--dist", str(tmp_path / "dist"))
    gaps = [f"{name}: it has no database: the folder of --scan-db has nothing in {name}/" for name in SCANNED]
    closed(pipeline(*RELEASE, *where), gaps)
    recorded(pipeline(*RELEASE, *where, "--snapshot"), gaps, tmp_path / "dist" / "1.2.3")


@pytest.mark.usefixtures("dist")
def test_a_feed_that_cannot_be_reached_closes_the_gate_and_is_recorded_in_a_snapshot(tmp_path: Path) -> None:
    project = project_with(tmp_path, 'database = "advisories"', 'database = "feed"')
    where = (*RELEASE, "--dist", str(tmp_path / "dist"))
    nowhere = partial(pipeline, *where, HTTPS_PROXY=NOWHERE, https_proxy=NOWHERE, NO_PROXY="", no_proxy="")
    run = partial(nowhere, PIPELINE_PROJECT=str(project))
    gaps = [
        f'{name}: it has no database: step "{name} database from its feed" failed with exit code 1 ('
        for name in (*SCANNED, "govulncheck")
    ]
    closed(done := run(), gaps)
    reasons = [line for line in done.stderr.splitlines() if line.startswith("  ") and "it has no database" in line]
    assert len(reasons) == len(gaps)
    assert all("refused" in reason and "the next run tries again" in reason for reason in reasons)
    logs = [line.partition("; log: ")[2] for line in done.stderr.splitlines() if "; log: " in line]
    assert len(logs) == len(gaps)
    assert all("refused" in Path(log).read_text() for log in logs)
    recorded(snapshot := run("--snapshot"), gaps, tmp_path / "dist" / "1.2.3")
    assert snapshot.stderr.count("✗") == len(gaps), "a failed download is tried again by the next run"


def closed(done: subprocess.CompletedProcess[str], gaps: list[str]) -> None:
    """Check that a release ended at the gate, for these gaps."""
    assert done.returncode == 8, done.stderr[-6000:]
    assert "the gate is closed" in done.stderr
    assert [gap for gap in gaps if f"  {gap}" not in done.stderr] == []


def recorded(done: subprocess.CompletedProcess[str], gaps: list[str], release: Path) -> None:
    """Check that a snapshot was made that tells of these gaps wherever somebody may look."""
    succeeded(done)
    notes = (release / "release-notes.md").read_text()
    found = json.loads((release / "scan.json").read_text())["gaps"]
    for gap in gaps:
        assert f"gate: {gap}" in done.stderr
        assert f"- {gap}" in notes
        assert f"- {gap}" in (release / "scan.md").read_text()
        assert any(text.startswith(gap) for text in found)
    assert "found none" not in notes
    assert json.loads((release / "release.json").read_text())["snapshot"] is True
    succeeded(pipeline("verify", str(release)))


def project_with(tmp_path: Path, old: str, new: str) -> Path:
    """Return a copy of what this project knows of its products, with another text in the example's."""
    shutil.copytree(PROJECT / "packaging", tmp_path / "project" / "packaging")
    (tmp_path / "project" / "examples").symlink_to(PROJECT / "examples")
    product = tmp_path / "project/packaging/products/example/product.toml"
    assert old in product.read_text()
    product.write_text(product.read_text().replace(old, new))
    return tmp_path / "project"


@pytest.mark.usefixtures("dist")
def test_a_high_finding_is_let_through_only_by_the_policy(tmp_path: Path) -> None:
    policy = (PROJECT / "packaging/products/example/policy.toml").read_text()
    strict = tmp_path / "policy.toml"
    strict.write_text(policy.partition("[[ignore]]")[0])
    done = pipeline(*RELEASE, "--policy", str(strict), "--dist", str(tmp_path / "dist"))
    assert done.returncode == 8
    assert "EXAMPLE-2026-0002" in done.stderr


def test_a_high_finding_is_let_through_by_what_its_authors_state_if_the_policy_believes_them(
    dist: Path, tmp_path: Path
) -> None:
    before = json.loads((dist / "scan.json").read_text())
    found = next(each for each in before["findings"] if each["id"] == "EXAMPLE-2026-0002")
    stated = {
        "vulnerability": {"name": "EXAMPLE-2026-0002"},
        "products": [{"@id": found["purl"]}],
        "status": "not_affected",
        "justification": "vulnerable_code_cannot_be_controlled_by_adversary",
    }
    document = {"@context": "https://openvex.dev/ns/v0.2.0", "author": "Its Authors", "statements": [stated]}
    (tmp_path / "theirs.json").write_text(json.dumps(document))
    policy = (PROJECT / "packaging/products/example/policy.toml").read_text().partition("[[ignore]]")[0]
    believed = '[[vex]]\nfile = "theirs.json"\nowner = "security@example.org"\nexpires = 2099-12-31\n'
    (tmp_path / "policy.toml").write_text(policy + believed)
    succeeded(pipeline(*RELEASE, *SMALL, "--policy", str(tmp_path / "policy.toml"), "--dist", str(tmp_path / "dist")))
    after = json.loads((tmp_path / "dist" / "1.2.3" / "scan.json").read_text())
    (accepted,) = [each for each in after["findings"] if each["status"] == "accepted"]
    assert accepted["entry"]["source"] == "theirs.json"
    assert accepted["entry"]["reason"].startswith("Its Authors states not_affected")


def test_what_is_accepted_or_reachable_is_in_the_vex_document(dist: Path) -> None:
    vex = json.loads((dist / "openvex.json").read_text())
    check_openvex(vex)
    statements = {statement["vulnerability"]["name"]: statement["status"] for statement in vex["statements"]}
    assert statements == {"EXAMPLE-2026-0001": "affected", "EXAMPLE-2026-0002": "not_affected"}


def test_other_tools_can_read_what_was_found(dist: Path) -> None:
    log = json.loads((dist / "scan.sarif").read_text())
    check_sarif(log)
    assert {result["ruleId"] for result in log["runs"][0]["results"]} == {"EXAMPLE-2026-0001", "EXAMPLE-2026-0002"}


def test_govulncheck_knows_of_every_binary_which_weak_code_can_be_called(dist: Path) -> None:
    scan = json.loads((dist / "scan.json").read_text())
    reached = {finding["id"]: finding for finding in scan["findings"]}
    binaries = [artifact["name"] for artifact in scan["artifacts"]]
    assert len(binaries) == 4
    called, uncalled = reached["EXAMPLE-2026-0001"], reached["EXAMPLE-2026-0002"]
    assert (called["reachable"], called["artifacts"]) == ("yes", binaries)
    assert called["symbols"] == ["github.com/google/uuid.NewString"]
    assert (uncalled["reachable"], uncalled["artifacts"]) == ("no", binaries)
    (by,) = [scanner for scanner in scan["scanners"] if scanner["name"] == "govulncheck"]
    assert (by["version"], by["database"]["built"]) == ("1.6.0", "2026-02-01T00:00:00Z")


def test_every_scan_is_stated_about_the_very_binary(dist: Path) -> None:
    release = json.loads((dist / "release.json").read_text())
    digests = {artifact["name"]: artifact["sha256"] for artifact in release["artifacts"]}
    assert len(release["statements"]) == 8
    for named in release["statements"]:
        stated = json.loads((dist / named["name"]).read_text())
        check_statement(stated)
        assert stated["subject"] == [{"name": named["subject"], "digest": {"sha256": digests[named["subject"]]}}]
        assert stated["predicate"]["scanner"]["db"]["lastUpdate"].startswith("2026-02-01T00:00:00")
        found = {
            entry["id"]: entry["annotations"][0]["reachable"] for entry in stated["predicate"]["scanner"]["result"]
        }
        assert found == {"EXAMPLE-2026-0001": "yes", "EXAMPLE-2026-0002": "no"}


def test_without_govulncheck_a_release_still_says_that_reachability_is_not_known(tmp_path: Path, dist: Path) -> None:
    project = project_with(tmp_path, "[scan]\n", "[scan]\nreachability = false\n")
    only = ("--target", "linux/amd64", "--variant", "standard", "--dist", str(tmp_path / "dist"))
    done = pipeline("scan", *RELEASE[1:], *only, PIPELINE_PROJECT=str(project))
    succeeded(done)
    assert "govulncheck" not in done.stderr
    scan = json.loads((tmp_path / "dist" / "1.2.3-scan" / "scan.json").read_text())
    assert {finding["reachable"] for finding in scan["findings"]} == {"unknown"}
    assert {scanner["name"] for scanner in scan["scanners"]} == {"grype", "trivy"}
    assert dist.is_dir()


def test_no_private_key_is_anywhere_in_the_store(dist: Path) -> None:
    home = Path(json.loads(succeeded(pipeline("cache", "show", "--json")))["home"])
    secret = (home / "signing" / "development.asc").read_bytes()
    middle = secret.splitlines()[len(secret.splitlines()) // 2]
    for folder in ("store", "logs"):
        found = subprocess.run(
            ["grep", "-rlF", middle.decode(), str(home / folder)], capture_output=True, text=True, check=False
        )
        assert found.stdout == ""
    assert not any(middle in path.read_bytes() for path in dist.iterdir())
