"""Makes an RPM of its source package, with `rpmbuild --rebuild`, as anyone can do again; rpmlint is the gate.

The binary is compiled already, so the package of another architecture is put together with `--target`. Every finding of
rpmlint is an error; `Filters` in `rpmlint.toml` are the exceptions, each with its reason. rpmlint 1.10 is enough.

Output: the package `out`, without a signature and the same bytes whatever the machine, as the spec file sees to. It is
rebuilt here, too, because `rpmbuild -bb` makes other bytes of the same spec: rpm notes in a package (`RPMTAG_COOKIE`)
which source package it was rebuilt from.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from pipeline.programs.common import Problem
from pipeline.programs.package.package import FILES, PackagedBinary, approved, attempt, deliver, run
from pipeline.programs.start import run_program

FOLDERS = ("BUILD", "BUILDROOT", "RPMS", "SOURCES", "SPECS", "SRPMS", "tmp")


@dataclass(frozen=True)
class Parameters:
    """The package: its architecture as RPM calls it, its source package (`rpm_source.py`), and the file to write."""

    arch: str
    """`noarch` for a package without a binary."""
    source: Path
    out: Path
    packaged: Optional[PackagedBinary] = None
    """The binary, which the source package names and does not hold."""
    rpmlint: Path = FILES / "rpm/rpmlint.toml"


def rpmbuild(*argv: str, work: Path, what: str) -> None:
    """Run rpmbuild with its folders below `work`, and print what it says. Raises Problem, `what` in front."""
    macros = ("--define", f"_topdir {work}", "--define", f"_tmppath {work / 'tmp'}")
    print(run("rpmbuild", *macros, *argv, cwd=work, what=what), end="", flush=True)


def build(params: Parameters, work: Path) -> Path:
    """Return the package that rpmbuild made below `work`."""
    for name in FOLDERS:
        (work / name).mkdir(parents=True)
    if params.packaged:
        binary = approved(params.packaged)
        (work / "SOURCES" / binary.name).symlink_to(binary)
    argv = ("--rebuild", "--target", f"{params.arch}-linux", str(params.source))
    rpmbuild(*argv, work=work, what="the package was not made")
    deliver(sorted((work / "RPMS").rglob("*.rpm")), params.out)
    return params.out


def converted(text: str) -> str:
    """Return an `rpmlint.toml` as rpmlint 1.x reads it: Python, which begins with that import (its own `config`).

    Literal strings, each on a line of its own, are filters, and `Name = "text"` sets an option. There is no TOML parser
    in the Python of OL 8 and 9.
    """
    options = re.findall(r'^(\w+) = "([^"]*)"$', text, re.MULTILINE)
    filters = re.findall(r"^\s*'([^']*)',", text, re.MULTILINE)
    lines = [f"setOption({name!r}, {value!r})" for name, value in options] + [
        f"addFilter({text!r})" for text in filters
    ]
    return "\n".join(["from Config import *", *lines, ""])


def release_of(version: str) -> tuple[int, ...]:
    """Return rpmlint's release, such as (2, 4), from its own output."""
    found = re.search(r"(\d+)\.(\d+)", version)
    if not found:
        raise Problem(f"rpmlint does not say which release it is: {version.strip() or 'no output'}")
    return int(found[1]), int(found[2])


def configuration(toml: Path, release: tuple[int, ...]) -> list[str]:
    """Return the arguments of rpmlint, of that release, for its exceptions."""
    if release >= (2,):
        return ["--strict", "--config", str(toml)]
    old = toml.with_suffix(".config")
    old.write_text(converted(toml.read_text("utf-8")), "utf-8")
    return ["--file", str(old)]


def check(package: Path, exceptions: Path, work: Path) -> None:
    """Raise Problem with every finding of rpmlint but the `exceptions`, an `rpmlint.toml`.

    rpmlint 1.10 cannot read a source package that lacks a source: there it reads the spec file instead.
    """
    toml = Path(shutil.copyfile(exceptions, work / "rpmlint.toml"))
    release = release_of(attempt("rpmlint", "--version", cwd=work).stdout)
    specs = sorted((work / "SPECS").glob("*.spec"))
    subjects = specs if package.name.endswith(".nosrc.rpm") and release < (1, 11) else [package]
    argv = ["rpmlint", *configuration(toml, release), *map(str, subjects)]
    done = attempt(*argv, cwd=work, TMPDIR=str(work / "tmp"))
    found = [line for line in done.stdout.splitlines() if re.search(r": [EW]: ", line)]
    if found or done.returncode:
        raise Problem(f"rpmlint objects to {package.name}", *(found or done.stdout.splitlines()))


def main(params: Parameters) -> None:
    """Make the package, and check it."""
    os.umask(0o022)
    work = Path.cwd() / "package"
    check(build(params, work), params.rpmlint, work)


if __name__ == "__main__":
    run_program(main, Parameters)
