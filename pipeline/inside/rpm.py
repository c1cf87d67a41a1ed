"""Makes an RPM: rpmbuild in a folder of its own, and rpmlint as a gate.

Params: those of `package.py`, and
  arch   the architecture of the package, as RPM calls it; `noarch` for one without a binary
  spec   the path of the spec file among the packaging files; `rpmlint.toml` beside it has what rpmlint may not say

The packaging files, the binary and its notice are in `files.tar`, which the spec unpacks as its Source0. The binary is
compiled already, so the package of another architecture is put together with `--target`. Every finding of rpmlint is
an error; `Filters` in `rpmlint.toml` are the exceptions, each with its reason.

Output: the package `out`, without a signature and the same bytes whatever the machine: times are SOURCE_DATE_EPOCH, the
build host has no name, digests are SHA-256, and the payload is xz, which every rpm reads that OL 8 and later have.
"""

from __future__ import annotations

import os
import re
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__:
    from pipeline.inside.common import Params, Problem, run_program, source_date_epoch
    from pipeline.inside.package import attempt, deliver, lay_out, run
else:
    from common import Params, Problem, run_program, source_date_epoch
    from package import attempt, deliver, lay_out, run

SOURCE = "files.tar"
MACROS = {
    "__brp_mangle_shebangs": "%{nil}",
    "__os_install_post": "%{nil}",
    "_binary_filedigest_algorithm": "8",
    "_binary_payload": "w0T2.xzdio",
    "_build_id_links": "none",
    "_buildhost": "reproducible",
    "_source_filedigest_algorithm": "8",
    "clamp_mtime_to_source_date_epoch": "1",
    "debug_package": "%{nil}",
    "dist": "%{nil}",
    "source_date_epoch_from_changelog": "0",
    "use_source_date_epoch_as_buildtime": "1",
}
"""Of rpm 4.14 and later. SHA-256 is number 8 of RFC 9580, section 9.5; FIPS hosts refuse MD5. A Go program packed by xz
at level 0 is a fifth larger than at level 6, and is packed in a tenth of the time. Two threads, however many cores
there are: how many there are decides where blocks end."""


def pack(folder: Path, archive: Path, epoch: int) -> None:
    """Write `folder` as the tar archive that the spec unpacks."""

    def owned(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = "root"
        info.mtime = epoch
        return info

    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            tar.add(path, path.relative_to(folder).as_posix(), recursive=False, filter=owned)


def build(params: Params, work: Path) -> Path:
    """Return the package that rpmbuild made below `work`."""
    for name in ("BUILD", "BUILDROOT", "RPMS", "SOURCES", "SPECS", "SRPMS", "tmp"):
        (work / name).mkdir(parents=True)
    lay_out(params, work / "files")
    spec = work / "files" / str(params["spec"])
    if not spec.is_file():
        raise Problem(f"the packaging files have no {params['spec']}")
    pack(work / "files", work / "SOURCES" / SOURCE, source_date_epoch())
    macros = {**MACROS, "_topdir": str(work), "_tmppath": str(work / "tmp")}
    argv = ["rpmbuild", "-bb", "--target", f"{params['arch']}-linux"]
    argv += [word for name, value in sorted(macros.items()) for word in ("--define", f"{name} {value}")]
    print(run(*argv, str(spec), cwd=work, what="the package was not made"), end="", flush=True)
    out = Path(params["out"])
    deliver(sorted((work / "RPMS").rglob("*.rpm")), out)
    return out


def filters(text: str) -> list[str]:
    """Return the filters of an `rpmlint.toml`: literal strings, each on a line of its own.

    There is no TOML parser in the Python of OL 8 and 9.
    """
    return re.findall(r"^\s*'([^']*)',", text, re.MULTILINE)


def configuration(toml: Path, version: str) -> list[str]:
    """Return the arguments of rpmlint for its exceptions. Before 2.0, rpmlint reads Python (rpmlint(1))."""
    if re.search(r"\b2\.\d", version):
        return ["--strict", "--config", str(toml)]
    old = toml.with_suffix(".config")
    old.write_text("".join(f"addFilter({text!r})\n" for text in filters(toml.read_text("utf-8"))), "utf-8")
    return ["--file", str(old)]


def check(package: Path, toml: Path, work: Path) -> None:
    """Raise Problem with every finding of rpmlint."""
    version = attempt("rpmlint", "--version", cwd=work).stdout
    done = attempt("rpmlint", *configuration(toml, version), str(package), cwd=work, TMPDIR=str(work / "tmp"))
    found = [line for line in done.stdout.splitlines() if re.search(r": [EW]: ", line)]
    if found or done.returncode:
        raise Problem(f"rpmlint objects to {package.name}", *(found or done.stdout.splitlines()))


def main(params: Params) -> None:
    """Make the package, and check it."""
    os.umask(0o022)
    work = Path.cwd() / "package"
    package = build(params, work)
    check(package, work / "files" / Path(str(params["spec"])).parent / "rpmlint.toml", work)


if __name__ == "__main__":
    run_program(main)
