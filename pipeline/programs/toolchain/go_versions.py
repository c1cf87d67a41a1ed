"""Ask the module mirror which Go toolchains there are, and the checksum database for their sums.

Params: see `Parameters`.
The go command of this image lists the versions and downloads the toolchains; it refuses one whose sum is not the one in
the checksum database. Output: `toolchains.json`, which is `FoundToolchains`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.programs import document
from pipeline.programs.start import run_program
from pipeline.programs.toolchain.go_toolchain import MODULE, go_root, stop

CACHE = Path("/tmp/modules")


@dataclass(frozen=True)
class Parameters:
    """What is asked for."""

    wanted: str
    """`1.22` for its newest patch, `1.22.5` for that one, empty for the newest of each minor version since `oldest`."""
    oldest: str
    platform: str
    """Such as `linux-amd64`."""
    known: Mapping[str, str] = field(default_factory=dict)
    """Sums by version; such a toolchain is not downloaded again."""
    out: Path = Path("/out/toolchains.json")


@dataclass(frozen=True)
class FoundToolchain:
    """A toolchain that there is."""

    version: str
    sum: str
    """The `h1:` sum of its module."""


@dataclass(frozen=True)
class FoundToolchains:
    """toolchains.json: what was found, oldest first."""

    toolchains: tuple[FoundToolchain, ...]


def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the go command outside of any module, with nobody's own settings."""
    settings = {"GOENV": "off", "GOFLAGS": "-modcacherw", "GOMODCACHE": str(CACHE), "GOTOOLCHAIN": "local"}
    env = {**os.environ, **settings, "GOROOT": go_root(), "GOWORK": "off", "HOME": "/tmp"}
    return subprocess.run(["go", *arguments], env=env, cwd="/tmp", capture_output=True, text=True, check=False)


def listed(platform: str) -> list[str]:
    """Return the versions of all released toolchains for `platform`: no betas and no candidates."""
    done = ask("list", "-m", "-versions", MODULE)
    if done.returncode:
        stop(f"the module mirror does not list {MODULE}", *done.stderr.splitlines()[-5:])
    pattern = re.compile(rf"v0\.0\.1-go(1\.[0-9]+(?:\.[0-9]+)?)\.{re.escape(platform)}")
    return sorted((m[1] for m in map(pattern.fullmatch, done.stdout.split()) if m), key=order)


def order(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def newest(versions: list[str]) -> dict[str, str]:
    """Return {minor version: its newest patch}; `versions` are in their order."""
    return {".".join(version.split(".")[:2]): version for version in versions}


def chosen(versions: list[str], wanted: str, oldest: str) -> list[str]:
    """Return the versions that were asked for, in their order."""
    latest = newest(versions)
    if not wanted:
        return [version for minor, version in latest.items() if order(minor) >= order(oldest)]
    if wanted in latest:
        return [latest[wanted]]
    if wanted not in versions:
        stop(f"the module mirror has no Go {wanted}", f"its newest is {versions[-1] if versions else 'none at all'}")
    return [wanted]


def sum_of(version: str, platform: str) -> str:
    """Return the sum of a toolchain, which the go command has compared with the checksum database."""
    module = f"{MODULE}@v0.0.1-go{version}.{platform}"
    print(f"downloading Go {version} ({platform}) for its sum", file=sys.stderr, flush=True)
    done = ask("mod", "download", "-json", module)
    try:
        said = json.loads(done.stdout or "{}")
    except ValueError:
        said = {}
    if done.returncode or "Error" in said or not str(said.get("Sum", "")).startswith("h1:"):
        stop(f"the go command could not download {module}", *str(said.get("Error", done.stderr)).splitlines())
    return str(said["Sum"])


def main(params: Parameters) -> None:
    """Write what was found."""
    versions = chosen(listed(params.platform), params.wanted, params.oldest)
    found = (FoundToolchain(each, params.known.get(each) or sum_of(each, params.platform)) for each in versions)
    document.write(params.out, FoundToolchains(tuple(found)))


if __name__ == "__main__":
    run_program(main, Parameters)
