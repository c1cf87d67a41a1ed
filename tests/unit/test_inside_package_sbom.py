"""SBOMs of packages: what is in the package, read as its archive has it, with the binary and what that is made of."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pipeline.programs import document
from pipeline.programs.common import Problem
from pipeline.programs.package import contents
from pipeline.programs.package.package_documents import Contents, Entry
from pipeline.programs.sbom import package_sbom, sbom

SCHEMAS = Path(__file__).resolve().parents[2] / "packaging" / "schemas"
DATA = Path(__file__).parent.parent / "data" / "inside"
BINARY = "d235c091fb56516e857aa6f482c63ea0aa72f0f9984bd5b231d6de5e80df00f9"
ABOUT = sbom.Parameters(
    cyclonedx=Path(), spdx=Path(), binary=Path(), out_cyclonedx=Path(), out_spdx=Path(),
    name="weed", version="1.2.3", supplier="Example", license="Apache-2.0",
)  # fmt: skip


def cpio(*entries: tuple[str, int, bytes], names: int = 1) -> bytes:
    """An archive in cpio's new ASCII format, as rpm2cpio writes it, of files with so many names."""
    archive = b""
    for name, mode, data in (*entries, ("TRAILER!!!", 0, b"")):
        fields = (1, mode, 0, 0, names, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(f"{field:08x}".encode() for field in fields) + name.encode() + b"\0"
        archive += head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)
    return archive


def entry(path: str, mode: str, data: bytes) -> Entry:
    sha1, sha256 = hashlib.sha1(data).hexdigest(), hashlib.sha256(data).hexdigest()
    return Entry(path, mode, len(data), sha1, sha256)


def test_files_links_and_folders_of_an_rpm() -> None:
    archive = cpio(
        ("./opt/weed", 0o040755, b""),
        ("./opt/weed/weed", 0o100755, b"program"),
        ("./usr/share/doc/weed", 0o120777, b"seaweedfs"),
        ("./etc/odd", 0o100640, b"12345"),
    )
    assert list(contents.rpm_files(io.BytesIO(archive))) == [
        entry("/opt/weed/weed", "0755", b"program"),
        Entry("/usr/share/doc/weed", "0777", link="seaweedfs"),
        entry("/etc/odd", "0640", b"12345"),
    ]


@pytest.mark.parametrize(("cut", "said"), [(115, "in the middle of a file"), (40, "no archive in cpio's")])
def test_an_rpm_whose_archive_is_cut_off_is_an_error(cut: int, said: str) -> None:
    archive = cpio(("a", 0o100644, b"x" * 500))
    with pytest.raises(Problem, match=said):
        list(contents.rpm_files(io.BytesIO(archive[:cut] if cut > 110 else b"x" * cut)))


def test_what_an_sbom_could_not_tell_truly_is_an_error() -> None:
    """Of a file with two names an archive holds the content once; a device has none."""
    with pytest.raises(Problem, match="/a is not a file with one name"):
        list(contents.rpm_files(io.BytesIO(cpio(("a", 0o100644, b""), ("b", 0o100644, b"x"), names=2))))
    with pytest.raises(Problem, match="/dev/x is not a file with one name"):
        list(contents.rpm_files(io.BytesIO(cpio(("./dev/x", 0o020600, b"")))))
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo("./b")
        info.type, info.linkname = tarfile.LNKTYPE, "./a"
        tar.addfile(info)
    stream.seek(0)
    with pytest.raises(Problem, match="/b is not a file with one name"):
        list(contents.deb_files(stream))


def test_files_links_and_folders_of_a_deb() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, mode, data in (("./opt/", 0o755, None), ("./opt/weed/weed", 0o755, b"program")):
            info = tarfile.TarInfo(name)
            info.mode, info.type = mode, tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            info.size = len(data or b"")
            tar.addfile(info, io.BytesIO(data or b""))
        info = tarfile.TarInfo("./usr/link")
        info.type, info.linkname = tarfile.SYMTYPE, "elsewhere"
        tar.addfile(info)
    stream.seek(0)
    assert list(contents.deb_files(stream)) == [
        entry("/opt/weed/weed", "0755", b"program"),
        Entry("/usr/link", "0644", link="elsewhere"),
    ]


