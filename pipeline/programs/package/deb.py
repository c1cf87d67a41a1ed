"""Makes a Debian package of a binary: dpkg-buildpackage with debhelper, and lintian as a gate.

The folder `deb/` of the packaging files is the package's `debian/` (Debian Policy 4). The binary is compiled already,
so the package of another architecture is put together with `--host-arch`; build dependencies are what the image has.

Every finding of lintian is an error, hints at the level `info` too; what is meant that way is listed, with the reason,
in `deb/lintian-overrides`. An override that is not needed any more is an error as well. Tags that an older lintian does
not know, and would not take an override for, are in `deb/lintian-exceptions`. Two checks of the words inside of the
binary are left out: it is not made here, and its SBOM says what is in it. Lintian 2.104 and later will do.

Output: the package `out`, the same bytes whatever the machine: times are SOURCE_DATE_EPOCH, owners are root.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.programs.common import Problem
from pipeline.programs.package.package import FILES, PackagedBinary, attempt, deliver, lay_out, run
from pipeline.programs.start import run_program

LINTIAN = (
    "lintian", "--no-cfg", "--profile", "debian", "--allow-root", "--display-info", "--tag-display-limit", "0",
    "--suppress-tags", "spelling-error-in-binary,embedded-library",
    "--fail-on", "none",
)  # fmt: skip
EXCEPTIONS = "lintian-exceptions"


@dataclass(frozen=True)
class Parameters:
    """The package: its name, its version, its architecture as Debian calls it, and the file to write."""

    name: str
    version: str
    arch: str
    packaged: PackagedBinary
    out: Path
    files: Path = FILES


def build(params: Parameters, work: Path) -> Path:
    """Return the package that dpkg-buildpackage made below `work`."""
    source = work / f"{params.name}-{params.version.partition('-')[0]}"
    lay_out(params.files, source, params.packaged)
    (source / "deb").rename(source / "debian")
    argv = ["dpkg-buildpackage", "--build=binary", "--unsigned-source", "--unsigned-changes", "--no-check-builddeps"]
    argv += [f"--host-arch={params.arch}", "--jobs=1"]
    output = run(*argv, cwd=source, what="the package was not made", DEB_BUILD_OPTIONS="nocheck noautodbgsym")
    print(output, end="", flush=True)
    deliver(sorted(work.glob("*.deb")), params.out)
    return params.out


def findings(output: str, exceptions: str) -> list[str]:
    """Return the lines of lintian's output (`E: package: tag …`) with tags not among `exceptions`, one per line."""
    excepted = {line.strip() for line in exceptions.splitlines()}
    found = (re.match(r"[EWI]: .+?: (\S+)", line) for line in output.splitlines())
    return [each.string for each in found if each and each[1] not in excepted]


def check(package: Path, exceptions: Path, work: Path) -> None:
    """Raise Problem with every finding of lintian but those whose tags are in the file `exceptions`, if it is there."""
    done = attempt(*LINTIAN, str(package), cwd=work, TMPDIR=str(work))
    found = findings(done.stdout, exceptions.read_text("utf-8") if exceptions.is_file() else "")
    if found or done.returncode:
        raise Problem(f"lintian objects to {package.name}", *(found or done.stdout.splitlines()))


def main(params: Parameters) -> None:
    """Make the package, and check it."""
    os.umask(0o022)
    work = Path.cwd() / "package"
    work.mkdir()
    package = build(params, work)
    check(package, params.files / "deb" / EXCEPTIONS, work)


if __name__ == "__main__":
    run_program(main, Parameters)
