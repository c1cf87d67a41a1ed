"""Signs RPMs inside, in their headers, by rpm's own `rpmsign`, and checks each with nothing but the public key.

Params: see `Parameters`. The checks of the key of `sign.py` hold here too.

The key has to be RSA and the digest is SHA-256: rpm 4.14 of OL 8 verifies no newer kind. The time of a signature is
SOURCE_DATE_EPOCH, or that of the key where it is younger, because nobody trusts what is older than its key. With the
padding of PKCS #1 v1.5, which OpenPGP uses (RFC 9580, section 12.1), the same file, key and time give the same bytes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.programs.common import Problem, source_date_epoch
from pipeline.programs.gpg import Records
from pipeline.programs.sign.sign import RSA, ChosenKey, Signer, signer
from pipeline.programs.start import run_program

TIMEOUT = 600
GOOD = re.compile(r"^\s*Header V[34] RSA/SHA256 Signature, key ID [0-9a-f]+: OK$", re.MULTILINE)


@dataclass(frozen=True)
class Parameters:
    """Which packages are signed, and by whom."""

    key: ChosenKey
    packages: Path = Path("/in/packages")
    """The folder with the RPMs, and nothing else."""
    out: Path = Path("/out")
    """Where the signed ones go, under the same names."""


def key_time(keys: Records, epoch: int) -> int:
    """Return the time to sign at, in seconds. Raises Problem unless the key is RSA."""
    usable = [record for record in keys if record[0] in {"sec", "ssb"}]
    if any(record[3] not in RSA for record in usable if record[0] == "sec" or "s" in record[11]):
        raise Problem("RPMs are signed with RSA keys only: rpm 4.14, of Oracle Linux 8, knows no other that is safe")
    return max([epoch, *(int(record[5]) for record in usable)])


def run(*argv: str, what: str) -> str:
    """Run one of rpm's programs and return what it said. Raises Problem with that when it fails."""
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": str(Path.cwd())}
    try:
        done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=TIMEOUT, check=False)  # fmt: skip
    except FileNotFoundError:
        raise Problem(f"{argv[0]} is not in this image") from None
    except subprocess.TimeoutExpired:
        raise Problem(f"{argv[0]} did not finish within {TIMEOUT} seconds") from None
    if done.returncode:
        raise Problem(f"{what}: {argv[0]} failed with exit code {done.returncode}", *done.stdout.splitlines()[-10:])
    return done.stdout


def gpg_command(time: int, passphrase: Path) -> str:
    """Return rpm's macro for the command that makes a signature: the program's file, then its arguments from the name.

    Raises Problem when there is no gpg.
    """
    gpg = shutil.which("gpg")
    if gpg is None:
        raise Problem("gpg is not in this image")
    options = "--no-options --batch --no-tty --no-armor --no-auto-key-locate --pinentry-mode loopback"
    files = "-sbo %{__signature_filename} %{__plaintext_filename}"
    return (
        f"{gpg} gpg {options} --passphrase-file {passphrase} --faked-system-time {time}! "
        f"--digest-algo sha256 -u %{{_gpg_name}} {files}"
    )


def sign_headers(ready: Signer, packages: list[Path], out: Path, epoch: int) -> None:
    """Write the signed `packages` to `out`."""
    at = key_time(ready.signing.records("--fixed-list-mode", "--list-secret-keys"), epoch)
    copies = []
    for package in packages:
        copies.append(Path(shutil.copyfile(package, out / package.name)))
        copies[-1].chmod(0o644)
    passphrase = ready.signing.home / "passphrase"
    passphrase.write_bytes(ready.passphrase + b"\n")
    macros = {
        "_gpg_digest_algo": "sha256",
        "_gpg_name": ready.fingerprint,
        "_gpg_path": str(ready.signing.home),
        "__gpg_sign_cmd": gpg_command(at, passphrase),
    }
    defines = [word for name, value in macros.items() for word in ("--define", f"{name} {value}")]
    run("rpmsign", *defines, "--addsign", *map(str, copies), what="the packages were not signed")
    check(ready.public, copies)


def check(public: bytes, packages: list[Path]) -> None:
    """Raise Problem unless every package carries a good signature in its header by the one key `public`."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        key = Path(folder, "key.asc")
        key.write_bytes(public)
        base = ("rpmkeys", "--dbpath", f"{folder}/db")
        run(*base, "--import", str(key), what="rpm does not take the public key")
        for package in packages:
            output = run(*base, "--checksig", "--verbose", str(package), what=f"{package.name} does not verify")
            if not GOOD.search(output):
                raise Problem(f"{package.name} has no good signature in its header", *output.splitlines())


def rpms(folder: Path) -> list[Path]:
    """Return the packages in `folder`, sorted. Raises Problem for anything else, and when there is none."""
    found = sorted(folder.iterdir())
    odd = [path.name for path in found if path.suffix != ".rpm"]
    if odd or not found:
        raise Problem(*(f"{name} is not an RPM" for name in odd), *([] if found else [f"{folder} has no RPM"]))
    return found


def main(params: Parameters) -> None:
    """Sign all packages."""
    packages = rpms(params.packages)
    params.out.mkdir(parents=True, exist_ok=True)
    with signer(params.key) as ready:
        sign_headers(ready, packages, params.out, source_date_epoch())


if __name__ == "__main__":
    run_program(main, Parameters)
