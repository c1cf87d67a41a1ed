"""Build programs of a Go module from its vendor folder: no network, no C compiler, the same bytes every time.

Parameters: `module`, the folder below /in/source that holds go.mod; `programs`, a list of objects with `folder` (below
/out), `package`, `program` (the executable's name) and `variables` (Go string variables to set).
Says how far it is every few seconds, since the scanners are a thousand packages each.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

WORK, BIN = Path("source"), Path("bin")
"""A copy of the source, and what is built, where the program starts."""
EVERY = 5.0
"""Seconds between two lines of progress."""


def prepare(module: str) -> Path:
    """Lay out the module with its vendor folder and return where it is."""
    shutil.copytree("/in/source", WORK)
    folder = WORK / module
    (folder / "vendor").symlink_to("/in/vendor/vendor")
    return folder


def linker_flags(program: dict[str, Any]) -> str:
    """Return the `-ldflags` of one program: they are for its main package only."""
    assignments = [shlex.quote(f"-X={name}={value}") for name, value in sorted(program["variables"].items())]
    return f"-ldflags={program['package']}=-s -w -buildid= {' '.join(assignments)}".rstrip()


def count(folder: Path, packages: list[str], env: dict[str, str]) -> int:
    """Return how many packages the programs consist of, at most."""
    argv = ["go", "list", "-mod=vendor", "-deps", "-f", "{{.ImportPath}}", *packages]
    listed = subprocess.run(argv, cwd=folder, env=env, stdout=subprocess.PIPE, check=False)
    return len(listed.stdout.splitlines())


def build(folder: Path, programs: list[dict[str, Any]], env: dict[str, str]) -> int:
    """Build everything in one run, so that what two programs share is compiled once. Return the exit code."""
    packages = [program["package"] for program in programs]
    total = count(folder, packages, env)
    argv = ["go", "build", "-v", "-mod=vendor", "-trimpath", "-buildvcs=false"]
    argv += [linker_flags(program) for program in programs]
    process = subprocess.Popen(
        [*argv, "-o", f"{BIN.absolute()}/", *packages],
        cwd=folder,
        env=env,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    started = said = time.monotonic()
    compiled = 0
    for line in process.stderr:
        if " " in line.strip() or ":" in line:  # a message, not the name of a package
            sys.stderr.write(line)
            continue
        compiled += 1
        now = time.monotonic()
        if now - said >= EVERY:
            said = now
            print(
                f"compiled {compiled} of at most {total} packages in {now - started:.0f} s", file=sys.stderr, flush=True
            )
    return process.wait()


def main() -> None:
    params = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    folder = prepare(params["module"])
    settings = {
        "CGO_ENABLED": "0",
        "GODEBUG": "goindex=0",  # it tells files by size and time, and those of two versions of a program can have both
        "GOENV": "off",
        "GOFLAGS": "",
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "HOME": "/tmp",
    }
    BIN.mkdir()
    code = build(folder, params["programs"], {**os.environ, **settings})
    if code:
        print(f"error: go build failed with exit code {code}", file=sys.stderr)
        sys.exit(1)
    for program in params["programs"]:
        target = Path("/out") / program["folder"]
        target.mkdir()
        shutil.copyfile(BIN / program["program"], target / program["program"])
        (target / program["program"]).chmod(0o755)


if __name__ == "__main__":
    main()
