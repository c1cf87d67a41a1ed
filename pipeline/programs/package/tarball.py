"""Packs a folder as a tar.gz that depends on nothing but its content.

Output: entries sorted by name; owner and group 0 (`root`); modes 0755 (folders, executable files) and 0644;
every time is SOURCE_DATE_EPOCH; the gzip header holds neither name nor time (RFC 1952, section 2.3). POSIX.1-2001 (pax)
format, which is plain ustar for short names. Errors: an empty folder; something that is not a file, folder or symbolic
link; a link that leads out of the archive; two files with one name.
"""

from __future__ import annotations

import gzip
import io
import posixpath
import stat
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.programs.common import Problem, source_date_epoch
from pipeline.programs.start import run_program


@dataclass(frozen=True)
class Parameters:
    """What to pack, and the file to write."""

    prefix: str
    """The one folder that everything is in, inside of the archive."""
    out: Path
    root: Path = Path("/in/tree")
    rename: dict[str, str] = field(default_factory=dict)
    """{path below `root`: path below the prefix} of single files; the others keep theirs."""


def check_name(name: str) -> str:
    """Return `name` if it is a relative path without detours. Raises Problem otherwise."""
    if not name or name.startswith("/") or posixpath.normpath(name) != name or name.split("/", 1)[0] == "..":
        raise Problem(f"{name!r} is not a path inside of the archive")
    return name


def names(root: Path, prefix: str, rename: dict[str, str]) -> dict[str, Path]:
    """Return {name in the archive: file or folder}. Raises Problem for names that clash or lead nowhere."""
    found: dict[str, Path] = {}
    there = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*"))}
    unknown = sorted(set(rename) - set(there))
    if unknown or not there:
        raise Problem(*(f"there is no {name} to rename" for name in unknown), *([] if there else [f"{root} is empty"]))
    for name, path in there.items():
        target = f"{prefix}/{check_name(rename.get(name, name))}"
        if target in found:
            raise Problem(f"two files would be {target}")
        found[target] = path
    for target in list(found):
        for parent in list(Path(target).parents)[:-1]:
            found.setdefault(parent.as_posix(), root)
    return found


def entry(name: str, path: Path, epoch: int) -> tarfile.TarInfo:
    """Return the header of one entry. Raises Problem for what an archive of a release does not hold."""
    status = path.lstat()
    info = tarfile.TarInfo(name)
    info.mtime, info.uname, info.gname = epoch, "root", "root"
    info.mode = 0o755 if stat.S_ISDIR(status.st_mode) or status.st_mode & 0o100 else 0o644
    if stat.S_ISLNK(status.st_mode):
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
        joined = posixpath.normpath(posixpath.join(posixpath.dirname(name), info.linkname))
        if info.linkname.startswith("/") or joined.split("/", 1)[0] != name.split("/", 1)[0]:
            raise Problem(f"{name} is a link that leads out of the archive: {info.linkname}")
    elif stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISREG(status.st_mode):
        info.size = status.st_size
    else:
        raise Problem(f"{name} is not a file, folder or symbolic link")
    return info


def pack(root: Path, prefix: str, rename: dict[str, str], epoch: int) -> bytes:
    """Return the archive."""
    raw = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=raw, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, path in sorted(names(root, check_name(prefix), rename).items()):
            info = entry(name, path, epoch)
            if info.isreg():
                with path.open("rb") as file:
                    archive.addfile(info, file)
            else:
                archive.addfile(info)
    return raw.getvalue()


def main(params: Parameters) -> None:
    """Write the archive."""
    params.out.parent.mkdir(parents=True, exist_ok=True)
    params.out.write_bytes(pack(params.root, params.prefix, params.rename, source_date_epoch()))
    params.out.chmod(0o644)


if __name__ == "__main__":
    run_program(main, Parameters)
