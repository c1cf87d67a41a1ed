"""Checks a finished release offline: nothing missing, nothing extra, nothing changed, everything signed.

Params: see `Parameters`; they come from a JSON file in a step.

Runs on its own too, where Python and gpg are: `python3 verify.py --release DIR [--key FILE] [--fingerprint F]`, with
the file that `python3 -m pipeline.programs.closure verify.verify` writes. That is why it has small types of its
own, and reads a release of another version as far as it can.
Exits 0 when everything checks out, 1 with every problem on a line of its own otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.programs.common import Problem
from pipeline.programs.gpg import Keyring

SUMS = ("SHA256SUMS", "SHA512SUMS")
KEY_FILE = "signing-key.asc"
LINE = re.compile(r"([0-9a-f]{64}|[0-9a-f]{128}) [ *]([^/\s][^/\n]*)\Z")


@dataclass(frozen=True)
class Parameters:
    """What is checked, and against what."""

    release: str
    """The folder."""
    key: str = ""
    """The file of the trusted public key; empty for the one in the release, which is then said."""
    fingerprint: str = ""
    """40 hexadecimal digits of the primary key that must have signed; empty for any that `key` holds."""
    unsigned: bool = False
    """Accept a release without signatures."""
    out: str = ""
    """Where `verification.json` goes; empty for nowhere."""


@dataclass(frozen=True)
class Claims:
    """What `release.json` says about the release, as far as the files can confirm it. None of it is trusted."""

    product: str = ""
    version: str = ""
    snapshot: bool = False
    development: bool = False
    fingerprint: str = ""
    """Of the key that signs; empty for one that was made for its run."""
    artifacts: tuple[tuple[str, str, int], ...] = ()
    """Name, SHA-256 and size in bytes."""
    statements: tuple[tuple[str, str], ...] = ()
    """Name, and the artifact that it is about."""


@dataclass(frozen=True)
class Verification:
    """verification.json: what was found. `problems` is empty when all is well."""

    problems: tuple[str, ...]
    files: int = 0
    signed_by: tuple[str, ...] = ()
    """Fingerprints of primary keys."""
    product: str = ""
    version: str = ""
    key_is_pinned: bool = False
    """The caller named the key or its fingerprint, so that it is not only the release that vouches for itself."""
    development: bool = False
    """The key is not for shipping."""


def digest_of(path: Path, algorithm: str) -> str:
    """Return the file's digest as hexadecimal digits."""
    value = hashlib.new(algorithm)
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            value.update(block)
    return value.hexdigest()


def read_sums(path: Path) -> dict[str, str]:
    """Return {file name: digest} of a checksum file in GNU format. Raises ValueError naming a bad line."""
    sums: dict[str, str] = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        match = LINE.match(line)
        if not match or match[2] in sums or match[2] in {".", ".."}:
            raise ValueError(f"{path.name} line {number} is not `digest  name`, or names a file twice")
        sums[match[2]] = match[1]
    return sums


def check_sums(folder: Path, name: str, problems: list[str]) -> dict[str, str]:
    """Note every listed file that is missing or changed, and return what the checksum file lists."""
    if not (folder / name).is_file():
        problems.append(f"{name} is missing")
        return {}
    try:
        sums = read_sums(folder / name)
    except ValueError as error:
        problems.append(str(error))
        return {}
    algorithm = name.removesuffix("SUMS").lower()
    for file, expected in sorted(sums.items()):
        path = folder / file
        if path.is_symlink() or not path.is_file():
            problems.append(f"{file} is listed in {name} but is missing")
        elif digest_of(path, algorithm) != expected:
            problems.append(f"{file} is not the file that {name} lists: its {algorithm} differs")
    return sums


def check_extra(folder: Path, known: set[str], problems: list[str]) -> None:
    """Note every file that is neither `known` nor a signature of a known one."""
    for file in sorted(path.name for path in folder.iterdir()):
        if file in known or file == KEY_FILE:
            continue
        base = file.removesuffix(".asc").removesuffix(".gpg")
        if base == file or base not in known:
            problems.append(f"{file} is in the release but SHA256SUMS does not list it")


def check_statements(folder: Path, claims: Claims, sums: dict[str, str], problems: list[str]) -> set[str]:
    """Compare each statement that `release.json` names with the file it is about. Return the names that are there.

    Statements differ from day to day, so no checksum covers them: their own signatures do. A snapshot may lack one.
    """
    there = set()
    for name, subject in claims.statements:
        path = folder / name
        if not LINE.match(f"{'0' * 64}  {name}") or path.is_symlink() or not path.is_file():
            if not claims.snapshot:
                problems.append(f"{name} is named in release.json but is missing")
            continue
        there.add(name)
        try:
            about = json.loads(path.read_text("utf-8"))["subject"]
            digests = {one["name"]: one["digest"]["sha256"] for one in about}
        except (OSError, ValueError, KeyError, TypeError) as error:
            problems.append(f"{name} cannot be read: {type(error).__name__}: {error}")
            continue
        if subject not in sums or digests != {subject: sums[subject]}:
            problems.append(f"{name} is not about the {subject} of this release")
    return there


