"""Writes what a release says about itself: `release.json`, `release-notes.md`, `SHA256SUMS` and `SHA512SUMS`.

Params:
  artifacts_dir  the folder with every artifact, and nothing else (default `/in/artifacts`)
  artifacts      what each one is: `name`, `kind`, `media_type`, and where they apply `target`, `variant`, `subject`
                 (the artifact it speaks about), `step` (the digest of the step that made it), `step_title`,
                 `optional` (true for one that may be absent: then nothing is said of it)
  approval       the gate's approval (`approve.py`); absent: default `/in/approval/approval.json` when that exists
  product        `name`, `title`, `license`, ... copied
  version        the release's version, as text
  snapshot       true for a release that is not to be shipped
  source         `url`, `ref`, `commit`, `epoch` (seconds), ... copied
  images, materials   what the release was made with: copied when given
  toolchain      what compiled it: `version`, `sum` and `locked` copied, and `reason` said in the notes; optional
  statements     `name` and `subject` of each signed statement that bears a day: copied, without their digests
  signing        `development` (true for a key not for shipping), and `fingerprint` of the key that signs, which one
                 that is made for this run does not have yet: copied, and said in the notes; optional
  out            default `/out`

Outputs: `release.json` names every artifact with its size and SHA-256; the checksum files are in GNU format, sorted,
with bare names, and cover everything, `release.json` and `release-notes.md` too. A file without metadata, metadata
without a file, a name that is no plain file name, a subject that is not in the release, and a binary that the gate did
not approve are errors, all of them listed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pipeline.programs import common
from pipeline.programs.common import Json, Params, Problem

SCHEMA = "urn:release-pipeline:release:v1"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]*\Z")
RESERVED = {"release.json", "release-notes.md", "SHA256SUMS", "SHA512SUMS", "signing-key.asc"}
NOTES = {"name": "release-notes.md", "kind": "notes", "media_type": "text/markdown"}
COPIED = ("product", "version", "snapshot", "source", "images", "toolchain", "materials", "signing", "statements")
SEVERITIES = ("critical", "high", "medium", "low", "negligible", "unknown")


def collect(folder: Path, described: list[Json]) -> tuple[list[Json], dict[str, dict[str, str]]]:
    """Return (artifacts with size and digest, digests by name), sorted. Raises Problem with everything amiss."""
    there = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
    described = [entry for entry in described if entry["name"] in there or not entry.get("optional")]
    names = [entry["name"] for entry in described]
    problems = [f"{name} is described twice" for name in sorted({n for n in names if names.count(n) > 1})]
    problems += [f"{name} is in the release, but nothing describes it" for name in sorted(set(there) - set(names))]
    problems += [f"{name} is described, but is not in the release" for name in sorted(set(names) - set(there))]
    for name, path in sorted(there.items()):
        if not NAME.match(name) or name in RESERVED or name.endswith((".asc", ".gpg", ".sig")):
            problems.append(f"{name!r} is not a name that an artifact may have")
        elif path.is_symlink() or not path.is_file():
            problems.append(f"{name} is not a plain file")
    for entry in described:
        if entry.get("subject") and entry["subject"] not in names:
            problems.append(f"{entry['name']} speaks about {entry['subject']}, which is not in the release")
    if problems:
        raise Problem(*problems)
    sums = {name: common.digests(path) for name, path in sorted(there.items())}
    artifacts = [_entry(entry, there[entry["name"]], sums[entry["name"]]) for entry in described]
    return sorted(artifacts, key=lambda entry: str(entry["name"])), sums


def _entry(described: Json, path: Path, sums: dict[str, str]) -> Json:
    """Return what release.json says of one artifact: its description without empty values, its size and digest."""
    kept = {key: value for key, value in described.items() if value not in ("", None) and key != "optional"}
    return {**kept, "size": path.stat().st_size, "sha256": sums["sha256"]}


def check_approval(path: Path, artifacts: list[Json]) -> Json:
    """Return the gate's approval. Raises Problem when a binary is not, byte for byte, one that the gate approved."""
    approval = common.read_object(path)
    approved = {entry["name"]: entry["sha256"] for entry in approval["approved"]}
    wrong = [
        f"the gate did not approve this {entry['name']} (SHA-256 {entry['sha256']})"
        for entry in artifacts
        if entry["kind"] == "binary" and approved.get(entry["name"]) != entry["sha256"]
    ]
    if wrong:
        raise Problem(*wrong)
    return approval


