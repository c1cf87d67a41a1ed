"""Source packages of the example's release: what they hold, and that plain `rpmbuild` makes the released RPMs of it."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from pipeline.release.compare import difference_of
from tests.conftest import require_tool
from tests.integration.packaged import machine
from tests.integration.released import PROJECT, RELEASE, pipeline, succeeded

GUIDE = PROJECT / "packaging/products/seaweedfs/doc/signing.md"
IMAGES = {"el8": "rpm-ol8", "el9": "rpm-ol9"}
PROGRAM = "example-1.2.3-linux-amd64"


def commands(*changes: tuple[str, str]) -> str:
    """Return what the guide says to do, for the example, as a shell script; `changes` are made in it first."""
    section = GUIDE.read_text().partition("### Build an RPM again\n")[2]
    block = re.search(r"```sh\nsudo dnf install rpm-build make\n(.*?)```", section, re.DOTALL)
    assert block is not None
    text = block[1].replace("seaweedfs", "example").replace("4.44", "1.2.3")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return f"set -e; export HOME=/root; cd /packages\n{text}"


def folder_of(dist: Path, folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        shutil.copy(dist / name, folder / name)
    return folder


def said(*argv: str | Path) -> bytes:
    require_tool(str(argv[0]))
    return subprocess.run(argv, capture_output=True, check=True).stdout


def held(package: Path) -> dict[str, bytes]:
    """Return every file that a package really has, by name."""
    require_tool("cpio")
    listing = ["cpio", "--list", "--quiet"]
    payload = said("rpm2cpio", package)
    names = subprocess.run(listing, input=payload, capture_output=True, check=True).stdout.decode().split()
    one = ("cpio", "--extract", "--to-stdout", "--quiet")
    return {name: subprocess.run([*one, name], input=payload, capture_output=True, check=True).stdout for name in names}


@pytest.mark.parametrize(
    ("release", "name", "arch", "program", "changes"),
    [
        ("el8", "example", "x86_64", PROGRAM, [("el9", "el8")]),
        (
            "el9",
            "example-fips",
            "x86_64",
            f"{PROGRAM}-fips",
            [(f"cp {PROGRAM}", f"cp {PROGRAM}-fips"), ("example-1.2.3-1", "example-fips-1.2.3-1")],
        ),
        (
            "el9",
            "example",
            "aarch64",
            "example-1.2.3-linux-arm64",
            [("amd64", "arm64"), ("--rebuild", "--rebuild --target aarch64-linux"), ("x86_64", "aarch64")],
        ),
    ],
)
def test_whoever_doubts_a_package_gets_it_again_as_the_guide_says(
    dist: Path, tmp_path: Path, release: str, name: str, arch: str, program: str, changes: list[tuple[str, str]]
) -> None:
    package, source = f"{name}-1.2.3-1.{release}.{arch}.rpm", f"{name}-1.2.3-1.{release}.nosrc.rpm"
    folder = folder_of(dist, tmp_path / "p", package, source, program)
    with machine(folder, tmp_path / "machine", IMAGES[release]) as host:
        lines = host.run(commands(*changes)).splitlines()
    assert difference_of(dist / package, folder / "rebuilt.rpm") == ""
    assert re.fullmatch(r"[0-9a-f]{64}", lines[-1])
    assert lines[-1] == lines[-2]


def test_another_program_makes_another_package_and_none_makes_none(dist: Path, tmp_path: Path) -> None:
    package, source = "example-1.2.3-1.el9.x86_64.rpm", "example-1.2.3-1.el9.nosrc.rpm"
    folder = folder_of(dist, tmp_path / "p", package, source, PROGRAM)
    with (folder / PROGRAM).open("ab") as file:
        file.write(b"!")
    with machine(folder, tmp_path / "machine", IMAGES["el9"]) as host:
        code, lacking = host.attempt(commands((f"cp {PROGRAM} ~/rpmbuild/SOURCES/\n", "")))
        lines = host.run(commands()).splitlines()
    assert code != 0
    assert f"/root/rpmbuild/SOURCES/{PROGRAM} is missing: it is a file of the same release" in lacking
    assert "differs from byte" in difference_of(dist / package, folder / "rebuilt.rpm")
    assert lines[-1] != lines[-2]


@pytest.mark.parametrize("release", IMAGES)
def test_the_package_of_the_module_is_built_again_from_its_source_package_alone(
    dist: Path, tmp_path: Path, release: str
) -> None:
    name = f"example-selinux-1.2.3-1.{release}"
    folder = folder_of(dist, tmp_path / "p", f"{name}.src.rpm")
    with machine(folder, tmp_path / "machine", IMAGES[release]) as host:
        host.run(f"cd /packages; HOME=/root rpmbuild --rebuild {name}.src.rpm; cp /root/rpmbuild/RPMS/*/*.rpm .")
    assert difference_of(dist / f"{name}.noarch.rpm", folder / f"{name}.noarch.rpm") == ""


def test_a_source_package_holds_everything_but_the_programs(dist: Path) -> None:
    programs = [f"example-1.2.3-linux-{arch}-fips" for arch in ("amd64", "arm64")]
    files = held(dist / "example-fips-1.2.3-1.el9.nosrc.rpm")
    notices = {f"{program}.NOTICE.txt" for program in programs}
    assert set(files) == {"example-fips.spec", "files.tar"} | notices
    for name in notices:
        assert files[name] == (dist / name).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(files["files.tar"])) as tar:
        packed = {member.name: member for member in tar.getmembers() if member.isfile()}
    assert "Makefile" in packed
    assert not [name for name in packed if name.startswith(("rpm/", "deb/", "selinux/", "apparmor/"))]
    assert max(member.size for member in packed.values()) < 100_000
    format_ = "%{ARCH} %{BUILDHOST} [%{NOSOURCE} ]\n[%{FILENAMES} %{FILESIZES} %{FILEUSERNAME}\n]"
    package = dist / "example-fips-1.2.3-1.el9.nosrc.rpm"
    head, *rows = (
        said("rpm", "--query", "--nosignature", "--queryformat", format_, "--package", package).decode().splitlines()
    )
    assert sorted(head.split()) == ["1", "3", "noarch", "reproducible"]
    sizes = {row.split()[0]: int(row.split()[1]) for row in rows}
    assert {name: sizes[name] for name in programs} == {name: (dist / name).stat().st_size for name in programs}
    assert {row.split()[2] for row in rows} == {"root"}
    assert set(held(dist / "example-selinux-1.2.3-1.el8.src.rpm")) == {"example-selinux.spec", "files.tar"}


def test_a_package_is_the_same_in_a_release_for_one_architecture(dist: Path, tmp_path: Path) -> None:
    """Although its source package names one program and not two."""
    only = ("--target", "linux/amd64", "--variant", "standard", "--dist", str(tmp_path))
    made = Path(succeeded(pipeline("package", *RELEASE[1:], *only)).strip())
    name = "example-1.2.3-1.el9.x86_64.rpm"
    assert difference_of(dist / name, made / name) == ""
    name = "example-1.2.3-1.el9.nosrc.rpm"
    assert difference_of(dist / name, made / name) != ""
    assert [name for name in held(made / name) if "linux" in name] == [f"{PROGRAM}.NOTICE.txt"]
