"""Signing with real gpg and real keys: good ones, weak ones, protected ones, and nothing left behind."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pipeline.programs.sign import sign
from pipeline.programs.verify import verify
from tests.conftest import require_tool, running
from tests.programs import run_program

PASSPHRASE = 'Träger 7 "quoted"'


@dataclass(frozen=True)
class Key:
    """A private key, armored, and its fingerprint."""

    private: bytes
    fingerprint: str


Make = Callable[..., Key]


@pytest.fixture(scope="module")
def make() -> Iterator[Make]:
    """Return a function that makes a key with real gpg, once for each kind."""
    require_tool("gpg")
    made: dict[tuple[str, ...], Key] = {}
    with tempfile.TemporaryDirectory(prefix="g-") as home:
        env = {"PATH": os.environ["PATH"], "GNUPGHOME": home}

        def gpg(*arguments: str, passphrase: str) -> bytes:
            argv = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", passphrase, *arguments]
            return subprocess.run(argv, env=env, check=True, capture_output=True).stdout

        def key(algorithm: str, expires: str = "2y", passphrase: str = "", options: tuple[str, ...] = ()) -> Key:
            kind = (algorithm, expires, passphrase, *options)
            if kind not in made:
                user = f"key{len(made)}@test"
                gpg(*options, "--quick-generate-key", user, algorithm, "sign", expires, passphrase=passphrase)
                listing = gpg("--with-colons", "--list-keys", user, passphrase="").decode()
                fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))
                made[kind] = Key(gpg("--armor", "--export-secret-keys", user, passphrase=passphrase), fingerprint)
            return made[kind]

        yield key
        subprocess.run(["gpgconf", "--kill", "all"], env=env, check=True)


@dataclass
class Step:
    """A signing step over a release of a few files, with the layout of a sandbox."""

    root: Path

    def run(self, private: bytes | None, fingerprint: str, passphrase: str = "", min_valid_days: int = 90) -> str:
        """Run the program as a step does; return what it printed. Exit code 0 means no `error:`."""
        for name in ("secrets", "work"):
            (self.root / name).mkdir(exist_ok=True)
        if private is not None:
            (self.root / "secrets" / "signing-key").write_bytes(private)
        if passphrase:
            (self.root / "secrets" / "signing-passphrase").write_text(passphrase + "\n")
        key = sign.ChosenKey(fingerprint, min_valid_days=min_valid_days, secrets_dir=self.root / "secrets")
        every = sign.Parameters(key, self.root / "in", self.root / "out")
        done = run_program("sign.sign", every, self.root / "work", SOURCE_DATE_EPOCH="0")
        assert (done.returncode == 0) == ("error:" not in done.stderr)
        assert list((self.root / "work").iterdir()) == []
        return done.stdout + done.stderr

    @property
    def out(self) -> list[str]:
        """The names of what was written."""
        folder = self.root / "out"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def step() -> Iterator[Step]:
    """A release that `verify` accepts but for signatures. Its path is short, as gpg's sockets need."""
    with tempfile.TemporaryDirectory(prefix="s-") as root:
        folder = Path(root, "in")
        folder.mkdir()
        (folder / "weed").write_bytes(b"binary")
        entry = {"name": "weed", "size": 6, "sha256": verify.digest_of(folder / "weed", "sha256")}
        (folder / "release.json").write_text(
            json.dumps({"product": {"name": "weed"}, "version": "1", "artifacts": [entry]})
        )
        for algorithm in ("sha256", "sha512"):
            lines = [f"{verify.digest_of(folder / n, algorithm)}  {n}\n" for n in ("release.json", "weed")]
            (folder / f"{algorithm.upper()}SUMS").write_text("".join(lines))
        yield Step(Path(root))


EXPECTED = sorted(
    ["SHA256SUMS.asc", "SHA256SUMS.gpg", "SHA512SUMS.asc", "release.json.asc", "signing-key.asc", "weed.asc"]
)


@pytest.mark.parametrize(
    ("algorithm", "passphrase"), [("rsa3072", ""), ("ed25519", PASSPHRASE), ("nistp384", ""), ("nistp521", "x")]
)
def test_a_signed_release_verifies(make: Make, step: Step, algorithm: str, passphrase: str) -> None:
    key = make(algorithm, passphrase=passphrase)
    assert step.run(key.private, key.fingerprint, passphrase) == ""
    assert step.out == EXPECTED
    for path in (step.root / "out").iterdir():
        path.rename(step.root / "in" / path.name)
    result = verify.verify(verify.Parameters(str(step.root / "in"), fingerprint=key.fingerprint))
    assert (result.problems, result.signed_by) == ((), (key.fingerprint,))


