"""Signing keys on this machine: making one, and finding the one to use."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.engine.base import Secret
from pipeline.errors import SigningError
from pipeline.host.disk import write_whole
from pipeline.host.locks import locked
from pipeline.host.process import environment, run

DEVELOPMENT_IDENTITY = "Development key - not for shipping <development@localhost>"
VARIABLE = "PIPELINE_SIGNING_KEY"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and where it came from. `development` is true for the key that this machine made for itself."""

    secret: Secret = field(repr=False)
    origin: str
    development: bool = False


async def find_key(chosen: str | None, home: Path) -> SigningKey:
    """Return the key in the file `chosen`, in $PIPELINE_SIGNING_KEY, or this machine's development key.

    The development key is made on first use, below `home`. Raises SigningError when a file cannot be read.
    """
    if chosen:
        return SigningKey(Secret(_read(Path(chosen))), chosen)
    if os.environ.get(VARIABLE):
        return SigningKey(Secret(os.environb[VARIABLE.encode()]), f"${VARIABLE}")
    path = development_key(home)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with locked(path.with_suffix(".lock")):
            if not path.exists():  # two first releases at once sign with one key
                await generate_key(DEVELOPMENT_IDENTITY, path)
    return SigningKey(Secret(_read(path)), str(path), development=True)


def development_key(home: Path) -> Path:
    """Return where this machine's development key is."""
    return home / "signing" / "development.asc"


def remember(home: Path, key: SigningKey, found: Mapping[str, Any]) -> None:
    """Keep what was found in a key that is in a file, so that a plan need not look into the file."""
    path = Path(key.origin)
    if not key.origin.startswith("$"):
        before = _known(home)
        known = {**before, str(path.absolute()): [*_signs(path), dict(found)]}
        if known == before:
            return
        place = home / "signing" / "fingerprints.json"
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(place, json.dumps(known).encode())


def remembered(home: Path, chosen: str | None) -> dict[str, Any]:
    """Return what was found in the key that `find_key` would find; nothing when it is not known or has changed."""
    if not chosen and os.environ.get(VARIABLE):
        return {}
    path = Path(chosen) if chosen else development_key(home)
    *signs, found = _known(home).get(str(path.absolute()), [{}])
    return found if signs == _signs(path) and isinstance(found, dict) else {}


def _known(home: Path) -> dict[str, list[Any]]:
    try:
        return dict(json.loads((home / "signing" / "fingerprints.json").read_text("utf-8")))
    except (OSError, ValueError):
        return {}


def _signs(path: Path) -> list[int]:
    """Return what changes when the file does: time of change in nanoseconds, size; nothing without a file."""
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_mtime_ns, status.st_size]


async def generate_key(identity: str, path: Path) -> str:
    """Make an RSA 4096 signing key without a passphrase, valid for two years, and return its fingerprint.

    `path` gets the armored private key with mode 0600, and `path` with the suffix `.pub.asc` the public key. RSA,
    because rpm on Oracle Linux 8 and FIPS hosts take nothing else. Raises SigningError when gpg fails or the file
    already exists.
    """
    for each in (path, path.with_suffix(".pub.asc")):
        if each.exists():
            raise SigningError(f"{each} exists already", resolution="choose another file; keys are never overwritten")
    with tempfile.TemporaryDirectory(prefix="pipeline-gpg-") as folder:
        env = environment(GNUPGHOME=folder)
        gpg = ("gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", "")
        make = (*gpg, "--quick-generate-key", identity, "rsa4096", "sign", "2y")
        await run(make, env=env, error=SigningError)
        listing = await run(("gpg", "--batch", "--with-colons", "--list-keys"), env=env, error=SigningError)
        fingerprint = next(line.split(":")[9] for line in listing.text.splitlines() if line.startswith("fpr:"))
        private = await run((*gpg, "--armor", "--export-secret-keys", fingerprint), env=env, error=SigningError)
        public = await run(("gpg", "--batch", "--armor", "--export", fingerprint), env=env, error=SigningError)
        await run(("gpgconf", "--kill", "all"), env=env, check=False)
    write_whole(path, private.stdout, mode=0o600, new=True)
    write_whole(path.with_suffix(".pub.asc"), public.stdout, new=True)
    return fingerprint


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SigningError(
            f"the signing key {path} cannot be read: {error.strerror}",
            resolution="name a readable file with --signing-key, or make a key with `pipeline keygen`",
        ) from error
