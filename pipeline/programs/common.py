"""What the programs that run inside steps share.

A program is started as `python3 -B -s /in/program/NAME.py /in/program/params.json`, reads `/in/<input>/...`, and leaves
its result in `/out`. Its outputs depend on its inputs and nothing else: JSON has sorted keys and a final newline, and
the only time it knows is `SOURCE_DATE_EPOCH`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

Json = dict[str, Any]


class Problem(Exception):  # noqa: N818 - it is not always an error of this program
    """What a person must read, one line each. Becomes `error: ...` on stderr and exit code 1."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class Params(dict[str, Any]):
    """The program's parameters. Asking for one that was not given is a Problem that names it."""

    def __missing__(self, key: str) -> Any:
        raise Problem(f"the parameters of this program lack {key!r}")

    def path(self, key: str, default: str) -> Path:
        """Return the path parameter `key`."""
        return Path(str(self.get(key, default)))


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises Problem naming the file when it is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise Problem(f"{path} is missing") from None
    except ValueError as error:
        raise Problem(f"{path} is not JSON: {error}") from None


def read_object(path: Path) -> Json:
    """Return the content of a JSON file that holds an object. Raises Problem otherwise."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise Problem(f"{path} holds a JSON {type(value).__name__}, not an object")
    return value


def to_json(value: Any) -> str:
    """Return `value` as JSON for people and diffs: sorted keys, two spaces, a final newline."""
    return json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with Unix line ends, mode 0644 whatever the umask, making parent directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))
    path.chmod(0o644)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as `to_json` renders it."""
    write_text(path, to_json(value))


def digests(path: Path) -> dict[str, str]:
    """Return {"sha256": hex, "sha512": hex} of a file, reading it once."""
    values = {"sha256": hashlib.sha256(), "sha512": hashlib.sha512()}
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            for value in values.values():
                value.update(block)
    return {name: value.hexdigest() for name, value in values.items()}


def sha256_of(path: Path) -> str:
    """Return the file's SHA-256 in hexadecimal."""
    return digests(path)["sha256"]


def source_date_epoch() -> int:
    """Return SOURCE_DATE_EPOCH in seconds. Raises Problem when the step did not set it."""
    value = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not value.isdecimal():
        raise Problem(f"SOURCE_DATE_EPOCH is {value!r}, not a number of seconds")
    return int(value)


def timestamp(seconds: int) -> str:
    """Return `seconds` since 1970 as UTC in RFC 3339, section 5.6."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def decode_key(data: bytes) -> bytes:
    """Return an OpenPGP key as gpg reads it: base64 around an armored or binary key is taken off."""
    if data.lstrip().startswith(b"-----BEGIN") or data[:1] >= b"\x80":
        return data
    try:
        return base64.b64decode(b"".join(data.split()), validate=True)
    except binascii.Error:
        return data


def run_program(main: Callable[[Params], None]) -> NoReturn:
    """Run `main` with the parameters from the file that argv names, and exit: 0, or 1 after `error: ...` lines."""
    if len(sys.argv) != 2:
        print(f"error: usage: {Path(sys.argv[0]).name} params.json", file=sys.stderr)
        sys.exit(1)
    sys.path[:] = [path for path in sys.path if path not in ("", str(Path.cwd()))]  # no module lies where sources are
    try:
        main(Params(read_object(Path(sys.argv[1]))))
    except Problem as problem:
        for line in problem.lines:
            print(f"error: {line}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        print(f"error: {error.filename or 'the system'}: {error.strerror or error}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)
