"""Proves what a built binary is, from the binary itself, and fails when it is not what was asked for.

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Optional

from pipeline.programs.build.elf import Elf
from pipeline.programs.build.go_version import build_info
from pipeline.programs.build.proof import (
    BinaryProof,
    BinaryRun,
    BuildInfo,
    Claim,
    FipsModule,
    Linking,
    Probe,
    ProvedModule,
    Subject,
)
from pipeline.programs.common import Problem, sha256_of
from pipeline.programs.document import load, write
from pipeline.programs.start import run_program

MACHINES = {62: "amd64", 183: "arm64"}
QEMU = {"amd64": ("qemu-x86_64-static", "qemu-x86_64"), "arm64": ("qemu-aarch64-static", "qemu-aarch64")}
HOSTS = {"x86_64": "amd64", "aarch64": "arm64"}
BORING_CALL = "_Cfunc__goboringcrypto_"
BORING_MARK = "crypto/internal/boring/sig.BoringCrypto"
BORING_SELF_TEST = "_goboringcrypto_BORINGSSL_bcm_power_on_self_test"
NATIVE_MODULE = re.compile(r"crypto/internal/fips140/(v[0-9]+\.[0-9]+\.[0-9]+-[0-9a-f]+)/")
NATIVE_CERTIFICATES = {"v1.0.0-c2097c7c": "CMVP 5247"}
OUTSIDE = {
    FipsModule.BORINGCRYPTO: r"crypto/(?:des|dsa|ed25519|md5|mlkem|rc4)",
    FipsModule.GO: r"crypto/(?:des|dsa|md5|rc4|sha1)",
}
"""Packages of the standard library that a module does not have."""
X_CRYPTO = r"(?:vendor/)?golang\.org/x/crypto/(?!cryptobyte)[a-z0-9_/]+"
"""No module has these. `cryptobyte` parses, and computes nothing."""
SELF_TEST = re.compile(r"^FIPS 140-3 self-test passed: (.+)$", re.MULTILINE)
INTEGRITY = "fips140: verified code+data"
TIMEOUT = 120


@dataclass(frozen=True)
class Parameters:
    """What the binary must be. `out` is the file to write, such as `/out/<name>.proof.json`."""

    binary: Path
    arch: Literal["amd64", "arm64"]
    variant: str
    """Only recorded."""
    version_output: str
    """The line that it must print when it is asked for its version; it holds the version and the commit."""
    out: Path
    os: Literal["linux"] = "linux"
    static: Optional[bool] = None
    """Whether it must be, or must not be, statically linked. None: only recorded."""
    version_argv: tuple[str, ...] = ("version",)
    """The arguments that make it print its version."""
    toolchain: str = ""
    """The Go version that must have built it, such as `go1.26.8`; empty: any."""
    settings: dict[str, Optional[str]] = field(default_factory=dict)
    """Build settings (`go version -m`) that must have exactly these values; None: absent."""
    forbidden: tuple[str, ...] = ()
    """Texts that must not occur in the file, such as the path it was built in."""
    probe: Optional[Path] = None
    """What `fips_probe.py` found in a program with the same module."""
    name: str = ""
    """The artifact's name; empty: the file's name."""
    fips_module: Optional[FipsModule] = None
    """The module that it must use; None: it must use none."""


@dataclass(frozen=True)
class Execution:
    """How a program ended, and what it printed."""

    exit: int
    output: str
    errors: str
    emulated: bool


def execute(binary: Path, arch: str, arguments: list[str], environment: dict[str, str]) -> Execution:
    """Run the binary, under qemu-user where it must be. Raises Problem when it cannot be run."""
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
    return Execution(done.returncode, output, errors, emulated)


class Claims(list[Claim]):
    """The claims made so far."""

    def check(self, claim: str, expected: Any, found: Any, evidence: str) -> None:
        """Note a claim; it holds when expected and found are equal."""
        self.append(Claim(claim, expected, found, evidence, expected == found))

    @property
    def failures(self) -> list[str]:
        """What does not hold, for people."""
        return [
            f"{each.claim}: expected {each.expected!r}, found {each.found!r} ({each.evidence})"
            for each in self
            if not each.holds
        ]


def prove_file(claims: Claims, params: Parameters, elf: Elf) -> None:
    """Claims from the ELF file alone: machine, linking, symbols kept, no forbidden text."""
    claims.check("machine", params.arch, MACHINES.get(elf.machine, f"e_machine {elf.machine}"), "ELF header")
    static = not elf.interpreter and not elf.needed
    if params.static is not None:
        claims.check("statically linked", params.static, static, "no PT_INTERP and no DT_NEEDED")
    claims.check("symbol table kept", True, elf.has_symbols, "SHT_SYMTAB; without it, missing symbols prove nothing")
    for text in params.forbidden:
        claims.check(f"does not contain {text}", False, text.encode() in elf.data, "bytes of the file")


def prove_build(claims: Claims, params: Parameters, info: BuildInfo) -> None:
    """Claims from Go's build information that do not depend on the variant."""
    evidence = "Go build information"
    settings = info.settings
    if params.toolchain:
        # Experiments come after a space. After a hyphen, scanners would not know the version of Go's library.
        claims.check("toolchain", params.toolchain, info.toolchain.split(" ")[0], evidence)
    claims.check("GOOS", params.os, settings.get("GOOS"), evidence)
    claims.check("GOARCH", params.arch, settings.get("GOARCH"), evidence)
    claims.check("-trimpath", "true", settings.get("-trimpath"), evidence)
    claims.check("built from a clean tree", True, settings.get("vcs.modified") != "true", "no vcs.modified=true")
    for key, value in sorted(params.settings.items()):
        claims.check(key, value, settings.get(key), evidence)


