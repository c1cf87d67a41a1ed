"""Signing keys on this machine: making one, and finding the one to use."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio.to_thread

from pipeline.engine.base import Secret
from pipeline.errors import SigningError
from pipeline.host.disk import write_whole
from pipeline.host.locks import locked
from pipeline.host.process import find_program
from pipeline.programs.common import Problem
from pipeline.programs.document import WrongDocument, parse, plain
from pipeline.programs.gpg import Keyring
from pipeline.programs.sign.inspect_key import InspectedKey

logger = logging.getLogger(__name__)

DEVELOPMENT_IDENTITY = "Development key - not for shipping <development@localhost>"
VARIABLE = "PIPELINE_SIGNING_KEY"
MEMORY = Path("/dev/shm")


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
        logger.info("the signing key is in %s, as --signing-key says", chosen)
        return SigningKey(Secret(_read(Path(chosen))), chosen)
    if os.environ.get(VARIABLE):
        logger.info("the signing key is in $%s", VARIABLE)
        return SigningKey(Secret(os.environb[VARIABLE.encode()]), f"${VARIABLE}")
    path = development_key(home)
    logger.info("no signing key is given: %s is used%s", path, "" if path.exists() else ", and made now")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with locked(path.with_suffix(".lock")):
            if not path.exists():  # two first releases at once sign with one key
                await generate_key(DEVELOPMENT_IDENTITY, path)
    return SigningKey(Secret(_read(path)), str(path), development=True)


def development_key(home: Path) -> Path:
    """Return where this machine's development key is."""
    return home / "signing" / "development.asc"


def remember(home: Path, key: SigningKey, found: InspectedKey) -> None:
    """Keep what was found in a key that is in a file, so that a plan need not look into the file."""
    path = Path(key.origin)
    if not key.origin.startswith("$"):
        before = _known(home)
        known = {**before, str(path.absolute()): [*_signs(path), plain(found)]}
        if known == before:
            return
        place = home / "signing" / "fingerprints.json"
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(place, json.dumps(known).encode())


def remembered(home: Path, chosen: str | None) -> InspectedKey | None:
    """Return what was found in the key that `find_key` would find; None when it is not known or has changed."""
    if not chosen and os.environ.get(VARIABLE):
        return None
    path = Path(chosen) if chosen else development_key(home)
    *signs, found = _known(home).get(str(path.absolute()), [{}])
    try:
        return parse(InspectedKey, found, "the key") if signs == _signs(path) else None
    except WrongDocument:  # another version of this program wrote it
        return None


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
    find_program("gpg", error=SigningError)
    try:
        fingerprint, private, public = await anyio.to_thread.run_sync(_generate, identity)
    except Problem as problem:
        raise SigningError(
            f"gpg could not make a key for {identity!r}",
            details=str(problem),
            resolution="write the identity like 'Releases <releases@example.org>', and use GnuPG 2.2 or newer",
        ) from problem
    write_whole(path, private, mode=0o600, new=True)
    write_whole(path.with_suffix(".pub.asc"), public, new=True)
    return fingerprint


def _generate(identity: str) -> tuple[str, bytes, bytes]:
    """Return the fingerprint, the private and the public half of a new key. Raises Problem."""
    with tempfile.TemporaryDirectory(prefix="pipeline-gpg-", dir=in_memory()) as folder:
        ring = Keyring(Path(folder, "g"))
        try:
            fingerprint = ring.generate(identity, "2y")
            return fingerprint, ring.export_private(fingerprint), ring.export(fingerprint)
        finally:
            ring.close()


def in_memory() -> Path | None:
    """Return the folder in which private keys lie for a moment: in memory if this machine has it, otherwise None."""
    return MEMORY if os.access(MEMORY, os.W_OK) else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SigningError(
            f"the signing key {path} cannot be read: {error.strerror}",
            resolution="name a readable file with --signing-key, or make a key with `pipeline keygen`",
        ) from error
