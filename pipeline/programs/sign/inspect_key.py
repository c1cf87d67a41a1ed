"""Says which OpenPGP key a private key is, without using it.

Reads the secret `/run/secrets/signing-key` (armored, binary, or base64 of either). Params: see `Parameters`.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.programs import document
from pipeline.programs.common import Problem, decode_key
from pipeline.programs.document import Count
from pipeline.programs.gpg import Keyring, Records
from pipeline.programs.start import run_program

SECRET = Path("/run/secrets/signing-key")


@dataclass(frozen=True)
class Parameters:
    """Where to write what was found."""

    out: Path = Path("/out/key.json")


@dataclass(frozen=True)
class InspectedKey:
    """key.json: which key a private key is."""

    fingerprint: str
    """Of the primary key; empty for one that has none."""
    user_id: str
    algorithm: int
    """The number of RFC 9580, section 9.1."""
    created: Count
    """Seconds since 1970."""
    expires: Count
    """Seconds since 1970; 0 for never."""


def describe(listing: Records) -> InspectedKey:
    """Return what `gpg --show-keys` prints about the first private key. Raises Problem without one."""
    key = next((fields for fields in listing if fields[0] == "sec"), None)
    if key is None:
        found = "a public key" if any(fields[0] == "pub" for fields in listing) else "no OpenPGP key"
        raise Problem(f"the signing key is not an OpenPGP private key: it holds {found}")
    after = listing[listing.index(key) :]
    first = {kind: next((fields[9] for fields in after if fields[0] == kind), "") for kind in ("fpr", "uid")}
    algorithm, created, expires = (int(key[number] or 0) for number in (3, 5, 6))
    return InspectedKey(first["fpr"], first["uid"], algorithm, created, expires)


def look(ring: Keyring, key: bytes) -> InspectedKey:
    """Return what `key` is, without importing it. Raises Problem when it is not a private key."""
    return describe(ring.records("--show-keys", data=decode_key(key), check=False))


def main(params: Parameters) -> None:
    """Write what the key is."""
    if not SECRET.exists():
        raise Problem("this step was given no signing key")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        found = look(Keyring(Path(folder, "g")), SECRET.read_bytes())
    document.write(params.out, found)


if __name__ == "__main__":
    run_program(main, Parameters)
