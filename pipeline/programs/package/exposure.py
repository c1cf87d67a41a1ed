"""Judges the units that packages install: `systemd-analyze verify`, and how exposed each service is.

Params:
  packages  each with its `label`, the folder `files` with its packaging files (templates filled in), its `format` (deb
            or rpm) and its `name`
  program   the name under which the packaging files expect the binary, which no unit needs to be judged
  limit     the highest exposure that a service may have, in tenths, as `systemd-analyze security --threshold` takes it
  out       the file to write (default `/out/exposure.json`)

Every package is installed into a root of its own by the Makefile that makes the package, so a unit that starts a
program which its package does not install is found too. Analysis without a running system needs systemd 250.

Output: every service with its exposure (0 is best, 10 is worst), the packages that have it, and what adds to the
exposure, worst first. A complaint of `verify` and a service over the limit are errors, all of them listed.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from pipeline.programs.common import Json, Params, Problem, run_program, write_json
from pipeline.programs.package.package import NOTICE, attempt, lay_out, run

SCHEMA = "urn:release-pipeline:exposure:v1"
OLDEST = 250
"""The systemd whose `security` has `--offline` and `--threshold` (its NEWS, changes with 250)."""
UNITS = Path("usr/lib/systemd/system")
SYSTEM = Path("/usr/lib/systemd/system")
MERGED = ("bin", "lib", "sbin")
HOST_PROGRAMS = ("usr/bin/kill",)
"""What units may start although no package of ours brings it: part of every system with systemd."""
SHOWN = 12
OVERALL = re.compile(r"Overall exposure level for \S+: (\d+\.\d+) ")


def version() -> str:
    """Return the version of systemd-analyze. Raises Problem when it is too old to judge units of files."""
    said = run("systemd-analyze", "--version", cwd=Path.cwd(), what="systemd cannot be asked for its version")
    match = re.match(r"systemd (\d+) \(([^)\s]+)", said)
    if not match or int(match[1]) < OLDEST:
        found = said.splitlines()[0] if said else "nothing"
        raise Problem(
            f"units are judged by systemd {OLDEST} or later, and this image has {found}",
            "to do: give the image of the step `exposure` a newer systemd in packaging/images.toml",
        )
    return match[2]


def install(package: Json, program: str, work: Path) -> Path:
    """Return a root with what a package installs, and what its units may expect of the system around them."""
    root, folder = work / f"{package['label']}.root", work / f"{package['label']}.files"
    lay_out(Params(files=package["files"]), folder)
    for name in (program, NOTICE):
        (folder / name).touch()
    for name in MERGED:
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    argv = ["make", "install", f"FORMAT={package['format']}", f"DESTDIR={root}", f"PACKAGE={package['name']}"]
    run(*argv, cwd=folder, what=f"the files of the package for {package['label']} cannot be installed")
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
    said = [line.replace(str(root), "") for line in dict.fromkeys(done.stdout.splitlines()) if line]
    return said or ([f"systemd-analyze verify failed with exit code {done.returncode}"] if done.returncode else [])


def exposure(root: Path, unit: str, limit: int) -> Json:
    """Return how exposed a service below `root` is, and what adds to it, worst first. Raises Problem for no answer."""
    argv = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--root={root}", f"--threshold={limit}"]
    told = attempt(*argv, instance(unit), cwd=root)
    overall = OVERALL.search(told.stdout)
    rows = attempt(*argv, "--json=short", instance(unit), cwd=root).stdout
    table = next((line for line in rows.splitlines() if line.startswith("[")), "")
    if not overall or not table:
        raise Problem(f"systemd-analyze says nothing of the exposure of {unit}", *(told.stdout + rows).splitlines()[:9])
    exposed = [
        {"directive": row["name"], "exposure": float(row["exposure"]), "why": row["description"]}
        for row in json.loads(table)
        if row["exposure"] and float(row["exposure"])
    ]
    exposed.sort(key=lambda row: (-row["exposure"], row["directive"]))
    verdict = "over the limit" if told.returncode or float(overall[1]) * 10 > limit + 0.01 else "accepted"
    return {"unit": unit, "exposure": float(overall[1]), "verdict": verdict, "exposed": exposed}


def judge(packages: list[Json], program: str, limit: int, work: Path) -> tuple[list[Json], list[str]]:
    """Return every service, once for each content that it has, and what `verify` says against any unit."""
    found: list[Json] = []
    problems: dict[str, list[str]] = {}
    known: list[tuple[dict[str, bytes], list[Json]]] = []
    for package in packages:
        root = install(package, program, work)
        units = units_of(root)
        for line in complaints(root, list(units)):
            problems.setdefault(line, []).append(package["label"])
        rows = next((rows for content, rows in known if content == units), None)
        if rows is None:
            services = [unit for unit in units if unit.endswith(".service")]
            rows = [{**exposure(root, unit, limit), "packages": []} for unit in services]
            known.append((units, rows))
            found += rows
        for row in rows:
            row["packages"].append(package["label"])
    told = [f"{line} ({', '.join(labels)})" for line, labels in problems.items()]
    return sorted(found, key=lambda row: (row["unit"], row["packages"])), told


def refusal(row: dict[str, Any], limit: int) -> list[str]:
    """Return what to say of a service over the limit: its score, and what counts most."""
    of = ", ".join(row["packages"])
    lines = [f"{row['unit']} ({of}): its exposure is {row['exposure']}, and {limit / 10} is allowed; worst:"]
    lines += [f"  {one['exposure']} {one['directive']} {one['why']}" for one in row["exposed"][:SHOWN]]
    return [*lines, f"  and {len(row['exposed']) - SHOWN} more"] if len(row["exposed"]) > SHOWN else lines


def main(params: Params) -> None:
    """Judge the units, and write what was found."""
    limit, systemd = int(params["limit"]), version()
    work = Path.cwd() / "packages"
    units, problems = judge(params["packages"], str(params["program"]), limit, work)
    if problems:
        problems = ["systemd objects to units:", *problems, "to do: correct them; what it says is in systemd.unit(5)"]
    refused = [line for row in units if row["verdict"] != "accepted" for line in refusal(row, limit)]
    if refused:
        refused.append("to do: harden the unit (systemd.exec(5)), or allow more: [packages] exposure in product.toml")
    if problems or refused:
        raise Problem(*problems, *refused)
    content = {"schema": SCHEMA, "systemd": systemd, "limit": limit / 10, "units": units}
    write_json(params.path("out", "/out/exposure.json"), content)


if __name__ == "__main__":
    run_program(main)