def of_binary(kind: str) -> dict[str, Any]:
    """A binary's document, as the stage before has made it of syft's own."""
    raw = json.loads((DATA / f"syft-{kind}.json").read_text("utf-8"))
    normalise = sbom.normalise_cyclonedx if kind == "cdx" else sbom.normalise_spdx
    return normalise(raw, ABOUT, "weed-1.2.3-linux-amd64", BINARY, 1717992646)


def listed(*, sha256: str = "", binary: str = BINARY) -> Contents:
    program = Entry("/opt/weed/weed", "0755", 3, "1" * 40, binary)
    return Contents(
        name="weed", version="1.2.3-1.el9", arch="x86_64", sha256=sha256, requires=("/bin/sh",),
        purl="pkg:rpm/weed@1.2.3-1.el9?arch=x86_64",
        files=(program, entry("/etc/weed.conf", "0644", b"x"), Entry("/l", "0777", link="x")),
    )  # fmt: skip


def made(folder: Path, found: Contents, *, binary: bool = True) -> dict[str, dict[str, Any]]:
    """Run the program as its step does, and return its documents."""
    document.write(folder / "contents.json", found)
    for kind in ("cdx", "spdx"):
        (folder / kind).write_text(json.dumps(of_binary(kind)))
    params = package_sbom.Parameters(
        file="weed-1.2.3-1.el9.x86_64.rpm", contents=folder / "contents.json", schemas=SCHEMAS,
        supplier="Example", license="Apache-2.0", out_cyclonedx=folder / "out" / "cdx",
        out_spdx=folder / "out" / "spdx",
        cyclonedx=folder / "cdx" if binary else None, spdx=folder / "spdx" if binary else None,
    )  # fmt: skip
    package_sbom.main(params)
    return {kind: json.loads((folder / "out" / kind).read_text()) for kind in ("cdx", "spdx")}


@pytest.fixture(autouse=True)
def epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1717992646")


def test_the_package_holds_its_files_and_the_binary_which_holds_its_modules(tmp_path: Path) -> None:
    documents = made(tmp_path, listed())
    cyclonedx, binary = documents["cdx"], of_binary("cdx")
    root = cyclonedx["metadata"]["component"]
    inner = binary["metadata"]["component"]["bom-ref"]
    edges = {edge["ref"]: edge["dependsOn"] for edge in cyclonedx["dependencies"]}
    assert edges[root["bom-ref"]] == sorted([inner, "file:/etc/weed.conf"])
    assert edges[inner] == next(edge["dependsOn"] for edge in binary["dependencies"] if edge["ref"] == inner)
    names = {component["name"] for component in cyclonedx["components"]}
    assert {"/etc/weed.conf", "/opt/weed/weed", "stdlib"} <= names
    assert "weed-1.2.3-linux-amd64" not in names
    refs = [component["bom-ref"] for component in cyclonedx["components"]]
    assert len(refs) == len(set(refs))
    spdx = documents["spdx"]
    contained = [r["relatedSpdxElement"] for r in spdx["relationships"] if r["spdxElementId"] == package_sbom.ROOT]
    assert len(contained) == 3
    assert {element["fileName"] for element in spdx["files"]} == {"./opt/weed/weed", "./etc/weed.conf"}
    described = [r for r in spdx["relationships"] if r["relationshipType"] == "DESCRIBES"]
    assert [r["relatedSpdxElement"] for r in described] == [package_sbom.ROOT]


def test_only_a_package_that_no_signature_changes_afterwards_has_a_digest(tmp_path: Path) -> None:
    for sha256 in ("", "a" * 64):
        documents = made(tmp_path, listed(sha256=sha256))
        hashes = documents["cdx"]["metadata"]["component"].get("hashes")
        assert hashes == ([{"alg": "SHA-256", "content": sha256}] if sha256 else None)
        root = next(p for p in documents["spdx"]["packages"] if p["SPDXID"] == package_sbom.ROOT)
        assert ("checksums" in root) == bool(sha256)


def test_a_package_without_a_binary_lists_its_files(tmp_path: Path) -> None:
    documents = made(tmp_path, listed(), binary=False)
    assert [c["name"] for c in documents["cdx"]["components"]] == ["/etc/weed.conf", "/opt/weed/weed"]
    assert documents["spdx"]["creationInfo"]["creators"] == ["Organization: Example"]


def test_a_package_with_another_binary_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=f"no file of weed is the binary with SHA-256 {BINARY}"):
        made(tmp_path, listed(binary="b" * 64))