def prove_fips(claims: Claims, module: Optional[FipsModule], elf: Elf, info: BuildInfo) -> None:
    """Claims from build information and symbols about the FIPS module; None: it has none."""
    settings = info.settings
    godebug = settings.get("DefaultGODEBUG", "").split(",")
    boring, native = module is FipsModule.BORINGCRYPTO, module is FipsModule.GO
    evidence = "Go build information"
    experiments = settings.get("GOEXPERIMENT", "").split(",")
    claims.check("GOEXPERIMENT=boringcrypto", boring, "boringcrypto" in experiments, evidence)
    frozen = settings.get("GOFIPS140", "off")
    claims.check("GOFIPS140 names a frozen module", native, bool(re.match(r"v[0-9]", frozen)), evidence)
    claims.check("fips140=on by default", native, "fips140=on" in godebug, f"{evidence}: DefaultGODEBUG")
    calls = elf.symbols(BORING_CALL)
    claims.check("calls BoringCrypto", boring, bool(calls), f"{len(calls)} symbols hold {BORING_CALL}")
    claims.check("BoringCrypto code signature", boring, bool(elf.symbols(BORING_MARK)), f"symbol {BORING_MARK}")
    self_test = BORING_SELF_TEST in elf.symbols(BORING_SELF_TEST)
    claims.check("BoringCrypto self-test linked", boring, self_test, f"symbol {BORING_SELF_TEST}")
    versions = {m[1] for m in map(NATIVE_MODULE.search, elf.symbols("crypto/internal/fips140/v")) if m}
    expected = [frozen] if native else []
    claims.check("frozen module linked", expected, sorted(versions), "symbols in crypto/internal/fips140/v…")
    if boring:
        claims.check("CGO_ENABLED", "1", settings.get("CGO_ENABLED"), evidence)


def read_claims(params: Parameters, elf: Elf, info: BuildInfo) -> Claims:
    """Return all claims that hold or not before the binary is run."""
    claims = Claims()
    prove_file(claims, params, elf)
    prove_build(claims, params, info)
    prove_fips(claims, params.fips_module, elf, info)
    return claims


