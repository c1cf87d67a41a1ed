"""Proves what a built binary is, from the binary itself, and fails when it is not what was asked for.

Params:
  binary         the file (required)
  name           the artifact's name (default: the file's name)
  os, arch       what it must be for: `linux`, and `amd64` or `arm64` (required)
  variant        the variant's name, only recorded (required)
  fips_module    `boringcrypto` or `go`: the module that it must use; empty: it must use none (required)
  static         whether the binary must be (true) or must not be (false) statically linked; absent: only recorded
  version_argv   the arguments that make it print its version (default: ["version"])
  version_output the line that it must print then (required); it holds the version and the commit
  toolchain      the Go version that must have built it, such as `go1.26.8` (optional)
  settings       build settings (`go version -m`) that must have exactly these values; null: absent (optional)
  forbidden      texts that must not occur in the file, such as the path it was built in (optional)
  probe          what `fips_probe.py` found in a program with the same module (optional)
  out            the file to write, such as `/out/<name>.proof.json` (required)

Output: every claim with what was expected, what was found, and where it was seen. The binary is run natively or under
qemu-user.

FIPS is claimed only when three kinds of evidence agree: build settings, symbols, and a run. The native module (Go's
FIPS 140-3 mode) reports its integrity check and self-tests with GODEBUG=fips140=debug. BoringCrypto runs its power-on
self-test before `main` and aborts when it fails; reaching `main` in a binary that links it is the evidence.
A standard binary must show none of these.

`fips` names the module, its certificate, what the probe found, and in `outside` the packages of this binary that have
algorithms of their own: what they compute is not the module's. Whether they are used for security is not known here.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.programs.build.elf import Elf
from pipeline.programs.build.go_version import BuildInfo, build_info
from pipeline.programs.common import Json, Params, Problem, read_object, run_program, sha256_of, write_json

SCHEMA = "urn:release-pipeline:binary-proof:v1"
MACHINES = {62: "amd64", 183: "arm64"}
QEMU = {"amd64": ("qemu-x86_64-static", "qemu-x86_64"), "arm64": ("qemu-aarch64-static", "qemu-aarch64")}
HOSTS = {"x86_64": "amd64", "aarch64": "arm64"}
BORING_CALL = "_Cfunc__goboringcrypto_"
BORING_MARK = "crypto/internal/boring/sig.BoringCrypto"
BORING_SELF_TEST = "_goboringcrypto_BORINGSSL_bcm_power_on_self_test"
NATIVE_MODULE = re.compile(r"crypto/internal/fips140/(v[0-9]+\.[0-9]+\.[0-9]+-[0-9a-f]+)/")
NATIVE_CERTIFICATES = {"v1.0.0-c2097c7c": "CMVP 5247"}
OUTSIDE = {
    "boringcrypto": r"crypto/(?:des|dsa|ed25519|md5|mlkem|rc4)",
    "go": r"crypto/(?:des|dsa|md5|rc4|sha1)",
}
"""Packages of the standard library that a module does not have."""
X_CRYPTO = r"(?:vendor/)?golang\.org/x/crypto/(?!cryptobyte)[a-z0-9_/]+"
"""No module has these. `cryptobyte` parses, and computes nothing."""
SELF_TEST = re.compile(r"^FIPS 140-3 self-test passed: (.+)$", re.MULTILINE)
INTEGRITY = "fips140: verified code+data"
TIMEOUT = 120


def execute(binary: Path, arch: str, arguments: list[str], environment: dict[str, str]) -> Json:
    """Run the binary and return {"exit", "output", "errors", "emulated"}. Raises Problem when it cannot be run."""
    emulated = HOSTS.get(platform.machine()) != arch
    prefix: list[str] = []
    if emulated:
        found = [path for path in map(shutil.which, QEMU[arch]) if path]
        if not found:
            raise Problem(f"no {' or '.join(QEMU[arch])} in this image: a {arch} binary cannot be run here")
        prefix = found[:1]
    if not os.access(binary, os.X_OK):
        binary = Path(shutil.copy(binary, Path.cwd() / "binary-under-proof"))
        binary.chmod(0o755)
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(Path.cwd()), **environment}
    try:
        done = subprocess.run(
            [*prefix, str(binary), *arguments],
            env=environment,
            capture_output=True,
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Problem(f"{' '.join([binary.name, *arguments])} could not be run: {error}") from None
    output, errors = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    return {"exit": done.returncode, "output": output, "errors": errors, "emulated": emulated}


class Proof:
    """The claims made so far."""

    def __init__(self) -> None:
        self.claims: list[Json] = []

    def check(self, claim: str, expected: Any, found: Any, evidence: str) -> None:
        """Note a claim; it holds when expected and found are equal."""
        entry = {"claim": claim, "expected": expected, "found": found, "evidence": evidence, "holds": expected == found}
        self.claims.append(entry)

    @property
    def failures(self) -> list[str]:
        """What does not hold, for people."""
        false = [claim for claim in self.claims if not claim["holds"]]
        return ["{claim}: expected {expected!r}, found {found!r} ({evidence})".format(**claim) for claim in false]


def prove_file(proof: Proof, params: Params, elf: Elf) -> None:
    """Claims from the ELF file alone: machine, linking, symbols kept, no forbidden text."""
    proof.check("machine", params["arch"], MACHINES.get(elf.machine, f"e_machine {elf.machine}"), "ELF header")
    static = not elf.interpreter and not elf.needed
    if params.get("static") is not None:
        proof.check("statically linked", params["static"], static, "no PT_INTERP and no DT_NEEDED")
    proof.check("symbol table kept", True, elf.has_symbols, "SHT_SYMTAB; without it the absence of symbols is no proof")
    for text in params.get("forbidden", []):
        proof.check(f"does not contain {text}", False, text.encode() in elf.data, "bytes of the file")


def prove_build(proof: Proof, params: Params, info: BuildInfo) -> None:
    """Claims from Go's build information that do not depend on the variant."""
    evidence = "Go build information"
    settings = info.settings
    if params.get("toolchain"):
        proof.check("toolchain", params["toolchain"], re.split(r"[ -]", info.toolchain)[0], evidence)
    proof.check("GOOS", params["os"], settings.get("GOOS"), evidence)
    proof.check("GOARCH", params["arch"], settings.get("GOARCH"), evidence)
    proof.check("-trimpath", "true", settings.get("-trimpath"), evidence)
    proof.check("built from a clean tree", True, settings.get("vcs.modified") != "true", "no vcs.modified=true")
    for key, value in sorted(params.get("settings", {}).items()):
        proof.check(key, value, settings.get(key), evidence)


