"""Runs govulncheck over the source of each binary and writes what can be called in it: `<binary>/govulncheck.json`.

Params: see `Parameters`.

One binary after the other: a large program takes gigabytes.

Output: `Reachability`, with one finding for each vulnerability in one version of a module that the build needs.
The call paths themselves are not kept: govulncheck shows one of several, and not always the same.

A run that failed is a result too: `failed` says why, and then nothing is known.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pipeline.programs import document
from pipeline.programs.common import Json, Problem
from pipeline.programs.scan.scan_documents import Govulncheck, ModuleFinding, Reachability, VulnerabilityDatabase
from pipeline.programs.start import run_program

PROGRAM = "govulncheck"
MODULE = "golang.org/x/vuln"
LEVELS = ("module", "package", "symbol")
SHOWN_LINES = 6
GARBAGE = {"GOGC": "40"}
"""Collect garbage sooner than usual: of what govulncheck holds most is never freed, so it costs little, saves much."""
NO_SPACE = re.compile(r"\S")


@dataclass(frozen=True)
class CheckedBinary:
    """A binary whose source is looked at, and what else the compiler was told."""

    name: str
    tags: tuple[str, ...]
    env: Mapping[str, str]
    """GOOS, GOARCH, GOEXPERIMENT, ..."""


@dataclass(frozen=True)
class Parameters:
    """What is looked at."""

    folder: str
    """The folder with go.mod."""
    package: str
    """The main package, seen from there."""
    binaries: tuple[CheckedBinary, ...]
    database: Path
    """The database's folder: `v1` in it is in the layout of https://go.dev/security/vuln/database#api."""
    out: Path = Path("/out")


def run(argv: list[str], env: dict[str, str]) -> str:
    """Return what a program printed. Raises Problem with the end of what it complained about."""
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    if done.returncode < 0:
        raise Problem(f"{argv[0]} was killed by signal {-done.returncode}: is there too little memory?")
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise Problem(f"{argv[0]} exited with {done.returncode}: {' / '.join(lines[:SHOWN_LINES])}")
    return done.stdout


def messages(text: str) -> Iterator[Json]:
    """Yield the JSON values of a stream, which nothing but space separates."""
    decoder, at = json.JSONDecoder(), len(text) - len(text.lstrip())
    while at < len(text):
        value, end = decoder.raw_decode(text, at)
        yield value
        rest = NO_SPACE.search(text, end)
        at = rest.start() if rest else len(text)


def level_of(frame: Json) -> Literal["module", "package", "symbol"]:
    """Return how near a finding is, from the first frame of its trace (govulncheck's JSON protocol, Finding)."""
    return "symbol" if frame.get("function") else "package" if frame.get("package") else "module"


def symbol_of(frame: Json) -> str:
    """Return `path.Function` or `path.Type.Method` of a frame."""
    receiver = str(frame.get("receiver") or "").lstrip("*").rpartition(".")[2]
    return ".".join(part for part in (frame["package"], receiver, frame["function"]) if part)


def summary(stream: list[Json], version: str) -> Reachability:
    """Return what the messages of one run say, in an order that does not vary; `version` is that of the program."""
    config: Json = next((message["config"] for message in stream if "config" in message), {})
    advisories = {message["osv"]["id"]: message["osv"] for message in stream if "osv" in message}
    found: dict[tuple[str, str, str], ModuleFinding] = {}
    for finding in (message["finding"] for message in stream if "finding" in message):
        frame, about = finding["trace"][0], advisories.get(finding["osv"], {})
        key = (finding["osv"], frame["module"], frame.get("version") or "")
        first = ModuleFinding(
            ids=tuple(sorted({finding["osv"], *(about.get("aliases") or [])})),
            module=key[1],
            version=key[2],
            fixed_in=finding.get("fixed_version") or "",
            title=about.get("summary") or "",
            url=(about.get("database_specific") or {}).get("url") or "",
            level="module",
            symbols=(),
        )
        entry, level = found.get(key, first), level_of(frame)
        reached = {symbol_of(frame)} if level == "symbol" else set()
        found[key] = replace(
            entry,
            level=max(entry.level, level, key=LEVELS.index),
            symbols=tuple(sorted({*entry.symbols, *reached})),
        )
    database = VulnerabilityDatabase(str(config.get("db_last_modified") or ""))
    scanner = Govulncheck(PROGRAM, version, str(config.get("go_version") or ""), database)
    return Reachability(tuple(found[key] for key in sorted(found)), scanner)


def version(path: str, env: dict[str, str]) -> str:
    """Return the version of the module that the program was built from, or an empty string.

    The program itself gives the version of the main module that it is part of, which is not its own here.
    """
    listed = run(["go", "version", "-m", path], env)
    match = re.search(rf"^\s+(?:dep|mod)\s+{re.escape(MODULE)}\s+v(\S+)", listed, re.MULTILINE)
    return match[1] if match else ""


def without_experiments(version: str) -> str:
    """Return the version of Go alone; with experiments after it, govulncheck would take it for no version at all.

    They are written `go1.25.14 X:boringcrypto`, and since Go 1.26 `go1.26.11-X:boringcrypto`.
    """
    return re.split("[ -]X:", version.strip())[0]


def check(params: Parameters, tags: Sequence[str], env: dict[str, str]) -> Reachability:
    """Return the content of `govulncheck.json`. Raises Problem when the run proves nothing."""
    database = params.database / "v1"
    if not (database / "index" / "modules.json").is_file():
        raise Problem("it has no database")
    program = next((f"{folder}/{PROGRAM}" for folder in env["PATH"].split(":") if Path(folder, PROGRAM).is_file()), "")
    toolchain = without_experiments(run(["go", "env", "GOVERSION"], env))
    argv = [PROGRAM, f"-db=file://{database}", "-format=json", f"-C={params.folder}"]
    argv += [f"-tags={','.join(tags)}"] if tags else []
    stream = list(messages(run([*argv, params.package], {**env, **GARBAGE, "GOVERSION": toolchain})))
    return summary(stream, version(program, env))


def main(params: Parameters) -> None:
    """Write the results, or why there is none."""
    for binary in params.binaries:
        try:
            result = check(params, binary.tags, {**os.environ, **binary.env})
        except Problem as problem:
            result = Reachability((), failed=str(problem))
        except (ValueError, KeyError) as error:
            result = Reachability((), failed=f"its output cannot be read: {error!r}")
        document.write(params.out / binary.name / "govulncheck.json", result)
        print(f"{binary.name}: {result.failed or 'done'}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_program(main, Parameters)
