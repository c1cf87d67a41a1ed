"""Checks the units that packages install: `systemd-analyze verify`, and how exposed each service is.

Every package is installed into a root of its own by the Makefile that makes the package, so a unit that starts a
program which its package does not install is found too. Analysis without a running system needs systemd 250.

Output: every service with its exposure (0 is best, 10 is worst), the packages that have it, and what adds to the
exposure, worst first. A complaint of `verify` and a service over the limit are errors, all of them listed.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.programs.common import Problem
from pipeline.programs.document import write
from pipeline.programs.package.package import NOTICE, attempt, lay_out, run
from pipeline.programs.package.package_documents import Exposed, Exposure, Service
from pipeline.programs.start import run_program

OLDEST = 250
"""The systemd whose `security` has `--offline` and `--threshold` (its NEWS, changes with 250)."""
UNITS = Path("usr/lib/systemd/system")
SYSTEM = Path("/usr/lib/systemd/system")
MERGED = ("bin", "lib", "sbin")
HOST_PROGRAMS = ("usr/bin/kill",)
"""What units may start although no package of ours has it: part of every system with systemd."""
SHOWN = 12
OVERALL = re.compile(r"Overall exposure level for \S+: (\d+\.\d+) ")


@dataclass(frozen=True)
class CheckedPackage:
    """A package whose units are checked: `files` is the folder with its packaging files, templates filled in."""

    label: str
    name: str
    format: str
    """`deb` or `rpm`."""
    files: Path


@dataclass(frozen=True)
class Parameters:
    """What is checked. `program` is the binary's name in the packaging files; no unit needs it for the check."""

    packages: tuple[CheckedPackage, ...]
    program: str
    limit: int
    """The highest exposure that a service may have, in tenths, as `systemd-analyze security --threshold` takes it."""
    out: Path = Path("/out/exposure.json")


def version() -> str:
    """Return the version of systemd-analyze. Raises Problem if it is too old to check units in files."""
    output = run("systemd-analyze", "--version", cwd=Path.cwd(), what="systemd cannot be asked for its version")
    match = re.match(r"systemd (\d+) \(([^)\s]+)", output)
    if not match or int(match[1]) < OLDEST:
        found = output.splitlines()[0] if output else "nothing"
        raise Problem(
            f"checking units needs systemd {OLDEST} or later, and this image has {found}",
            "to do: give the image of the step `exposure` a newer systemd in packaging/images.toml",
        )
    return match[2]


def install(package: CheckedPackage, program: str, work: Path) -> Path:
    """Return a root with what a package installs, and what its units may expect of the system around them."""
    root, folder = work / f"{package.label}.root", work / f"{package.label}.files"
    lay_out(package.files, folder)
    for name in (program, NOTICE):
        (folder / name).touch()
    for name in MERGED:
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    argv = ["make", "install", f"FORMAT={package.format}", f"DESTDIR={root}", f"PACKAGE={package.name}"]
    run(*argv, cwd=folder, what=f"the files of the package for {package.label} cannot be installed")
    for name in HOST_PROGRAMS:
        (root / name).touch()
        (root / name).chmod(0o755)
    return root


def units_of(root: Path) -> dict[str, bytes]:
    """Return the units that a package installs and their drop-ins, by their path in systemd's folder."""
    folder = root / UNITS
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def instance(unit: str) -> str:
    """Return the name of a unit that can be loaded: of a template, its instance 1."""
    return re.sub(r"@(\.\w+)\Z", r"@1\1", unit)


def complaints(root: Path, units: list[str]) -> list[str]:
    """Return what `systemd-analyze verify` has to say about units below `root`, whatever its exit code."""
    for target in SYSTEM.glob("*.target"):
        if not (root / UNITS / target.name).exists():
            shutil.copyfile(target, root / UNITS / target.name)
    names = [instance(unit) for unit in units if "/" not in unit]
    if not names:
        return []
    done = attempt("systemd-analyze", "verify", "--man=no", f"--root={root}", *names, cwd=root)
    output = [line.replace(str(root), "") for line in dict.fromkeys(done.stdout.splitlines()) if line]
    return output or ([f"systemd-analyze verify failed with exit code {done.returncode}"] if done.returncode else [])


def exposure(root: Path, unit: str, limit: int) -> Service:
    """Return how exposed a service below `root` is, for no package yet. Raises Problem for no answer."""
    argv = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--root={root}", f"--threshold={limit}"]
    told = attempt(*argv, instance(unit), cwd=root)
    overall = OVERALL.search(told.stdout)
    rows = attempt(*argv, "--json=short", instance(unit), cwd=root).stdout
    table = next((line for line in rows.splitlines() if line.startswith("[")), "")
    if not overall or not table:
        raise Problem(f"systemd-analyze prints no exposure for {unit}", *(told.stdout + rows).splitlines()[:9])
    exposed = [
        Exposed(row["name"], float(row["exposure"]), row["description"])
        for row in json.loads(table)
        if row["exposure"] and float(row["exposure"])
    ]
    exposed.sort(key=lambda row: (-row.exposure, row.directive))
    over = told.returncode or float(overall[1]) * 10 > limit + 0.01
    return Service(unit, float(overall[1]), "over the limit" if over else "accepted", (), tuple(exposed))


def check(params: Parameters, work: Path) -> tuple[list[Service], list[str]]:
    """Return every service, once for each content that it has, and what `verify` says against any unit."""
    problems: dict[str, list[str]] = {}
    known: list[tuple[dict[str, bytes], list[Service], list[str]]] = []
    for package in params.packages:
        root = install(package, params.program, work)
        units = units_of(root)
        for line in complaints(root, list(units)):
            problems.setdefault(line, []).append(package.label)
        labels = next((labels for content, _, labels in known if content == units), None)
        if labels is None:
            services = [exposure(root, unit, params.limit) for unit in units if unit.endswith(".service")]
            labels = list[str]()
            known.append((units, services, labels))
        labels.append(package.label)
    found = [replace(service, packages=tuple(labels)) for _, services, labels in known for service in services]
    told = [f"{line} ({', '.join(labels)})" for line, labels in problems.items()]
    return sorted(found, key=lambda service: (service.unit, service.packages)), told


def refusal(service: Service, limit: int) -> list[str]:
    """Return the message about a service over the limit: its score, and what counts most."""
    of = ", ".join(service.packages)
    lines = [f"{service.unit} ({of}): its exposure is {service.exposure}, and {limit / 10} is allowed; worst:"]
    lines += [f"  {one.exposure} {one.directive} {one.why}" for one in service.exposed[:SHOWN]]
    return [*lines, f"  and {len(service.exposed) - SHOWN} more"] if len(service.exposed) > SHOWN else lines


def main(params: Parameters) -> None:
    """Check the units, and write what was found."""
    systemd = version()
    services, problems = check(params, Path.cwd() / "packages")
    if problems:
        problems = ["systemd objects to units:", *problems, "to do: correct them; see systemd.unit(5)"]
    refused = [line for each in services if each.verdict != "accepted" for line in refusal(each, params.limit)]
    if refused:
        refused.append("to do: harden the unit (systemd.exec(5)), or allow more: [packages] exposure in product.toml")
    if problems or refused:
        raise Problem(*problems, *refused)
    write(params.out, Exposure(systemd, params.limit / 10, tuple(services)))


if __name__ == "__main__":
    run_program(main, Parameters)
