"""Compiles a small Go program as a FIPS binary is compiled, and asks the module in it what it does and refuses.

The settings of the go command are in the environment. Go's own module runs twice: as a binary runs, with fips140=on,
and with GODEBUG=fips140=only, in which it refuses what is not approved. BoringCrypto has no such mode and refuses
nothing; that is recorded, not hidden.

Output: `module`, `version`, `emulated`, and by algorithm whether it is approved and `in_module`, and how the module
`refuses` it, empty where it does not. Errors: the module is not the one that was asked for, an approved algorithm
does not work, or one that is not approved works in the mode that must refuse it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional

from pipeline.programs.build.proof import Algorithm, FipsModule, Probe
from pipeline.programs.build.prove import execute
from pipeline.programs.common import Problem
from pipeline.programs.document import loads, write
from pipeline.programs.start import run_program

ONLY = "fips140=only"
BORING_HAS = {"AES-256-GCM", "ECDH P-256", "ECDSA P-256", "HMAC-SHA-256", "SHA-256", "SHA-512"}
"""What Go takes from BoringCrypto among the approved algorithms; the rest is Go's own code (crypto/internal/boring)."""


@dataclass(frozen=True)
class Parameters:
    """Which module to ask, for which architecture, compiled with which tags and linker flags of the binary."""

    module: FipsModule
    arch: Literal["amd64", "arm64"]
    tags: tuple[str, ...]
    ldflags: tuple[str, ...]
    version: str = ""
    """The version that Go's own module must have, such as `v1.0.0`."""
    source: Path = Path("/in/source")
    """The folder with the program."""
    out: Path = Path("/out/probe.json")


@dataclass(frozen=True)
class ModuleAnswer:
    """What the program prints (`go/fips-probe/main.go`): its module, and why each algorithm failed, empty if not."""

    boringcrypto: bool
    enabled: bool
    enforced: bool
    version: str
    approved: dict[str, str]
    other: dict[str, str]


def compiled(params: Parameters, work: Path) -> Path:
    """Return the program, compiled. Raises Problem with the compiler's words."""
    shutil.copytree(params.source, work)
    program = work / "probe"
    argv = ["go", "build", "-trimpath", "-buildvcs=false", f"-tags={','.join(params.tags)}"]
    argv += [f"-ldflags={' '.join(params.ldflags)}", "-o", str(program), "."]
    environment = {**os.environ, "GOFLAGS": "-mod=mod"}
    done = subprocess.run(argv, cwd=work, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Problem("the FIPS probe was not compiled", *done.stderr.splitlines())
    return program


def asked(program: Path, arch: str, godebug: str) -> tuple[ModuleAnswer, bool]:
    """Return what the program reports about its module, and whether qemu ran it. Raises Problem when it fails."""
    ran = execute(program, arch, [], {"GODEBUG": godebug} if godebug else {})
    if ran.exit:
        raise Problem(f"the FIPS probe ended with exit code {ran.exit}", *ran.errors.splitlines()[:20])
    return loads(ModuleAnswer, ran.output, "the output of the FIPS probe"), ran.emulated


def check_module(found: ModuleAnswer, module: FipsModule, version: str) -> None:
    """Raise Problem unless the program has the module that was asked for."""
    expected = {"boringcrypto": True} if module is FipsModule.BORINGCRYPTO else {"enabled": True, "version": version}
    has = {key: getattr(found, key) for key in expected}
    wrong = [f"{key} is {has[key]!r}, not {value!r}" for key, value in expected.items() if has[key] != value]
    if wrong:
        raise Problem(*(f"the FIPS probe does not have the module {module.value}: {text}" for text in wrong))


def verdicts(module: FipsModule, usual: ModuleAnswer, strict: Optional[ModuleAnswer]) -> dict[str, Algorithm]:
    """Return each algorithm with its verdict; `strict` is of the mode that refuses, None without one."""
    has = set(usual.approved)
    named = has & BORING_HAS if module is FipsModule.BORINGCRYPTO else has
    broken = {name: failure for name, failure in usual.approved.items() if failure and name in named}
    if strict:
        broken.update({name: failure for name, failure in strict.approved.items() if failure})
        let = sorted(name for name, failure in strict.other.items() if not failure)
        if not strict.enforced or let:
            raise Problem(
                f"with GODEBUG={ONLY} the module refuses too little: {', '.join(let) or 'nothing is enforced'}"
            )
    if broken:
        raise Problem(*(f"{name} is approved and does not work: {failure}" for name, failure in sorted(broken.items())))
    algorithms = {name: Algorithm(in_module=True, refuses="") for name in named}
    for name in {*usual.approved, *usual.other} - named:
        failure = strict.other.get(name, "") if strict else ""
        algorithms[name] = Algorithm(in_module=False, refuses=f"{ONLY}: {failure}" if failure else "")
    return algorithms


def main(params: Parameters) -> None:
    """Write what the module says."""
    program = compiled(params, Path.cwd() / "probe")
    usual, emulated = asked(program, params.arch, "")
    check_module(usual, params.module, params.version)
    strict = asked(program, params.arch, ONLY)[0] if params.module is FipsModule.GO else None
    version = usual.version if strict else ""
    write(params.out, Probe(params.module, version, emulated, verdicts(params.module, usual, strict)))


if __name__ == "__main__":
    run_program(main, Parameters)
