"""Makes a source RPM: the spec file and its sources, but not what is compiled elsewhere.

Source0 is `files.tar`: the packaging files but the folder of the spec. A source RPM that lacks a source is called
`*.nosrc.rpm`, another `*.src.rpm`. It is of no architecture, and its bytes are the same whatever the machine. Every
finding of rpmlint is an error.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.programs.common import Problem, source_date_epoch
from pipeline.programs.package.package import FILES, deliver, lay_out
from pipeline.programs.package.rpm import FOLDERS, check, rpmbuild
from pipeline.programs.start import run_program

SOURCE = "files.tar"


@dataclass(frozen=True)
class Parameters:
    """The source package: its name, its spec file and its sources, and the file to write."""

    name: str
    spec: str
    """The path of the spec file among the packaging files; `rpmlint.toml` beside it has rpmlint's accepted messages."""
    out: Path
    held: tuple[str, ...] = ()
    """The names of the sources that the source RPM holds, such as the list of licenses."""
    named: tuple[str, ...] = ()
    """The names of those that it only names (`NoSource` in the spec), such as the program: to rebuild the package, take
    them from the release."""
    sources: Path = Path("/in/sources")
    files: Path = FILES


def pack(folder: Path, archive: Path, epoch: int, without: Path) -> None:
    """Write `folder` as the tar archive that the spec unpacks, but the folder `without` in it."""

    def owned(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = "root"
        info.mtime = epoch
        return info

    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            if path != without and without not in path.parents:
                tar.add(path, path.relative_to(folder).as_posix(), recursive=False, filter=owned)


def place(params: Parameters, folder: Path) -> None:
    """Put the other sources into `folder`.

    rpm keeps the size of a source that it only names, and never reads it: a file full of holes will do.
    """
    for name in params.held:
        shutil.copyfile(params.sources / name, folder / name)
    for name in params.named:
        with (folder / name).open("wb") as file:
            file.truncate((params.sources / name).stat().st_size)


def build(params: Parameters, work: Path) -> Path:
    """Return the source package that rpmbuild made below `work`."""
    for name in FOLDERS:
        (work / name).mkdir(parents=True)
    files, sources, epoch = work / "files", work / "SOURCES", source_date_epoch()
    lay_out(params.files, files)
    spec = files / params.spec
    if not spec.is_file():
        raise Problem(f"the packaging files have no {params.spec}")
    pack(files, sources / SOURCE, epoch, without=spec.parent)
    place(params, sources)
    for path in sources.iterdir():
        path.chmod(0o644)
        os.utime(path, (epoch, epoch))
    # Of the architecture of whatever machine it is made on, unless told otherwise.
    named = Path(shutil.copy2(spec, work / "SPECS" / f"{params.name}.spec"))
    rpmbuild("-bs", "--target", "noarch-linux", str(named), work=work, what="the source package was not made")
    deliver(sorted((work / "SRPMS").iterdir()), params.out)
    return params.out


def main(params: Parameters) -> None:
    """Make the source package, and check it."""
    os.umask(0o022)
    work = Path.cwd() / "package"
    package = build(params, work)
    check(package, work / "files" / Path(params.spec).parent / "rpmlint.toml", work)


if __name__ == "__main__":
    run_program(main, Parameters)
