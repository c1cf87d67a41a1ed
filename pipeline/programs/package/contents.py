"""Says what a package holds: its name, what it needs, and every file with its digests.

Runs in the distribution that the package is for, whose own tools read it.
"""

from __future__ import annotations

import hashlib
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from pipeline.programs.common import Problem, sha256_of
from pipeline.programs.document import write
from pipeline.programs.package.package_documents import Contents, Entry
from pipeline.programs.purl import purl
from pipeline.programs.start import run_program

BLOCK = 1 << 20
CPIO_MAGIC, CPIO_HEADER, CPIO_END = b"070701", 110, "TRAILER!!!"
RPM_QUERY = "%{NAME}\n%{VERSION}-%{RELEASE}\n%{ARCH}\n[%{REQUIRENAME} %{REQUIREFLAGS:depflags} %{REQUIREVERSION}\n]"
RPM_OWN = ("rpmlib(", "config(")
"""What rpm itself asks for, and what a package asks of itself."""


@dataclass(frozen=True)
class Parameters:
    """The DEB or RPM, whose name ends that way, and the file to write."""

    package: Path
    out: Path = Path("/out/contents.json")


def output(*argv: str) -> str:
    """Return what a tool wrote to stdout. Raises Problem with what it complained of when it fails."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise Problem(f"{argv[0]} is not in this image") from None
    if done.returncode:
        raise Problem(f"{argv[0]} cannot read {Path(argv[-1]).name}", *done.stderr.splitlines())
    return done.stdout


def deb_facts(package: Path) -> Contents:
    """Return what the control file of a DEB says (deb-control(5))."""
    fields = [output("dpkg-deb", "--showformat", "${" + name + "}", "--show", str(package)) for name in
              ("Package", "Version", "Architecture", "Pre-Depends", "Depends")]  # fmt: skip
    name, version, arch, *needs = fields
    requires = sorted(" ".join(each.split()) for need in needs for each in need.split(",") if each.strip())
    own = purl("deb", name, version, arch=arch)
    return Contents(name, version, arch, own, sha256_of(package), tuple(requires), files=())


def rpm_facts(package: Path) -> Contents:
    """Return what the header of an RPM says."""
    name, version, arch, *needs = output(
        "rpm", "--query", "--package", "--queryformat", RPM_QUERY, str(package)
    ).splitlines()
    requires = sorted({" ".join(each.split()) for each in needs if not each.startswith(RPM_OWN)})
    return Contents(name, version, arch, purl("rpm", name, version, arch=arch), "", tuple(requires), files=())


def hashed(entry: Entry, stream: IO[bytes], size: int) -> Entry:
    """Return `entry` with size and digests of the next `size` bytes. SPDX 2.3, section 8.4, asks for SHA-1 too."""
    sha1, sha256 = hashlib.sha1(), hashlib.sha256()
    left = size
    while left:
        block = stream.read(min(BLOCK, left))
        if not block:
            raise Problem("the package ends in the middle of a file")
        sha1.update(block)
        sha256.update(block)
        left -= len(block)
    return replace(entry, size=size, sha1=sha1.hexdigest(), sha256=sha256.hexdigest())


def deb_files(stream: IO[bytes]) -> Iterator[Entry]:
    """Yield the files of the tar archive that `dpkg-deb --fsys-tarfile` writes."""
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for info in tar:
            entry = Entry("/" + info.name.removeprefix("./"), f"{info.mode:04o}")
            if info.issym():
                yield replace(entry, link=info.linkname)
            elif info.isfile():
                content = tar.extractfile(info)
                assert content
                yield hashed(entry, content, info.size)
            elif not info.isdir():
                raise Problem(f"{entry.path} is not a file with one name, a folder or a symbolic link")


def rpm_files(stream: IO[bytes]) -> Iterator[Entry]:
    """Yield the files of the archive that rpm2cpio writes: cpio's "new ASCII" format (cpio(5))."""
    while True:
        header = stream.read(CPIO_HEADER)
        if not header.startswith(CPIO_MAGIC):
            raise Problem("rpm2cpio wrote no archive in cpio's new ASCII format")
        fields = [int(header[start : start + 8], 16) for start in range(len(CPIO_MAGIC), CPIO_HEADER, 8)]
        mode, names, size, length = fields[1], fields[4], fields[6], fields[11]
        name = stream.read(length + (-(CPIO_HEADER + length) % 4))[: length - 1].decode("utf-8")
        if name == CPIO_END:
            return
        entry = Entry("/" + name.removeprefix("./").lstrip("/"), f"{stat.S_IMODE(mode):04o}")
        if stat.S_ISLNK(mode):
            yield replace(entry, link=stream.read(size).decode("utf-8"))
        elif stat.S_ISREG(mode) and names == 1:
            yield hashed(entry, stream, size)
        elif not stat.S_ISDIR(mode):
            # Of a file with several names only the last has the content (cpio(5)).
            raise Problem(f"{entry.path} is not a file with one name, a folder or a symbolic link")
        stream.read(-size % 4)


FORMATS: dict[str, tuple[Callable[[Path], Contents], Callable[[IO[bytes]], Iterator[Entry]], tuple[str, ...]]] = {
    ".deb": (deb_facts, deb_files, ("dpkg-deb", "--fsys-tarfile")),
    ".rpm": (rpm_facts, rpm_files, ("rpm2cpio",)),
}
"""Facts, files, and the tool that unpacks, by how the package's name ends."""


def contents(package: Path) -> Contents:
    """Return everything about `package`. Raises Problem when its tools cannot read it."""
    facts, files, argv = FORMATS[package.suffix]
    known = facts(package)
    with subprocess.Popen([*argv, str(package)], stdout=subprocess.PIPE) as unpacking:
        assert unpacking.stdout
        listed = sorted(files(unpacking.stdout), key=lambda entry: entry.path)
        unpacking.stdout.read()
    if unpacking.returncode:
        raise Problem(f"{argv[0]} ended with exit code {unpacking.returncode} on {package.name}")
    return replace(known, files=tuple(listed))


def main(params: Parameters) -> None:
    """Write what the package holds."""
    write(params.out, contents(params.package))


if __name__ == "__main__":
    run_program(main, Parameters)
