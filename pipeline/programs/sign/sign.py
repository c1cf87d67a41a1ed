"""Signs every file of a release with OpenPGP detached signatures, and checks each signature it made.

Params: see `Parameters`.

Outputs: `<file>.asc` for every file, `SHA256SUMS.gpg` (binary, as systemd-sysupdate reads it) when there is a
SHA256SUMS, and `signing-key.asc`, the public key. Signatures are made over SHA-512.

Refused: a key that is revoked, expired or about to expire; RSA below 3072 bits, DSA, ElGamal; a key whose own
signatures rest on MD5, SHA-1 or RIPEMD-160. The private key exists in a keyring below the working directory (memory,
in a step), which is removed at the end; it is never in an argument, in output or in a message, and neither is the
passphrase, which gpg reads from its standard input.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pipeline.programs.common import Problem, decode_key
from pipeline.programs.gpg import HASH_NUMBER, Keyring, Records
from pipeline.programs.start import run_program

DAY = 86400
RSA, ECDSA, EDDSA = {"1", "3"}, "19", "22"  # RFC 9580, section 9.1
MIN_VALID_DAYS = 90
WEAK_HASHES = {"1": "MD5", "2": "SHA-1", "3": "RIPEMD-160"}  # RFC 9580, section 9.5
MIN_RSA_BITS = 3072
SELF_SIGNATURES = ("10", "11", "12", "13", "18", "1f")


@dataclass(frozen=True)
class ChosenKey:
    """Which key signs."""

    fingerprint: str = ""
    """The primary key's, 40 hexadecimal digits or 64: another key is refused."""
    ephemeral_identity: str = ""
    """In place of a fingerprint: whose a key is that is made here, used once and never leaves."""
    min_valid_days: int = MIN_VALID_DAYS
    """For how many days from now the key must still be valid."""
    secrets_dir: Path = Path("/run/secrets")
    """It has `signing-key` (armored, binary, or base64 of either) and, where one protects it, `signing-passphrase`."""


@dataclass(frozen=True)
class Parameters:
    """What is signed, and by whom."""

    key: ChosenKey
    artifacts_dir: Path = Path("/in/artifacts")
    """The folder with the files to sign, all of them at its top."""
    out: Path = Path("/out")


@contextlib.contextmanager
def keyrings(passphrase: bytes, within: Path | None = None) -> Iterator[tuple[Keyring, Keyring]]:
    """Yield (the keyring for the private key, one for checking), and end their agents and remove them afterwards.

    They are in a new folder below `within`, by default the working directory.
    """
    folder = Path(tempfile.mkdtemp(prefix="gpg-", dir=within or Path.cwd()))
    rings = (Keyring(folder / "s", passphrase), Keyring(folder / "v"))
    try:
        yield rings
    finally:
        for ring in rings:
            ring.close()
        shutil.rmtree(folder, ignore_errors=True)


def read_secrets(folder: Path) -> tuple[bytes, bytes]:
    """Return (private key, passphrase). Raises Problem when there is no key."""
    try:
        key = decode_key((folder / "signing-key").read_bytes())
    except FileNotFoundError:
        raise Problem("there is no signing key: the secret signing-key is missing") from None
    if not key.strip():
        raise Problem("the secret signing-key is empty")
    passphrase = folder / "signing-passphrase"
    return key, passphrase.read_bytes().rstrip(b"\r\n") if passphrase.is_file() else b""


def check_key(keys: Records, signatures: Records, wanted: str, now: int, min_days: int) -> None:
    """Check the one private key in the ring. `keys` and `signatures` are colon listings.

    Raises Problem with every reason against it: another fingerprint, revoked, expired, weak, cannot sign.
    """
    primary = [record for record in keys if record[0] == "sec"]
    if len(primary) != 1:
        raise Problem(f"the secret signing-key holds {len(primary)} private keys, not one")
    fingerprint = next(record[9] for record in keys if record[0] == "fpr")
    if fingerprint != wanted:
        raise Problem(f"the signing key is {fingerprint}, but the release is to be signed by {wanted}")
    usable = [r for r in keys if r[0] in {"sec", "ssb"} and "s" in r[11] and r[1] not in {"r", "e", "d", "i"}]
    problems = _against_validity(primary[0], now, min_days)
    if not problems and not [r for r in usable if not _against_validity(r, now, min_days)]:
        problems = ["it has no valid key that may sign, for long enough"]
    for record in {id(r): r for r in [primary[0], *usable]}.values():
        problems += _against_algorithm(record)
    problems += _against_hashes(signatures, primary[0][4])
    if problems:
        raise Problem(*(f"the signing key {fingerprint} is refused: {text}" for text in dict.fromkeys(problems)))


def _against_validity(record: list[str], now: int, min_days: int) -> list[str]:
    expires = int(record[6]) if record[6].isdecimal() else 0
    if record[1] == "r":
        return ["it was revoked"]
    if record[1] in {"d", "i"}:
        return ["it is disabled or invalid"]
    if record[1] == "e" or 0 < expires <= now:
        return [f"it expired on {time.strftime('%Y-%m-%d', time.gmtime(expires))}"]
    if 0 < expires < now + min_days * DAY:
        day = time.strftime("%Y-%m-%d", time.gmtime(expires))
        return [f"it expires on {day}, and must be valid for {min_days} more days; extend it (gpg --quick-set-expire)"]
    return []