def prove_fips(proof: Proof, module: str, elf: Elf, info: BuildInfo) -> None:
    """Claims from build information and symbols about the FIPS module: `boringcrypto`, `go`, or `` for none."""
    settings = info.settings
    godebug = settings.get("DefaultGODEBUG", "").split(",")
    boring, native = module == "boringcrypto", module == "go"
    evidence = "Go build information"
    experiments = settings.get("GOEXPERIMENT", "").split(",")
    proof.check("GOEXPERIMENT=boringcrypto", boring, "boringcrypto" in experiments, evidence)
    frozen = settings.get("GOFIPS140", "off")
    proof.check("GOFIPS140 names a frozen module", native, bool(re.match(r"v[0-9]", frozen)), evidence)
    proof.check("fips140=on by default", native, "fips140=on" in godebug, f"{evidence}: DefaultGODEBUG")
    calls = elf.symbols(BORING_CALL)
    proof.check("calls BoringCrypto", boring, bool(calls), f"{len(calls)} symbols hold {BORING_CALL}")
    proof.check("BoringCrypto code signature", boring, bool(elf.symbols(BORING_MARK)), f"symbol {BORING_MARK}")
    self_test = BORING_SELF_TEST in elf.symbols(BORING_SELF_TEST)
    proof.check("BoringCrypto self-test linked", boring, self_test, f"symbol {BORING_SELF_TEST}")
    versions = {m[1] for m in map(NATIVE_MODULE.search, elf.symbols("crypto/internal/fips140/v")) if m}
    expected = [frozen] if native else []
    proof.check("frozen module linked", expected, sorted(versions), "symbols in crypto/internal/fips140/v…")
    if boring:
        proof.check("CGO_ENABLED", "1", settings.get("CGO_ENABLED"), evidence)


def read_claims(params: Params, elf: Elf, info: BuildInfo) -> Proof:
    """Return all claims that hold or not before the binary is run."""
    proof = Proof()
    prove_file(proof, params, elf)
    prove_build(proof, params, info)
    prove_fips(proof, params["fips_module"], elf, info)
    return proof


