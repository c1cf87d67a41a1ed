"""Which keys may sign a release, judged from gpg's colon listings."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from pipeline.programs import common
from pipeline.programs.common import Problem
from pipeline.programs.sign import sign

FINGERPRINT = "AB" * 20
NOW = 1_800_000_000
LATER = NOW + 365 * sign.DAY


def record(kind: str, **fields: object) -> list[str]:
    """A record with fields by number, from 1, as GnuPG's documentation counts."""
    cells = [kind] + [""] * 25
    for name, value in fields.items():
        cells[int(name[1:]) - 1] = str(value)
    return cells


def key(
    *, bits: int = 4096, algorithm: int = 1, expires: object = "", validity: str = "u", can: str = "scSC"
) -> list[list[str]]:
    return [
        record("sec", f2=validity, f3=bits, f4=algorithm, f5="KEYID", f7=expires, f12=can),
        record("fpr", f10=FINGERPRINT),
    ]


def check(keys: list[list[str]], signatures: list[list[str]] | None = None, wanted: str = FINGERPRINT) -> None:
    sign.check_key(keys, signatures or [], wanted, NOW, 90)


@pytest.mark.parametrize(
    "keys",
    [
        key(),
        key(bits=3072),
        key(bits=255, algorithm=22, expires=LATER),
        key(bits=384, algorithm=19),
        [*key(can="cSC"), record("ssb", f2="u", f3=255, f4=22, f7=LATER, f12="s")],
        [*key(), record("ssb", f2="e", f3=1024, f4=17, f7=NOW - 1, f12="s")],
        [*key(), record("ssb", f2="u", f3=2048, f4=1, f12="e")],
    ],
)
def test_good_keys(keys: list[list[str]]) -> None:
    check(keys)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (key(bits=2048), "RSA with 2048 bits is too weak"),
        (key(algorithm=17, bits=3072), "OpenPGP number 17"),
        (key(expires=NOW - 1, validity="e"), "it expired on 2027-01-15"),
        (key(expires=NOW), "it expired on"),
        (key(expires=NOW + 89 * sign.DAY), "it expires on 2027-04-14"),
        (key(validity="r"), "it was revoked"),
        (key(validity="d"), "disabled"),
        (key(can="cC"), "no valid key that may sign"),
        ([*key(can="cSC"), record("ssb", f2="u", f3=255, f4=22, f7=NOW + sign.DAY, f12="s")], "no valid key that may"),
        ([*key(can="cSC"), record("ssb", f2="u", f3=1024, f4=1, f12="s")], "RSA with 1024 bits"),
        ([*key(), *key()], "holds 2 private keys"),
        ([], "holds 0 private keys"),
    ],
)
def test_refused_keys(keys: list[list[str]], reason: str) -> None:
    with pytest.raises(Problem, match=reason):
        check(keys)


def test_another_key_is_refused() -> None:
    with pytest.raises(Problem, match=f"is {FINGERPRINT}, but the release is to be signed by CD"):
        check(key(), wanted="CD" * 20)


def test_weak_hashes_count_where_they_are_the_newest() -> None:
    old = record("sig", f5="KEYID", f6=100, f11="13x", f16=2)
    new = record("sig", f5="KEYID", f6=200, f11="13x", f16=8)
    foreign = record("sig", f5="OTHER", f6=300, f11="10x", f16=2)
    uid = record("uid")
    check(key(), [record("pub"), uid, new, old, foreign])
    with pytest.raises(Problem, match="rest on SHA-1"):
        check(key(), [record("pub"), uid, new, uid, old])


@pytest.mark.parametrize("data", [b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n", b"\x95\x01\x02"])
def test_keys_may_come_wrapped_in_base64(data: bytes) -> None:
    assert common.decode_key(data) == data
    wrapped = base64.encodebytes(data * 30)
    assert common.decode_key(wrapped) == data * 30


def test_nonsense_is_left_for_gpg_to_refuse() -> None:
    assert common.decode_key(b"not a key!") == b"not a key!"


def test_secrets(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="signing-key is missing"):
        sign.read_secrets(tmp_path)
    (tmp_path / "signing-key").write_bytes(b"\n")
    with pytest.raises(Problem, match="is empty"):
        sign.read_secrets(tmp_path)
    (tmp_path / "signing-key").write_bytes(b"\x95key")
    (tmp_path / "signing-passphrase").write_bytes(b"two words \n")
    assert sign.read_secrets(tmp_path) == (b"\x95key", b"two words ")


def test_only_plain_unsigned_files_are_signed(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="nothing to sign"):
        sign.files_to_sign(tmp_path)
    (tmp_path / "b").write_bytes(b"")
    (tmp_path / "a").write_bytes(b"")
    assert [path.name for path in sign.files_to_sign(tmp_path)] == ["a", "b"]
    (tmp_path / "a.asc").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(Problem, match=r"'a\.asc' is not a file that can be signed\n'folder'"):
        sign.files_to_sign(tmp_path)
