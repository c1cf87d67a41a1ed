"""Writes what a release says about itself: `release.json`, `release-notes.md`, `SHA256SUMS` and `SHA512SUMS`.

Params: see `Parameters`.

Outputs: `release.json` names every artifact with its size and SHA-256; the checksum files are in GNU format, sorted,
with bare names, and cover everything, `release.json` and `release-notes.md` too. A file without metadata, metadata
without a file, a name that is not a plain file name, a subject that is not in the release, and a binary that the gate
did not approve are errors, all of them listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional

from pipeline.programs import common, document
from pipeline.programs.common import Problem
from pipeline.programs.scan.scan_documents import Approval
from pipeline.programs.sign.release_index import (
    NAME,
    AboutImage,
    AboutKey,
    AboutSource,
    AboutToolchain,
    Described,
    Listed,
    ReleaseIndex,
)
from pipeline.programs.start import run_program

RESERVED = {"release.json", "release-notes.md", "SHA256SUMS", "SHA512SUMS", "signing-key.asc"}
NOTES = Described("release-notes.md", "notes", "text/markdown")
SEVERITIES = ("critical", "high", "medium", "low", "negligible", "unknown")


@dataclass(frozen=True)
class Parameters:
    """What the index is told."""

    release: ReleaseIndex
    """What `release.json` says, without artifacts and approval, which are found here."""
    described: tuple[Described, ...]
    """What each artifact is."""
    artifacts_dir: Path = Path("/in/artifacts")
    """The folder with every artifact, and nothing else."""
    approval: Optional[Path] = None
    """The file with the gate's approval; none for a product that is not scanned."""
    out: Path = Path("/out")


def collect(folder: Path, described: Iterable[Described]) -> tuple[tuple[Listed, ...], dict[str, dict[str, str]]]:
    """Return (artifacts with size and digest, digests by name), sorted. Raises Problem with everything amiss."""
    there = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
    described = [entry for entry in described if entry.name in there or not entry.optional]
    names = [entry.name for entry in described]
    problems = [f"{name} is described twice" for name in sorted({n for n in names if names.count(n) > 1})]
    problems += [f"{name} is in the release, but nothing describes it" for name in sorted(set(there) - set(names))]
    problems += [f"{name} is described, but is not in the release" for name in sorted(set(names) - set(there))]
    for name, path in sorted(there.items()):
        if not re.fullmatch(NAME, name) or name in RESERVED or name.endswith((".asc", ".gpg", ".sig")):
            problems.append(f"{name!r} is not a name that an artifact may have")
        elif path.is_symlink() or not path.is_file():
            problems.append(f"{name} is not a plain file")
    for entry in described:
        if entry.subject and entry.subject not in names:
            problems.append(f"{entry.name} is about {entry.subject}, which is not in the release")
    if problems:
        raise Problem(*problems)
    sums = {name: common.digests(path) for name, path in sorted(there.items())}
    artifacts = (_listed(entry, there[entry.name], sums[entry.name]) for entry in described)
    return tuple(sorted(artifacts, key=lambda entry: entry.name)), sums


def _listed(described: Described, path: Path, sums: dict[str, str]) -> Listed:
    told = asdict(described)
    del told["optional"]
    return Listed(**told, size=path.stat().st_size, sha256=sums["sha256"])


