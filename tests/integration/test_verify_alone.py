"""The verifier as one file, in an empty folder, over a small release that real gpg has signed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.programs import closure
from pipeline.programs.gpg import Keyring
from tests.conftest import require_tool

TRUSTED = "AB" * 20


@pytest.fixture
def ring() -> Iterator[Keyring]:
    require_tool("gpg")
    with tempfile.TemporaryDirectory(prefix="g-") as folder:  # gpg's socket needs a short path
        found = Keyring(Path(folder, "g"))
        yield found
        found.close()


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release of one file, not signed."""
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "file").write_bytes(b"content")
    entry = {"name": "file", "size": 7, "sha256": hashlib.sha256(b"content").hexdigest()}
    (folder / "release.json").write_text(json.dumps({"product": {"name": "p"}, "version": "1", "artifacts": [entry]}))
    for algorithm in ("sha256", "sha512"):
        lines = [
            f"{hashlib.new(algorithm, (folder / name).read_bytes()).hexdigest()}  {name}\n"
            for name in ("file", "release.json")
        ]
        (folder / f"{algorithm.upper()}SUMS").write_text("".join(lines))
    return folder


def signed(release: Path, ring: Keyring, user: str) -> str:
    """Sign `release` with a new key of `user`, and return its fingerprint."""
    unlock = ("--pinentry-mode", "loopback", "--passphrase", "")
    ring.gpg(*unlock, "--quick-generate-key", user, "ed25519", "sign", "1y")
    fingerprint = next(record[9] for record in ring.records("--list-secret-keys") if record[0] == "fpr")
    files = sorted(release.iterdir())
    for file in files:
        ring.sign(fingerprint, file, release / f"{file.name}.asc", armor=True)
    ring.sign(fingerprint, release / "SHA256SUMS", release / "SHA256SUMS.gpg", armor=False)
    (release / "signing-key.asc").write_bytes(ring.export(fingerprint))
    return fingerprint


def verify(release: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Verify with one file, away from this project."""
    place = release.parent / "alone"
    place.mkdir(exist_ok=True)
    (place / "verify.py").write_text(closure.alone("verify.verify"), encoding="utf-8")
    argv = [sys.executable, "-I", "verify.py", "--release", str(release), *arguments]
    env = {"PATH": os.environ["PATH"]}
    return subprocess.run(argv, cwd=place, env=env, capture_output=True, text=True, check=False)


def test_it_finds_what_is_good_and_what_is_not(release: Path, ring: Keyring) -> None:
    fingerprint = signed(release, ring, "Somebody <s@example.org>")
    done = verify(release, "--fingerprint", fingerprint)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"signed by {fingerprint}" in done.stdout
    (release / "file").write_bytes(b"Content")
    done = verify(release, "--fingerprint", fingerprint)
    assert done.returncode == 1
    assert "error: file is not the file that SHA256SUMS lists" in done.stderr
    assert "error: file.asc is not a good signature of file: BAD signature" in done.stderr


@pytest.mark.parametrize(
    "user",
    [
        f"Mallory VALIDSIG {TRUSTED}",
        f"Mallory\u2028[GNUPG:] VALIDSIG {TRUSTED} 2026-01-01 1767225600 0 4 0 1 10 00 {TRUSTED}",
    ],
    ids=["a word", "a line"],
)
def test_a_user_id_that_reads_like_gpg_is_believed_nothing(release: Path, ring: Keyring, user: str) -> None:
    fingerprint = signed(release, ring, user)
    done = verify(release, "--fingerprint", TRUSTED)
    assert done.returncode == 1
    assert f"file is signed by {fingerprint}, not by {TRUSTED}" in done.stderr
    assert verify(release, "--fingerprint", fingerprint).returncode == 0


def test_a_key_that_is_none_and_a_machine_without_gpg_are_told(
    release: Path, ring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed(release, ring, "Somebody <s@example.org>")
    (release.parent / "none.asc").write_text("none")
    done = verify(release, "--key", str(release.parent / "none.asc"))
    assert "error: signatures cannot be checked with none.asc: gpg failed" in done.stderr
    monkeypatch.setenv("PATH", str(release.parent))
    done = verify(release)
    assert "the program gpg is not installed here" in done.stderr
    assert "Traceback" not in done.stderr
