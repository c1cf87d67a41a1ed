"""Checks that OpenSSL's FIPS provider is there and works, and fails saying what was found instead.

The provider counts as usable when it is active in the system's configuration or loads by itself (as on Oracle Linux),
or when `openssl fipsinstall` sees it pass all its self-tests and it is active with the configuration that this makes
(as with Debian's openssl-provider-fips, which leaves that to the administrator; that the module is the validated one
is for the package manager's signature to say). Then, restricted to `fips=yes`, SHA-256 of a known message must be
right and MD5 must be refused.

Output: OpenSSL's version, the provider's name and version, the module's file and SHA-256, how it was activated, and
the self-tests that passed.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from pipeline.programs.build.proof import Activation, OpensslFips, Provider, ProviderFile
from pipeline.programs.common import Problem, sha256_of, write_text
from pipeline.programs.document import write
from pipeline.programs.start import run_program

TIMEOUT = 300
MESSAGE, SHA256 = b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4, example
CONFIGURATION = """\
openssl_conf = init
.include {included}
[init]
providers = providers
[providers]
fips = fips_sect
base = base_sect
[base_sect]
activate = 1
"""


@dataclass(frozen=True)
class Parameters:
    """Where to write, and the folder with `fips.so`; None: OpenSSL's own."""

    out: Path = Path("/out/openssl-fips.json")
    modules_dir: Optional[Path] = None


def openssl(*arguments: str, config: str = "", modules: str = "", data: bytes = b"") -> tuple[int, str]:
    """Run openssl and return (exit code, output). Raises Problem if it is missing."""
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    env.update({"OPENSSL_CONF": config} if config else {}, **({"OPENSSL_MODULES": modules} if modules else {}))
    try:
        done = subprocess.run(["openssl", *arguments], env=env, input=data, capture_output=True, timeout=TIMEOUT)
    except FileNotFoundError:
        raise Problem("there is no openssl here") from None
    except subprocess.TimeoutExpired:
        raise Problem(f"openssl {arguments[0]} did not finish within {TIMEOUT} seconds") from None
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def providers(listing: str) -> dict[str, Provider]:
    """Return the providers by their keys from `openssl list -providers`."""
    found: dict[str, dict[str, str]] = {}
    current = ""
    for line in listing.splitlines():
        if re.fullmatch(r"  \S.*", line):
            current = line.strip()
            found[current] = {}
        match = re.fullmatch(r"    (name|version|status): (.*)", line)
        if match and current:
            found[current].setdefault(match[1], match[2].strip())
    return {key: Provider(**facts) for key, facts in found.items()}


def fips_of(listing: str) -> Optional[Provider]:
    """Return what openssl lists about an active FIPS provider, or None."""
    for key, facts in providers(listing).items():
        if (key == "fips" or "FIPS" in facts.name) and facts.status == "active":
            return facts
    return None


def install(module: Path, modules: str, folder: Path) -> tuple[str, list[str]]:
    """Let the provider test itself; return (the configuration that activates it, the tests that passed)."""
    included, config = folder / "fipsmodule.cnf", folder / "openssl.cnf"
    code, output = openssl("fipsinstall", "-module", str(module), "-out", str(included), modules=modules)
    if code != 0 or "INSTALL PASSED" not in output:
        raise Problem(f"{module} does not pass its self-tests:", *output.splitlines()[-5:])
    write_text(config, CONFIGURATION.format(included=included))
    passed = {f"{m[1].strip()} {m[2]}" for m in re.finditer(r"^(\S+) : \(([^)]+)\) : Pass$", output, re.MULTILINE)}
    return str(config), sorted(passed)


def check_algorithms(config: str, modules: str) -> None:
    """Check that the FIPS provider hashes rightly and refuses what is not approved."""
    restricted = ("dgst", "-provider", "fips", "-provider", "base", "-propquery", "fips=yes")
    code, output = openssl(*restricted, "-sha256", config=config, modules=modules, data=MESSAGE)
    if code != 0 or SHA256 not in output:
        raise Problem("the FIPS provider does not compute SHA-256:", *output.splitlines()[-3:])
    code, _ = openssl(*restricted, "-md5", config=config, modules=modules, data=MESSAGE)
    if code == 0:
        raise Problem("MD5 works although only approved algorithms were asked for: the FIPS provider is not active")


def check(params: Parameters) -> OpensslFips:
    """Return what `out` gets. Raises Problem saying what was found when there is no usable FIPS provider."""
    _, version = openssl("version")
    _, directory = openssl("version", "-m")
    match = re.search(r'MODULESDIR: "(.*)"', directory)
    if not match:
        raise Problem(f"{version.strip()} has no providers: OpenSSL 3 or newer is needed")
    chosen = str(params.modules_dir or "")
    module = Path(chosen or match[1]) / "fips.so"
    _, default = openssl("list", "-providers", "-verbose", modules=chosen)
    _, asked = openssl("list", "-providers", "-provider", "fips", "-verbose", modules=chosen)
    config, tests = "", list[str]()
    how: Activation = "configuration"
    facts = fips_of(default)
    if facts is None:
        facts, how = fips_of(asked), "by itself"
    if facts is None and module.is_file():
        how = "fipsinstall"
        config, tests = install(module, chosen, Path.cwd())
        _, listing = openssl("list", "-providers", "-verbose", config=config, modules=chosen)
        facts = fips_of(listing)
    if facts is None:
        active = ", ".join(f"{key} {value.version}".strip() for key, value in providers(default).items())
        state = "exists, but does not become active" if module.is_file() else "does not exist"
        raise Problem(
            f"OpenSSL has no active FIPS provider: {module} {state}",
            f"found: {version.strip()}, providers: {active or 'none'}",
            "install it (Debian: openssl-provider-fips) or do not require it",
        )
    check_algorithms(config, chosen)
    file = ProviderFile(str(module), sha256_of(module)) if module.is_file() else None
    return OpensslFips(version.strip(), facts, file, how, tuple(tests))


def main(params: Parameters) -> None:
    """Write what was found."""
    write(params.out, check(params))


if __name__ == "__main__":
    run_program(main, Parameters)
