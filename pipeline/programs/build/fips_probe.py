"""Compiles a small Go program as a FIPS binary is compiled, and asks the module in it what it does and refuses.

Params:
  source   the folder with the program (default `/in/source`)
  module   `boringcrypto` or `go` (required)
  version  the version that Go's own module must have, such as `v1.0.0` (required for `go`)
  arch     `amd64` or `arm64` (required)
  tags     build tags, as the binary has them (required)
  ldflags  linker flags, as the binary has them (required)
  out      the JSON to write (required)

The settings of the go command are in the environment. Go's own module runs twice: as a binary runs, with fips140=on,
and with GODEBUG=fips140=only, in which it refuses what is not approved. BoringCrypto has no such mode and refuses
nothing; that is recorded, not hidden.

Output: `module`, `version`, `emulated`, and by algorithm whether it is approved and `in_module`, and how the module
`refuses` it, empty where it does not. Errors: the module is not the one that was asked for, an approved algorithm
does not work, or one that is not approved works in the mode that must refuse it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from pipeline.programs.build.prove import execute
from pipeline.programs.common import Json, Params, Problem, run_program, write_json

ONLY = "fips140=only"
BORING_HAS = {"AES-256-GCM", "ECDH P-256", "ECDSA P-256", "HMAC-SHA-256", "SHA-256", "SHA-512"}
"""What Go takes from BoringCrypto among the approved algorithms; the rest is Go's own code (crypto/internal/boring)."""


def compiled(params: Params, work: Path) -> Path:
    """Return the program, compiled. Raises Problem with the compiler's words."""
    shutil.copytree(params.path("source", "/in/source"), work)
    program = work / "probe"
    argv = ["go", "build", "-trimpath", "-buildvcs=false", f"-tags={','.join(params['tags'])}"]
    argv += [f"-ldflags={' '.join(params['ldflags'])}", "-o", str(program), "."]
    environment = {**os.environ, "GOFLAGS": "-mod=mod"}
    done = subprocess.run(argv, cwd=work, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Problem("the FIPS probe was not compiled", *done.stderr.splitlines())
    return program


def asked(program: Path, arch: str, godebug: str) -> Json:
    """Return what the program says of its module. Raises Problem when it ends in another way."""
    ran = execute(program, arch, [], {"GODEBUG": godebug} if godebug else {})
    if ran["exit"]:
        raise Problem(f"the FIPS probe ended with exit code {ran['exit']}", *ran["errors"].splitlines()[:20])
    found: Json = json.loads(ran["output"])
    return {**found, "emulated": ran["emulated"]}


def check_module(found: Json, module: str, version: str) -> None:
    """Raise Problem unless the program has the module that was asked for."""
    expected = {"boringcrypto": True} if module == "boringcrypto" else {"enabled": True, "version": version}
    wrong = [f"{key} is {found[key]!r}, not {value!r}" for key, value in expected.items() if found[key] != value]
    if wrong:
        raise Problem(*(f"the FIPS probe does not have the module {module}: {text}" for text in wrong))


def judged(module: str, usual: Json, strict: Json | None) -> Json:
    """Return the algorithms with what became of them; `strict` is of the mode that refuses, None without one."""
    has = set(usual["approved"])
    named = has & BORING_HAS if module == "boringcrypto" else has
    broken = {name: said for name, said in usual["approved"].items() if said and name in named}
    if strict:
        broken.update({name: said for name, said in strict["approved"].items() if said})
        let = sorted(name for name, said in strict["other"].items() if not said)
        if not strict["enforced"] or let:
            raise Problem(
                f"with GODEBUG={ONLY} the module refuses too little: {', '.join(let) or 'nothing is enforced'}"
            )
    if broken:
        raise Problem(*(f"{name} is approved and does not work: {said}" for name, said in sorted(broken.items())))
    algorithms = {name: {"in_module": True, "refuses": ""} for name in named}
    for name in {*usual["approved"], *usual["other"]} - named:
        said = strict["other"].get(name, "") if strict else ""
        algorithms[name] = {"in_module": False, "refuses": f"{ONLY}: {said}" if said else ""}
    return algorithms


def main(params: Params) -> None:
    """Write what the module says."""
    module, arch = params["module"], params["arch"]
    program = compiled(params, Path.cwd() / "probe")
    usual = asked(program, arch, "")
    check_module(usual, module, params.get("version", ""))
    strict = asked(program, arch, ONLY) if module == "go" else None
    about = {"module": module, "version": usual["version"] if strict else "", "emulated": usual["emulated"]}
    write_json(Path(params["out"]), {**about, "algorithms": judged(module, usual, strict)})


if __name__ == "__main__":
    run_program(main)
