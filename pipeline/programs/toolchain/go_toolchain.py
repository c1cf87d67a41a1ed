"""Fetch an official Go toolchain as the module that the Go project publishes, check it, and lay it out in /out.

Parameters: `version` ("1.26.8"), `platform` ("linux-amd64"), `sum` (the module's `h1:` sum).
The go command of this image downloads it, from whatever module proxy is configured, and checks it against the
checksum database; the sum is then computed again here over the very files that are copied.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

MODULE = "golang.org/toolchain"
LEFT_OUT = {"api", "doc", "misc", "test"}
"""Folders at the top that building does not need. Tests and their data are left out everywhere."""

EXECUTABLE = ("bin/", "pkg/tool/")
"""A module's zip keeps no permission bits; these are the folders of programs (as cmd/go knows them too)."""


def stop(*lines: str) -> NoReturn:
    for line in lines:
        print(f"error: {line}", file=sys.stderr)
    sys.exit(1)


def go_root() -> str:
    """Return the root of the go command that does the download. It was built to look elsewhere when trimmed."""
    program = shutil.which("go")
    if program is None:
        stop("this image has no go command, which fetches the toolchain")
    return str(Path(program).resolve().parent.parent)


def download(version: str, cache: Path) -> dict[str, str]:
    """Download the module `MODULE@version` and return what the go command says of it."""
    settings = {
        "GOROOT": go_root(),
        "GOTOOLCHAIN": "local",
        "GOMODCACHE": str(cache),
        "GOFLAGS": "-modcacherw",
        "GOENV": "off",
        "HOME": "/tmp",
    }
    done = subprocess.run(
        ["go", "mod", "download", "-json", f"{MODULE}@{version}"],
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        cwd="/tmp",
        check=False,
    )
    try:
        said = json.loads(done.stdout or b"{}")
    except ValueError:
        said = {}
    if done.returncode or "Error" in said or "Dir" not in said:
        stop(f"the go command could not download {MODULE}@{version}", *str(said.get("Error", "")).splitlines())
    return {name: str(value) for name, value in said.items()}


def files_of(folder: Path) -> Iterator[str]:
    """Yield the path of every file below `folder`, relative to it."""
    for parent, _, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(f"{parent}/{name}", folder)


def wanted(path: str) -> bool:
    parts = path.split("/")
    return parts[0] not in LEFT_OUT and "testdata" not in parts and not path.endswith("_test.go")


def copy_and_hash(source: Path, target: Path, prefix: str) -> str:
    """Copy what is wanted and return the `h1:` sum of everything.

    The sum is SHA-256, in base64, over lines `<SHA-256 of a file>  <prefix>/<path>` sorted by path: the
    go command's directory hash (golang.org/x/mod/sumdb/dirhash, Hash1).
    """
    lines: list[str] = []
    for path in sorted(files_of(source), key=lambda name: f"{prefix}/{name}".encode()):
        data = (source / path).read_bytes()
        lines.append(f"{hashlib.sha256(data).hexdigest()}  {prefix}/{path}\n")
        if wanted(path):
            copy = target / path
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(data)
            copy.chmod(0o755 if path.startswith(EXECUTABLE) else 0o644)
    return "h1:" + base64.b64encode(hashlib.sha256("".join(lines).encode()).digest()).decode()


def main() -> None:
    params = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    version = f"v0.0.1-go{params['version']}.{params['platform']}"
    print(f"downloading Go {params['version']} ({params['platform']})", file=sys.stderr, flush=True)
    module = download(version, Path("/tmp/modules"))
    found = copy_and_hash(Path(module["Dir"]), Path("/out"), f"{MODULE}@{version}")
    if found != params["sum"]:
        stop(
            f"the toolchain that was downloaded is not the one that is pinned: {found}, not {params['sum']}",
            f"when the version was changed on purpose, `sum` is what the checksum database says of {MODULE} {version}",
        )


if __name__ == "__main__":
    main()