def check_approval(path: Path, artifacts: Iterable[Listed]) -> Approval:
    """Return the gate's approval. Raises Problem when a binary is not, byte for byte, one that the gate approved."""
    approval = document.load(Approval, path)
    approved = {entry.name: entry.sha256 for entry in approval.approved}
    wrong = [
        f"the gate did not approve this {entry.name} (SHA-256 {entry.sha256})"
        for entry in artifacts
        if entry.kind == "binary" and approved.get(entry.name) != entry.sha256
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


def notes_on_packages(artifacts: Iterable[Listed]) -> list[str]:
    """Return the table of the packages to install; nothing without packages."""
    packages = [each for each in artifacts if each.kind == "package"]
    if not packages:
        return []
    rows = [[f"`{each.name}`", each.target or "any", each.variant or "any"] for each in packages]
    selinux = any("-selinux-" in each.name for each in packages)
    lines = ["Install an RPM and its `-selinux` RPM in one command.", ""] if selinux else []
    return ["## Packages", "", *lines, *table(["Package", "Target", "Variant"], rows), ""]


def notes_on_files(artifacts: Iterable[Listed]) -> list[str]:
    """Return the table of all files."""
    rows = [
        [f"`{each.name}`", each.kind, each.target, each.variant, each.size, f"`{each.sha256}`"] for each in artifacts
    ]
    return ["## Files", "", *table(["File", "Kind", "Target", "Variant", "Bytes", "SHA-256"], rows), ""]


def notes_on_verifying(signing: Optional[AboutKey]) -> list[str]:
    """Return how to check the release by hand."""
    lines = ["## Verify", "", "Compare the fingerprint of `signing-key.asc` with one that you got another way:", ""]
    lines += ["```sh", "gpg --show-keys --with-fingerprint signing-key.asc", "```", ""]
    if signing and signing.fingerprint:
        lines += [f"This release was signed by `{signing.fingerprint}`.", ""]
    lines += ["Then check the signature and every file, in the folder with the files:", "", "```sh"]
    lines += ["gpg --import signing-key.asc", "gpg --verify SHA256SUMS.asc SHA256SUMS"]
    lines += ["sha256sum --check --strict SHA256SUMS", "```", ""]
    if signing and signing.development:
        lines += ["**This release is signed with a development key. It is not for shipping.**", ""]
    return lines


def notes_on_source(source: AboutSource) -> list[str]:
    """Return where the source came from, and that nobody checked its commit where that is so."""
    made, commit = common.timestamp(source.epoch), source.commit
    lines = [f"Source: {source.url or 'local'}, commit `{commit or 'unknown'}`, {made}.", ""]
    if commit and not source.verified and not source.dirty:
        tree = source.tree.removeprefix("git-tree:")
        check = f"compare its git tree, `{tree}`, with what `git rev-parse {commit}^{{tree}}` prints"
        lines += [f"**The source was a directory, and its commit was not checked.** To check it, {check}.", ""]
    return lines


def notes_on_toolchain(toolchain: Optional[AboutToolchain]) -> list[str]:
    """Return which toolchain compiled the release, and why that one."""
    if not toolchain:
        return []
    lines = [f"Compiled by Go {toolchain.version}: {toolchain.reason}.", ""]
    if not toolchain.locked:
        lines += ["**No lock file pins this toolchain. Another one may compile the same tag later.**", ""]
    return lines


def notes_on_fips(folder: Path, artifacts: Iterable[Listed]) -> list[str]:
    """Return the table of what was proved of each binary: linking, FIPS module, certificate."""
    rows, unknown = [], []
    for artifact in artifacts:
        if artifact.kind == "proof" and artifact.subject:  # not openssl-fips.json, which is about no binary
            proof = common.read_object(folder / artifact.name)
            fips = proof.get("fips") or {"module": "none", "certificate": ""}
            linking = "dynamic" if proof["linking"]["interpreter"] else "static"
            name, certificate = proof["subject"]["name"], fips["certificate"] or "-"
            rows.append([name, proof["build"]["toolchain"], linking, fips["module"], certificate])
            unknown += [name] if proof.get("fips") and not fips["certificate"] else []
    if not rows:
        return []
    lines = ["## Binaries", "", *table(["Binary", "Toolchain", "Linking", "FIPS module", "Certificate"], rows), ""]
    lines += ["A certificate is for the cryptographic module. It does not certify this product.", ""]
    if unknown:
        warning = f"**No certificate is known for the FIPS module of {', '.join(unknown)}.**"
        lines += [f"{warning} Look it up at CMVP before you rely on it.", ""]
    return lines


def notes_on_exposure(folder: Path, artifacts: Iterable[Listed]) -> list[str]:
    """Return the table of how exposed each service is that the packages install; nothing without packages."""
    lines: list[str] = []
    for name in (each.name for each in artifacts if each.kind == "exposure"):
        report = common.read_object(folder / name)
        units = report["units"]
        alike = all(unit["packages"] == units[0]["packages"] for unit in units)
        header = ["Unit", "Exposure", "At most", "Verdict", *([] if alike else ["In the packages for"])]
        rows = []
        for unit in units:
            where = [] if alike else [", ".join(unit["packages"])]
            rows.append([f"`{unit['unit']}`", unit["exposure"], report["limit"], unit["verdict"], *where])
        by = f"As `systemd-analyze security` of systemd {report['systemd']} computes it: 0 is best, 10 is worst."
        lines += ["## Exposure of the services", "", *table(header, rows), "", by, ""]
    return lines


def notes_on_findings(folder: Path, artifacts: Iterable[Listed]) -> list[str]:
    """Return the table of known vulnerabilities from the scan's report, worst first, after what it does not prove.

    Nothing when no report was made.
    """
    scans = [each.name for each in artifacts if each.kind == "scan-report" and each.media_type == "application/json"]
    lines: list[str] = []
    for name in scans:
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
            lines += ["**The scan is not complete. There may be vulnerabilities that this page does not list.**", ""]
            lines += [*(f"- {' '.join(str(gap).split())}" for gap in report["gaps"]), ""]
        used = [(s["name"], s["version"], s["database"]["built"]) for s in report.get("scanners") or []]
        lines += [f"- {name} {version}, database of {built}" for name, version, built in used if built]
        lines += [""] if used else []
        if rows and "policy" in report:
            limit = ", ".join(report["policy"]["severities"])
            lines += [f"The policy closes the gate for a finding that is {limit}, unless it accepts that one.", ""]
        header = ["Vulnerability", "Severity", "Package", "Version", "Fixed in", "Reachable", "Status"]
        none = "No finding is known." if report["gaps"] else "The scanners found none."
        lines += [*table(header, rows), ""] if rows else [none, ""]
        lines += _acceptances(findings)
    return lines


def _acceptances(findings: list[dict[str, Any]]) -> list[str]:
    """Return who accepts each accepted finding, why, and until when."""
    accepted = {(f["id"], f["package"]): f["entry"] for f in findings if f.get("entry")}
    lines = [
        f"- {name} in {package}: accepted by {entry['owner']} until {entry['expires']}: {entry['reason']}"
        for (name, package), entry in accepted.items()
    ]
    return [*lines, ""] if lines else []


def notes_on_images(images: Iterable[AboutImage]) -> list[str]:
    """Return what stood in for what while the release was made, and which images were not pinned before."""
    rows = [[each.name, each.stands_in_for, each.content or each.digest] for each in images if each.stands_in_for]
    why = "These packages were not made on the distributions themselves, but on images that stand in for them."
    lines = ["## Stand-ins", "", why, "", *table(["Image", "Stands in for", "Digest"], rows), ""] if rows else []
    resolved = [[each.name, each.reference] for each in images if each.resolved]
    if resolved:
        why = "No lock file pins these images. They had these digests on the day of the release."
        lines += ["## Images that were not pinned", "", why, ""]
        lines += [*table(["Image", "Resolved to"], resolved), ""]
    return lines


def notes(release: ReleaseIndex, folder: Path) -> str:
    """Return `release-notes.md`."""
    artifacts = release.artifacts
    lines = [f"# {release.product.title or release.product.name} {release.version}", ""]
    if release.snapshot:
        lines += ["**This is a snapshot. It is not for shipping.**", ""]
    lines += notes_on_source(release.source) + notes_on_toolchain(release.toolchain)
    lines += notes_on_verifying(release.signing) + notes_on_packages(artifacts)
    lines += notes_on_findings(folder, artifacts) + notes_on_fips(folder, artifacts)
    lines += notes_on_exposure(folder, artifacts)
    lines += notes_on_images(release.images) + notes_on_files(artifacts)
    return "\n".join(lines).rstrip("\n") + "\n"


def main(params: Parameters) -> None:
    """Write the four files."""
    folder, out = params.artifacts_dir, params.out
    artifacts, sums = collect(folder, params.described)
    approval = check_approval(params.approval, artifacts) if params.approval else None
    release = replace(params.release, artifacts=artifacts, approval=approval)
    common.write_text(out / NOTES.name, notes(release, folder))
    sums[NOTES.name] = common.digests(out / NOTES.name)
    every = (*artifacts, _listed(NOTES, out / NOTES.name, sums[NOTES.name]))
    release = replace(release, artifacts=tuple(sorted(every, key=lambda entry: entry.name)))
    document.write(out / "release.json", release)
    sums["release.json"] = common.digests(out / "release.json")
    common.write_text(out / "SHA256SUMS", sums_text(sums, "sha256"))
    common.write_text(out / "SHA512SUMS", sums_text(sums, "sha512"))


if __name__ == "__main__":
    run_program(main, Parameters)