def sums_text(sums: dict[str, dict[str, str]], algorithm: str) -> str:
    """Return a checksum file in GNU format, sorted by name."""
    return "".join(f"{digest[algorithm]}  {name}\n" for name, digest in sorted(sums.items()))


def table(header: list[str], rows: list[list[Any]]) -> list[str]:
    """Return the lines of a Markdown table. A bar in a cell is escaped."""
    lines = [" | ".join(header), " | ".join("---" for _ in header)]
    lines += [" | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    return [f"| {line} |" for line in lines]


def notes_on_files(artifacts: list[Json]) -> list[str]:
    """Return the table of all files."""
    rows = [
        [f"`{a['name']}`", a["kind"], a.get("target", ""), a.get("variant", ""), a["size"], f"`{a['sha256']}`"]
        for a in artifacts
    ]
    return ["## Files", "", *table(["File", "Kind", "Target", "Variant", "Bytes", "SHA-256"], rows), ""]


def notes_on_verifying(release: Json) -> list[str]:
    """Return how to check the release by hand."""
    signing = release.get("signing") or {}
    lines = ["## Verify", "", "In the folder with the files:", "", "```sh"]
    lines += ["sha256sum --check --strict SHA256SUMS", "gpg --import signing-key.asc"]
    lines += ["gpg --verify SHA256SUMS.asc SHA256SUMS", "```", ""]
    if signing.get("fingerprint"):
        lines += [f"The key's fingerprint is `{signing['fingerprint']}`; compare it with one you trust.", ""]
    if signing.get("development"):
        lines += ["**This release is signed with a development key. It is not for shipping.**", ""]
    return lines


def notes_on_toolchain(toolchain: Json) -> list[str]:
    """Return which toolchain compiled the release, and why that one."""
    if not toolchain:
        return []
    lines = [f"Compiled by Go {toolchain['version']}: {toolchain['reason']}.", ""]
    if not toolchain["locked"]:
        lines += ["**No lock file pins that toolchain: another day may have given another one.**", ""]
    return lines


def notes_on_fips(folder: Path, artifacts: list[Json]) -> list[str]:
    """Return the table of what was proved of each binary: linking, FIPS module, certificate."""
    rows = []
    for artifact in artifacts:
        if artifact["kind"] == "proof":
            proof = common.read_object(folder / artifact["name"])
            fips = proof.get("fips") or {"module": "none", "certificate": ""}
            linking = "dynamic" if proof["linking"]["interpreter"] else "static"
            certificate = fips["certificate"] or "-"
            rows.append([proof["subject"]["name"], proof["build"]["toolchain"], linking, fips["module"], certificate])
    if not rows:
        return []
    lines = ["## Binaries", "", *table(["Binary", "Toolchain", "Linking", "FIPS module", "Certificate"], rows), ""]
    return [*lines, "A certificate is that of the cryptographic module; it does not certify this product.", ""]


def notes_on_exposure(folder: Path, artifacts: list[Json]) -> list[str]:
    """Return the table of how exposed each service is that the packages install; nothing without packages."""
    lines: list[str] = []
    for name in (a["name"] for a in artifacts if a["kind"] == "exposure"):
        judged = common.read_object(folder / name)
        units = judged["units"]
        alike = all(unit["packages"] == units[0]["packages"] for unit in units)
        header = ["Unit", "Exposure", "At most", "Verdict", *([] if alike else ["In the packages for"])]
        rows = []
        for unit in units:
            where = [] if alike else [", ".join(unit["packages"])]
            rows.append([f"`{unit['unit']}`", unit["exposure"], judged["limit"], unit["verdict"], *where])
        by = f"As `systemd-analyze security` of systemd {judged['systemd']} computes it: 0 is best, 10 is worst."
        lines += ["## Exposure of the services", "", *table(header, rows), "", by, ""]
    return lines


def notes_on_findings(folder: Path, artifacts: list[Json]) -> list[str]:
    """Return the table of known vulnerabilities from the scan's report, worst first, after what it does not prove.

    Nothing when no report was made.
    """
    reports = [a["name"] for a in artifacts if a["kind"] == "scan-report" and a["media_type"] == "application/json"]
    lines: list[str] = []
    for name in reports:
        report = common.read_object(folder / name)
        rank = {severity: number for number, severity in enumerate(SEVERITIES)}
        findings = sorted(report["findings"], key=lambda f: (rank.get(f["severity"], 9), f["id"], f["package"]))
        rows = [
            [
                f["id"],
                f["severity"],
                f["package"],
                f["version"],
                ", ".join(f["fixed_in"]) or "-",
                f["reachable"],
                f["status"],
            ]
            for f in findings
        ]
        lines += ["## Known vulnerabilities", ""]
        if report["gaps"]:
            lines += ["**The scan is not complete: what follows does not prove that there is nothing else.**", ""]
            lines += [*(f"- {' '.join(str(gap).split())}" for gap in report["gaps"]), ""]
        header = ["Vulnerability", "Severity", "Package", "Version", "Fixed in", "Reachable", "Status"]
        none = "No finding is known." if report["gaps"] else "The scanners found none."
        lines += [*table(header, rows), ""] if rows else [none, ""]
    return lines


def notes_on_images(images: list[Json]) -> list[str]:
    """Return what stood in for what while the release was made, and which images were not pinned before."""
    rows = [[i["name"], i["stands_in_for"], i.get("content") or i["digest"]] for i in images if i.get("stands_in_for")]
    lines = ["## Stand-ins", "", *table(["Image", "Stands in for", "Digest"], rows), ""] if rows else []
    resolved = [[i["name"], i["reference"]] for i in images if i.get("resolved")]
    if resolved:
        lines += ["## Images that were not pinned", "", "A registry said which digests they had on that day.", ""]
        lines += [*table(["Image", "Resolved to"], resolved), ""]
    return lines


def notes(release: Json, folder: Path) -> str:
    """Return `release-notes.md`."""
    product, source, artifacts = release["product"], release["source"], release["artifacts"]
    lines = [f"# {product.get('title') or product['name']} {release['version']}", ""]
    if release.get("snapshot"):
        lines += ["**This is a snapshot. It is not for shipping.**", ""]
    made = common.timestamp(int(source["epoch"]))
    lines += [f"Source: {source.get('url') or 'local'}, commit `{source.get('commit') or 'unknown'}`, {made}.", ""]
    lines += notes_on_toolchain(release.get("toolchain") or {})
    lines += notes_on_verifying(release) + notes_on_fips(folder, artifacts) + notes_on_findings(folder, artifacts)
    lines += notes_on_exposure(folder, artifacts)
    lines += notes_on_images(release.get("images") or []) + notes_on_files(artifacts)
    return "\n".join(lines).rstrip("\n") + "\n"


def main(params: Params) -> None:
    """Write the four files."""
    folder, out = params.path("artifacts_dir", "/in/artifacts"), params.path("out", "/out")
    artifacts, sums = collect(folder, params["artifacts"])
    release: Json = {key: params[key] for key in COPIED if key in params or key in {"product", "version", "source"}}
    release.update(schema=SCHEMA, artifacts=artifacts, snapshot=bool(params.get("snapshot")))
    approval = params.path("approval", "/in/approval/approval.json")
    if "approval" in params or approval.is_file():
        release["approval"] = check_approval(approval, artifacts)
    common.write_text(out / NOTES["name"], notes(release, folder))
    sums[NOTES["name"]] = common.digests(out / NOTES["name"])
    described = _entry(NOTES, out / NOTES["name"], sums[NOTES["name"]])
    release["artifacts"] = sorted([*artifacts, described], key=lambda entry: str(entry["name"]))
    common.write_json(out / "release.json", release)
    sums["release.json"] = common.digests(out / "release.json")
    common.write_text(out / "SHA256SUMS", sums_text(sums, "sha256"))
    common.write_text(out / "SHA512SUMS", sums_text(sums, "sha512"))


if __name__ == "__main__":
    common.run_program(main)
