"""Whether a signing key can sign a release, found out before there is one: with the checks of the steps that sign."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.programs.common import Problem, decode_key
from pipeline.programs.gpg import Keyring
from pipeline.programs.sign import inspect_key, rpm_sign, sign
from pipeline.signing.keys import SigningKey, in_memory


@dataclass(frozen=True, slots=True)
class Examined:
    """A signing key: its fingerprint and its user id, as far as they can be read, and all that is wrong with it."""

    fingerprint: str = ""
    user_id: str = ""
    problems: tuple[str, ...] = ()


def examine(key: SigningKey, *, rpms: bool) -> Examined:
    """Return what `key` is and everything that would stop it from signing a release; with `rpms`, one with RPMs.

    It signs a file and checks the signature, in keyrings of their own that are removed afterwards. Raises OSError.
    """
    data = decode_key(key.secret.reveal())
    with (
        tempfile.TemporaryDirectory(prefix="pipeline-key-", dir=in_memory()) as folder,
        sign.keyrings(b"", Path(folder)) as (signing, checking),
    ):
        try:
            about = inspect_key.look(signing, data)
        except Problem as problem:
            return Examined(problems=problem.lines)
        problems = tuple(_problems(signing, checking, data, about.fingerprint, Path(folder), rpms=rpms))
    return Examined(about.fingerprint, about.user_id, tuple(dict.fromkeys(problems)))


def _problems(
    signing: Keyring, checking: Keyring, data: bytes, fingerprint: str, folder: Path, *, rpms: bool
) -> Iterator[str]:
    if signing.gpg("--import", data=data, check=False).returncode != 0:
        yield "the signing key is not an OpenPGP private key that gpg can import"
        return
    keys = signing.records("--fixed-list-mode", "--list-secret-keys")
    signatures = signing.records("--fixed-list-mode", "--list-sigs")
    refused = False
    try:
        sign.check_key(keys, signatures, fingerprint, int(time.time()), sign.MIN_VALID_DAYS)
    except Problem as problem:
        refused = True
        yield from problem.lines
    if rpms:
        try:
            rpm_sign.key_time(keys, 0)
        except Problem as problem:
            yield from problem.lines
    if not refused:
        yield from _trial(signing, checking, fingerprint, folder)


def _trial(signing: Keyring, checking: Keyring, fingerprint: str, folder: Path) -> Iterator[str]:
    """Yield why a signature cannot be made, or not be checked."""
    file, signature = folder / "file", folder / "file.asc"
    file.write_text("A file to sign.\n", encoding="utf-8")
    try:
        signing.sign(fingerprint, file, signature, armor=True)
        checking.gpg("--import", data=signing.export(fingerprint))
        sign.check_signature(checking, signature, file, fingerprint)
    except Problem as problem:
        yield from problem.lines