def prove_runs(claims: Claims, params: Parameters) -> tuple[BinaryRun, str]:
    """Claims from running the binary: it prints its version, and its FIPS module passes its self-tests.

    Return what it printed, and what it printed on stderr when it failed.
    """
    arguments = list(params.version_argv)
    shown = " ".join(arguments)
    ran = execute(params.binary, params.arch, arguments, {})
    claims.check(f"`{shown}` exits", 0, ran.exit, "run" + (" under qemu-user" if ran.emulated else ""))
    lines = [line.rstrip() for line in ran.output.splitlines()]
    line = params.version_output
    printed = line if line in lines else ran.output[:400]
    claims.check(f"`{shown}` prints the version and the commit", line, printed, "standard output")
    self_tests: list[str] = []
    if params.fips_module is FipsModule.GO:
        tested = execute(params.binary, params.arch, arguments, {"GODEBUG": "fips140=debug"})
        passed = tested.exit == 0 and INTEGRITY in tested.errors.splitlines()
        claims.check("integrity check passes", True, passed, f"GODEBUG=fips140=debug prints `{INTEGRITY}`")
        self_tests = sorted(set(SELF_TEST.findall(tested.errors)))
        claims.check("self-tests pass", True, bool(self_tests), "GODEBUG=fips140=debug names each")
    if params.fips_module is FipsModule.BORINGCRYPTO:
        claims.check("power-on self-test passes", True, ran.exit == 0, "it runs before main and aborts on failure")
    run = BinaryRun(params.version_argv, ran.output[:4000], ran.emulated, tuple(self_tests))
    return run, ran.errors[-2000:] if ran.exit else ""


def outside(module: FipsModule, elf: Elf) -> tuple[str, ...]:
    """Return the packages with algorithms that are linked into the binary and are not part of its module."""
    pattern = re.compile(rf"((?:{OUTSIDE[module]})|(?:{X_CRYPTO}))\.")
    return tuple(sorted({m[1] for m in map(pattern.match, elf.symbols("crypto/")) if m}))


def certificate(module: FipsModule, info: BuildInfo) -> str:
    """Return the CMVP certificate of the linked module as Go's sources name it, or an empty string."""
    if module is FipsModule.GO:
        return NATIVE_CERTIFICATES.get(info.settings.get("GOFIPS140", ""), "")
    release = re.match(r"go1\.([0-9]+)", info.toolchain)
    # Go 1.24 moved crypto/internal/boring to BoringSSL's fips-20220613; its Dockerfile names certificate 4735.
    return "CMVP 4735" if release and int(release[1]) >= 24 else ""


def about_module(params: Parameters, elf: Elf, info: BuildInfo) -> Optional[ProvedModule]:
    """Return what is known about the FIPS module of the binary, None for a binary that must have none."""
    module = params.fips_module
    if not module:
        return None
    probe = load(Probe, params.probe) if params.probe else None
    return ProvedModule(module, certificate(module, info), outside(module, elf), probe)


def prove(params: Parameters) -> BinaryProof:
    """Return the proof. Raises Problem with every claim that does not hold."""
    name = params.name or params.binary.name
    elf, info = Elf(params.binary.read_bytes()), build_info(params.binary)
    claims = read_claims(params, elf, info)
    if not claims[0].holds:  # it cannot be run here
        raise Problem(*(f"{name}: {text}" for text in claims.failures))
    ran, errors = prove_runs(claims, params)
    if claims.failures:
        printed = [f"it printed on stderr: {errors.strip()}"] if errors else []
        raise Problem(*(f"{name}: {text}" for text in [*claims.failures, *printed]))
    return BinaryProof(
        subject=Subject(name, sha256_of(params.binary), len(elf.data)),
        target=f"{params.os}/{params.arch}",
        variant=params.variant,
        fips=about_module(params, elf, info),
        build=info,
        linking=Linking(elf.interpreter or None, tuple(elf.needed)),
        run=ran,
        claims=tuple(claims),
    )


def main(params: Parameters) -> None:
    """Write the proof."""
    write(params.out, prove(params))


if __name__ == "__main__":
    run_program(main, Parameters)