def _against_algorithm(record: list[str]) -> list[str]:
    bits, algorithm = int(record[2] or 0), record[3]
    if algorithm in RSA:
        return [f"RSA with {bits} bits is too weak; use at least {MIN_RSA_BITS}"] if bits < MIN_RSA_BITS else []
    if algorithm in {ECDSA, EDDSA}:
        return []
    return [f"its algorithm (OpenPGP number {algorithm}) is neither RSA, ECDSA nor EdDSA"]


def _against_hashes(signatures: Records, key_id: str) -> list[str]:
    """Return a problem when the newest signature of the key over any part of itself rests on a weak hash."""
    newest: dict[int, list[str]] = {}
    part = 0
    for record in signatures:
        part += record[0] in {"pub", "sub", "uid", "uat"}
        if record[0] == "sig" and record[4] == key_id and record[10][:2] in SELF_SIGNATURES:
            newest[part] = max(newest.get(part, record), record, key=lambda sig: int(sig[5] or 0))
    weak = sorted({WEAK_HASHES[record[15]] for record in newest.values() if record[15] in WEAK_HASHES})
    return [f"its own signatures rest on {name}; renew them with a modern GnuPG" for name in weak]


def check_signature(ring: Keyring, signature: Path, file: Path, fingerprint: str) -> None:
    """Check one signature with nothing but the public key. Raises Problem when it is not a good one of ours."""
    try:
        made = ring.signer(signature, file)
    except Problem as problem:
        raise Problem(f"{signature.name} does not verify, although it was just made", *problem.lines) from None
    if made != (fingerprint, HASH_NUMBER):
        raise Problem(f"{signature.name} was made by {made[0]} with hash {made[1]}")


def files_to_sign(folder: Path) -> list[Path]:
    """Return the files, sorted. Raises Problem for one that cannot be signed, and when there is none."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    odd = [f.name for f in files if f.is_symlink() or not f.is_file() or f.suffix in {".asc", ".gpg"}]
    if odd:
        raise Problem(*(f"{name!r} is not a file that can be signed" for name in odd))
    if not files:
        raise Problem(f"there is nothing to sign in {folder}")
    return files


def sign_all(signing: Keyring, checking: Keyring, fingerprint: str, files: list[Path], out: Path) -> None:
    """Sign every file and check each signature, as many at once as there are processors."""
    jobs = [(file, out / f"{file.name}.asc", True) for file in files]
    jobs += [(file, out / f"{file.name}.gpg", False) for file in files if file.name == "SHA256SUMS"]

    def sign(job: tuple[Path, Path, bool]) -> None:
        file, signature, armor = job
        signing.sign(fingerprint, file, signature, armor=armor)
        check_signature(checking, signature, file, fingerprint)

    sign(jobs[0])  # alone: it starts the agent, and a wrong passphrase is reported once
    with ThreadPoolExecutor(max_workers=min(8, len(os.sched_getaffinity(0)))) as pool:
        list(pool.map(sign, jobs[1:]))


def wanted_key(fingerprint: str) -> str:
    """Return the fingerprint of the key that must sign. Raises Problem for what is none."""
    wanted = fingerprint.replace(" ", "").upper()
    if not re.fullmatch(r"[0-9A-F]{40}|[0-9A-F]{64}", wanted):
        raise Problem(f"{fingerprint!r} is not the fingerprint of a key: it has 40 or 64 hexadecimal digits")
    return wanted


class Signer(NamedTuple):
    """A private key that was checked, ready to sign. `public` is its public half, armored."""

    signing: Keyring
    checking: Keyring
    fingerprint: str
    public: bytes
    passphrase: bytes


@contextlib.contextmanager
def signer(chosen: ChosenKey) -> Iterator[Signer]:
    """Yield the chosen key. It is gone afterwards. Raises Problem for one that must not sign."""
    identity = chosen.ephemeral_identity
    wanted = "" if identity else wanted_key(chosen.fingerprint)
    key, passphrase = (b"", b"") if identity else read_secrets(chosen.secrets_dir)
    with keyrings(passphrase) as (signing, checking):
        if identity:
            wanted = signing.generate(identity, "1y")
        elif signing.gpg("--import", data=key, check=False).returncode != 0:
            raise Problem("the secret signing-key is not an OpenPGP private key that gpg can import")
        keys = signing.records("--fixed-list-mode", "--list-secret-keys")
        signatures = signing.records("--fixed-list-mode", "--list-sigs")
        check_key(keys, signatures, wanted, int(time.time()), chosen.min_valid_days)
        public = signing.export(wanted)
        checking.gpg("--import", data=public)
        yield Signer(signing, checking, wanted, public, passphrase)


def sign_release(ready: Signer, files: list[Path], out: Path) -> None:
    """Write the signatures of `files` to `out`, and the public key."""
    sign_all(ready.signing, ready.checking, ready.fingerprint, files, out)
    (out / "signing-key.asc").write_bytes(ready.public)
    (out / "signing-key.asc").chmod(0o644)


def main(params: Parameters) -> None:
    """Sign everything."""
    files = files_to_sign(params.artifacts_dir)
    params.out.mkdir(parents=True, exist_ok=True)
    with signer(params.key) as ready:
        sign_release(ready, files, params.out)


if __name__ == "__main__":
    run_program(main, Parameters)