def prove_runs(proof: Proof, params: Params, binary: Path, module: str) -> Json:
    """Claims from running the binary: it prints its version, and its FIPS module passes its self-tests."""
    arguments = list(params.get("version_argv", ["version"]))
    shown = " ".join(arguments)
    ran = execute(binary, params["arch"], arguments, {})
    proof.check(f"`{shown}` exits", 0, ran["exit"], "run" + (" under qemu-user" if ran["emulated"] else ""))
    lines = [line.rstrip() for line in ran["output"].splitlines()]
    line = str(params["version_output"])
    printed = line if line in lines else ran["output"][:400]
    proof.check(f"`{shown}` prints the version and the commit", line, printed, "standard output")
    result: Json = {"arguments": arguments, "output": ran["output"][:4000], "emulated": ran["emulated"]}
    if ran["exit"]:
        result["errors"] = ran["errors"][-2000:]
    if module == "go":
        tested = execute(binary, params["arch"], arguments, {"GODEBUG": "fips140=debug"})
        passed = tested["exit"] == 0 and INTEGRITY in tested["errors"].splitlines()
        proof.check("integrity check passes", True, passed, f"GODEBUG=fips140=debug prints `{INTEGRITY}`")
        result["self_tests"] = sorted(set(SELF_TEST.findall(tested["errors"])))
        proof.check("self-tests pass", True, bool(result["self_tests"]), "GODEBUG=fips140=debug names each")
    if module == "boringcrypto":
        proof.check("power-on self-test passes", True, ran["exit"] == 0, "it runs before main and aborts on failure")
    return result


def outside(module: str, elf: Elf) -> list[str]:
    """Return the packages with algorithms that are linked into the binary and are no part of its module."""
    pattern = re.compile(rf"((?:{OUTSIDE[module]})|(?:{X_CRYPTO}))\.")
    return sorted({m[1] for m in map(pattern.match, elf.symbols("crypto/")) if m})


def certificate(module: str, info: BuildInfo) -> str:
    """Return the CMVP certificate of the linked module as Go's sources name it, or an empty string."""
    if module == "go":
        return NATIVE_CERTIFICATES.get(info.settings.get("GOFIPS140", ""), "")
    release = re.match(r"go1\.([0-9]+)", info.toolchain)
    # Go 1.24 moved crypto/internal/boring to BoringSSL's fips-20220613; its Dockerfile names certificate 4735.
    return "CMVP 4735" if module == "boringcrypto" and release and int(release[1]) >= 24 else ""


def about_module(params: Params, module: str, elf: Elf, info: BuildInfo) -> Json:
    """Return what is known about the FIPS module of the binary."""
    known = {"module": module, "certificate": certificate(module, info), "outside": outside(module, elf)}
    return {**known, "probe": read_object(Path(params["probe"]))} if params.get("probe") else known


def prove(params: Params) -> Json:
    """Return the proof. Raises Problem with every claim that does not hold."""
    binary = params.path("binary", params["binary"])
    module = params["fips_module"]
    if (params["os"], params["arch"]) not in {("linux", arch) for arch in QEMU}:
        raise Problem(f"nothing is known about {params['os']}/{params['arch']}")
    if module not in {"", "boringcrypto", "go"}:
        raise Problem(f"unknown FIPS module {module!r}: it is boringcrypto or go")
    elf, info = Elf(binary.read_bytes()), build_info(binary)
    proof = read_claims(params, elf, info)
    ran = prove_runs(proof, params, binary, module) if proof.claims[0]["holds"] else {}
    if proof.failures:
        errors = [f"it printed on stderr: {ran['errors'].strip()}"] if ran.get("errors") else []
        raise Problem(*(f"{params.get('name', binary.name)}: {text}" for text in [*proof.failures, *errors]))
    return {
        "schema": SCHEMA,
        "subject": {"name": params.get("name", binary.name), "sha256": sha256_of(binary), "size": len(elf.data)},
        "target": f"{params['os']}/{params['arch']}",
        "variant": params["variant"],
        "fips": about_module(params, module, elf, info) if module else None,
        "build": asdict(info),
        "linking": {"interpreter": elf.interpreter or None, "needed": elf.needed},
        "run": ran,
        "claims": proof.claims,
    }


def main(params: Params) -> None:
    """Write the proof."""
    write_json(Path(params["out"]), prove(params))


if __name__ == "__main__":
    run_program(main)
