"""Not a program: the one door to gpg, for programs of steps, the verifier as one file, and keys on this machine.

It starts gpg itself, as inside of a step there is no `pipeline.host`.

What gpg says is read from its two formats for machines only (GnuPG's doc/DETAILS): status lines, and the colon listing.
Both end lines with a line feed and escape it inside of a field. Nothing else ends a line there: a user id may hold
U+2028, at which `str.splitlines` would begin a line of that person's own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
from pathlib import Path

from pipeline.programs.common import Problem

logger = logging.getLogger(__name__)

OPTIONS = ("--no-options", "--batch", "--no-tty", "--yes", "--no-auto-key-locate", "--no-auto-key-retrieve")
"""Nothing of the user's configuration, no question, no key of the network."""

HASH, HASH_NUMBER = "SHA512", "10"  # RFC 9580, section 9.5; it is long enough for every curve that is accepted
STATUS = "[GNUPG:] "
TIMEOUT = 600
"""Seconds that one call of gpg may take."""

Records = list[list[str]]

_UNLOCK = ("--pinentry-mode", "loopback")
_HASH, _PRIMARY = 8, 10  # among the words of a VALIDSIG line, the keyword being number 0


def statuses(text: str) -> Records:
    """Return the words of each status line in what gpg wrote, the keyword first.

    A line counts by its beginning alone: a word inside of it may be part of a user id, which anybody may choose.
    """
    return [line[len(STATUS) :].split(" ") for line in text.split("\n") if line.startswith(STATUS)]


def records(text: str) -> Records:
    """Return the fields of each line of a colon listing, with empty ones for those that an older gpg lacks."""
    return [[*line.split(":"), *[""] * 20] for line in text.split("\n")]


class Keyring:
    """A GnuPG home of its own. `passphrase` goes to gpg's standard input with every use of the private key."""

    def __init__(self, home: Path, passphrase: bytes = b"") -> None:
        home.mkdir(mode=0o700)
        # The agent protects its copy of the key again. It lives in memory and for seconds, so that stretching the
        # passphrase for a second with every signature would protect nothing.
        (home / "gpg-agent.conf").write_text("s2k-count 65536\n")
        self.home = home
        self._passphrase = passphrase

    def gpg(self, *arguments: str, data: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run gpg and return what it did. Raises Problem with its last messages when it fails and `check` is true."""
        try:
            done = self._run("gpg", *OPTIONS, *arguments, data=data)
        except FileNotFoundError:
            raise Problem("the program gpg is not installed here") from None
        except subprocess.TimeoutExpired:
            raise Problem(f"gpg did not finish within {TIMEOUT} seconds") from None
        if check and done.returncode != 0:
            output = done.stderr.decode("utf-8", "replace")
            if "passphrase" in output:
                raise Problem("the key needs a passphrase, and the secret signing-passphrase is not the right one")
            raise Problem(f"gpg failed with exit code {done.returncode}", *output.splitlines()[-5:])
        return done

    def close(self) -> None:
        """End the agent that gpg has started for this home."""
        with contextlib.suppress(FileNotFoundError):
            self._run("gpgconf", "--kill", "all")

    def _run(self, *argv: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        env = {"PATH": os.environ.get("PATH", os.defpath), "GNUPGHOME": str(self.home), "LC_ALL": "C.UTF-8"}
        logger.info("%s runs", argv[0])
        logger.debug("%s", " ".join(argv))
        return subprocess.run(argv, env=env, input=data, capture_output=True, timeout=TIMEOUT, check=False)

    def records(self, *arguments: str, data: bytes = b"", check: bool = True) -> Records:
        """Return the records of a listing."""
        return records(self.gpg("--with-colons", *arguments, data=data, check=check).stdout.decode("utf-8", "replace"))

    def generate(self, identity: str, valid: str) -> str:
        """Make an RSA 4096 key without a passphrase that can only sign, and return its fingerprint."""
        self.gpg(*_UNLOCK, "--passphrase", "", "--quick-generate-key", identity, "rsa4096", "sign", valid)
        return next(record[9] for record in self.records("--list-secret-keys") if record[0] == "fpr")

    def sign(self, fingerprint: str, file: Path, signature: Path, *, armor: bool) -> None:
        """Write the detached signature of `file`."""
        form = ("--armor",) if armor else ("--no-armor",)
        make = ("--digest-algo", HASH, "--local-user", fingerprint, "--output", str(signature))
        key = self._passphrase + b"\n"
        self.gpg(*_UNLOCK, "--passphrase-fd", "0", *form, *make, "--detach-sign", str(file), data=key)
        signature.chmod(0o644)

    def export(self, fingerprint: str) -> bytes:
        """Return the armored public key, without other people's signatures. Raises Problem if it is not one."""
        key = self.gpg("--armor", "--export-options", "export-minimal", "--export", fingerprint).stdout
        if not key.startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK-----") or b"PRIVATE" in key:
            raise Problem("gpg did not export a public key")
        return key

    def export_private(self, fingerprint: str) -> bytes:
        """Return the armored private key."""
        return self.gpg(*_UNLOCK, "--passphrase", "", "--armor", "--export-secret-keys", fingerprint).stdout

    def signer(self, signature: Path, file: Path) -> tuple[str, str]:
        """Return (fingerprint of the primary key, number of the hash) of the one good signature of `file`.

        Every key of this ring is trusted. Raises Problem with gpg's last words when the signature is not good.
        """
        done = self.gpg(
            "--status-fd", "1", "--trust-model", "always", "--verify", str(signature), str(file), check=False
        )
        good = [words for words in statuses(done.stdout.decode("utf-8", "replace")) if words[0] == "VALIDSIG"]
        if done.returncode == 0 and len(good) == 1 and len(good[0]) > _PRIMARY:
            return good[0][_PRIMARY], good[0][_HASH]
        output = [line for line in done.stderr.decode("utf-8", "replace").split("\n") if line.strip()]
        raise Problem(output[-1].removeprefix("gpg: ") if output else f"gpg exited with {done.returncode}")