def test_verifying_needs_no_program_but_gpg(make: Make, step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    key, other = make("ed25519"), make("nistp384")
    step.run(key.private, key.fingerprint)
    for path in (step.root / "out").iterdir():
        path.rename(step.root / "in" / path.name)
    (step.root / "bin").mkdir()
    (step.root / "bin/gpg").symlink_to(require_tool("gpg"))
    monkeypatch.setenv("PATH", str(step.root / "bin"))
    release = verify.Parameters(str(step.root / "in"))
    assert verify.verify(release).problems == ()
    assert "is signed by" in verify.verify(replace(release, fingerprint=other.fingerprint)).problems[0]
    signature = step.root / "in/weed.asc"
    signature.write_bytes((step.root / "in/release.json.asc").read_bytes())
    (problem,) = verify.verify(release).problems
    assert problem.startswith("weed.asc is not a good signature of weed: ")
    (step.root / "in/signing-key.asc").write_bytes(b"no key")
    (problem,) = verify.verify(release).problems
    assert problem.startswith("signatures cannot be checked with signing-key.asc: ")


def test_the_private_key_is_nowhere_in_the_output(make: Make, step: Step) -> None:
    key = make("rsa3072")
    said = step.run(base64.b64encode(key.private), key.fingerprint.lower())
    body = [line for line in key.private.decode().splitlines() if len(line) == 64]
    written = said.encode() + b"".join(path.read_bytes() for path in (step.root / "out").iterdir())
    assert b"PRIVATE" not in written
    # The packets of a private key begin with those of the public one; what follows must be nowhere.
    assert not [line for line in body[len(body) // 2 :] if line.encode() in written]
    assert (step.root / "out" / "signing-key.asc").stat().st_mode & 0o777 == 0o644


def test_no_agent_outlives_the_step(make: Make, step: Step) -> None:
    key = make("ed25519", passphrase=PASSPHRASE)
    step.run(key.private, key.fingerprint, PASSPHRASE)
    assert [line for line in running(str(step.root)) if "agent" in line] == []


@pytest.mark.parametrize("passphrase", ["", "wrong"])
def test_a_wrong_passphrase_is_said_and_not_shown(make: Make, step: Step, passphrase: str) -> None:
    key = make("ed25519", passphrase=PASSPHRASE)
    said = step.run(key.private, key.fingerprint, passphrase)
    assert said == "error: the key needs a passphrase, and the secret signing-passphrase is not the right one\n"
    assert step.out == []


@pytest.mark.parametrize(
    ("algorithm", "expires", "options", "reason"),
    [
        ("rsa2048", "2y", (), "RSA with 2048 bits is too weak"),
        ("ed25519", "30d", (), "must be valid for 90 more days"),
        ("ed25519", "20200201T000000", ("--faked-system-time", "20200101T000000"), "it expired on 2020-02-01"),
        ("rsa3072", "3y", ("--cert-digest-algo", "SHA1"), "rest on SHA-1"),
    ],
)
def test_keys_that_must_not_sign(
    make: Make, step: Step, algorithm: str, expires: str, options: tuple[str, ...], reason: str
) -> None:
    key = make(algorithm, expires, options=options)
    assert reason in step.run(key.private, key.fingerprint)
    assert step.out == []


def test_how_long_a_key_must_be_valid_is_a_parameter(make: Make, step: Step) -> None:
    key = make("ed25519", "30d")
    assert step.run(key.private, key.fingerprint, min_valid_days=20) == ""


def test_another_key_than_the_promised_one_is_refused(make: Make, step: Step) -> None:
    key, other = make("ed25519", "30d"), make("rsa3072")
    assert f"to be signed by {other.fingerprint}" in step.run(key.private, other.fingerprint)
    assert "is not the fingerprint of a key" in step.run(key.private, "0xABCD")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "signing-key is missing"), (b"", "is empty"), (b"rubbish", "not an OpenPGP private key")],
)
def test_what_is_no_key_is_said(make: Make, step: Step, content: bytes | None, reason: str) -> None:
    assert reason in step.run(content, make("rsa3072").fingerprint)


def test_a_public_key_cannot_sign(make: Make, step: Step) -> None:
    key = make("rsa3072")
    step.run(key.private, key.fingerprint)
    public = (step.root / "out" / "signing-key.asc").read_bytes()
    assert "holds 0 private keys" in step.run(public, key.fingerprint)