def claims_of(text: str) -> Claims:
    """Return what that `release.json` claims. Raises ValueError, KeyError, TypeError or AttributeError for another."""
    release = json.loads(text)
    signing = release.get("signing") or {}
    return Claims(
        product=str(release["product"]["name"]),
        version=str(release["version"]),
        snapshot=release.get("snapshot") is True,
        development=signing.get("development") is True,
        fingerprint=str(signing.get("fingerprint") or "").upper(),
        artifacts=tuple((str(one["name"]), str(one["sha256"]), int(one["size"])) for one in release["artifacts"]),
        statements=tuple((str(one["name"]), str(one["subject"])) for one in release.get("statements") or []),
    )


def check_index(folder: Path, sums: dict[str, str], problems: list[str]) -> Claims:
    """Compare `release.json` with the files: same names, sizes and digests. Return what it claims."""
    try:
        claims = claims_of((folder / "release.json").read_text("utf-8"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problems.append(f"release.json cannot be read: {type(error).__name__}: {error}")
        return Claims()
    for name, sha256, size in sorted(claims.artifacts):
        if sums.get(name) != sha256:
            problems.append(f"{name}: release.json and SHA256SUMS disagree about its digest")
        path = folder / name
        if path.is_file() and path.stat().st_size != size:
            problems.append(f"{name}: release.json says {size} bytes, it has {path.stat().st_size}")
    unlisted = sorted(set(sums) - {name for name, _, _ in claims.artifacts} - {"release.json"})
    problems.extend(f"{name}: release.json does not list it" for name in unlisted)
    return claims


def check_signatures(folder: Path, names: set[str], params: Parameters, problems: list[str]) -> set[str]:
    """Check `<file>.asc` of every file, and SHA256SUMS.gpg. Return the fingerprints that signed."""
    if params.unsigned and not any((folder / f"{name}.asc").exists() for name in names):
        return set()
    key = Path(params.key or folder / KEY_FILE)
    if not key.is_file():
        problems.append(f"there is no public key to check signatures with: {key.name} is missing")
        return set()
    wanted = params.fingerprint.upper()
    found: set[str] = set()
    with tempfile.TemporaryDirectory() as scratch:
        ring = Keyring(Path(scratch, "g"))
        try:
            ring.gpg("--quiet", "--import", data=key.read_bytes())
        except Problem as problem:
            problems.append(f"signatures cannot be checked with {key.name}: {'; '.join(problem.lines)}")
            return set()
        for signature, name in [*((f"{n}.asc", n) for n in sorted(names)), ("SHA256SUMS.gpg", "SHA256SUMS")]:
            if not (folder / signature).is_file():
                problems.append(f"{name} is not signed: {signature} is missing")
                continue
            try:
                fingerprint, _ = ring.signer(folder / signature, folder / name)
            except Problem as problem:
                problems.append(f"{signature} is not a good signature of {name}: {problem}")
                continue
            found.add(fingerprint)
            if wanted and fingerprint.upper() != wanted:
                problems.append(f"{name} is signed by {fingerprint}, not by {wanted}")
    return found


def verify(params: Parameters) -> Verification:
    """Check the release and return what was found."""
    folder = Path(params.release)
    problems: list[str] = []
    if not folder.is_dir():
        return Verification((f"{folder} is not a folder",))
    sums = check_sums(folder, SUMS[0], problems)
    if set(sums) != set(check_sums(folder, SUMS[1], problems)):
        problems.append("SHA256SUMS and SHA512SUMS list different files")
    claims = check_index(folder, sums, problems)
    known = {*sums, *SUMS, *check_statements(folder, claims, sums, problems)}
    check_extra(folder, known, problems)
    signed_by = check_signatures(folder, known, params, problems)
    others = sorted(signed_by - {claims.fingerprint}) if claims.fingerprint else []
    if others:
        problems.append(f"release.json names {claims.fingerprint} as its key, but {', '.join(others)} signed")
    return Verification(
        problems=tuple(problems),
        files=len(known) - len(SUMS),
        signed_by=tuple(sorted(signed_by)),
        product=claims.product,
        version=claims.version,
        key_is_pinned=bool(params.key or params.fingerprint),
        development=claims.development,
    )


def parameters() -> Parameters:
    """Return the params from the params file, or from the command line."""
    if len(sys.argv) == 2 and sys.argv[1].endswith(".json"):
        return Parameters(**json.loads(Path(sys.argv[1]).read_text("utf-8")))
    parser = argparse.ArgumentParser(description="Check a finished release offline.")
    parser.add_argument("--release", required=True, help="the folder with the release")
    parser.add_argument("--key", default="", help="the trusted public key (default: the one in the release)")
    parser.add_argument("--fingerprint", default="", help="the fingerprint that must have signed")
    parser.add_argument("--unsigned", action="store_true", help="accept a release without signatures")
    return Parameters(**vars(parser.parse_args()))


def main() -> int:
    """Return 0 when everything checks out."""
    params = parameters()
    result = verify(params)
    if params.out:
        Path(params.out).write_text(json.dumps(asdict(result), indent=2, sort_keys=True) + "\n", "utf-8")
    for problem in result.problems:
        print(f"error: {problem}", file=sys.stderr)
    if result.problems:
        return 1
    by = ", ".join(result.signed_by) or "nobody"
    print(f"{result.product} {result.version}: {result.files} files check out, signed by {by}")
    if result.signed_by and not result.key_is_pinned:
        print("note: checked with the key inside the release; compare its fingerprint with one you trust")
    if result.development:
        print("note: signed with a development key; this release is not for shipping")
    return 0


if __name__ == "__main__":
    sys.exit(main())
