"""Says which OpenPGP key a private key is, without using it.

Reads the secret `/run/secrets/signing-key` (armored, binary, or base64 of either). Params: `out`, the JSON file with
`fingerprint` (of the primary key), `user_id`, `algorithm` (the number of RFC 9580, section 9.1), `created` and
`expires` in seconds since 1970 (0: never), and `encrypted` (true when a passphrase protects it).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from pipeline.programs.common import Json, Params, Problem, decode_key, run_program, write_json
from pipeline.programs.gpg import Keyring, Records

SECRET = Path("/run/secrets/signing-key")


def describe(listing: Records) -> Json:
    """Return what `gpg --show-keys` says of the first private key. Raises Problem without one."""
    key: Json = {}
    for fields in listing:
        if fields[0] == "sec" and not key:
            key = {
                "algorithm": int(fields[3]),
                "created": int(fields[5] or 0),
                "expires": int(fields[6] or 0),
                "fingerprint": "",
                "user_id": "",
            }
        elif fields[0] == "fpr" and key and not key["fingerprint"]:
            key["fingerprint"] = fields[9]
        elif fields[0] == "uid" and key and not key["user_id"]:
            key["user_id"] = fields[9]
    if not key:
        found = "a public key" if any(fields[0] == "pub" for fields in listing) else "no OpenPGP key"
        raise Problem(f"the signing key is not an OpenPGP private key: it holds {found}")
    return key


def look(ring: Keyring, key: bytes) -> Json:
    """Return what `key` is, without importing it. Raises Problem when it is not a private key."""
    return describe(ring.records("--show-keys", data=decode_key(key), check=False))


def main(params: Params) -> None:
    """Write what the key is."""
    if not SECRET.exists():
        raise Problem("this step was given no signing key")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        found = look(Keyring(Path(folder, "g")), SECRET.read_bytes())
    write_json(Path(params["out"]), found)


if __name__ == "__main__":
    run_program(main)
