"""Layers and archives: what is unpacked, what is refused, and that what is written is deterministic."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from pipeline.errors import ImageError
from pipeline.host import content
from pipeline.model.identity import sha256_hex
from pipeline.oci.export import export
from pipeline.oci.image_layout import Layout
from pipeline.oci.manifest import INDEX, LAYER, MANIFEST, Descriptor, Manifest, choose, find_manifest
from pipeline.roots.unpack import unpack

PLATFORM = "linux/amd64"
Entry = tuple[str, str, str]
"""(path, kind, content): `f` a file's text, `d` nothing, `l` and `h` where a link points, `c` a device."""


def layer(*entries: Entry) -> bytes:
    """Return a tar archive."""
    kinds = {
        "f": tarfile.REGTYPE,
        "d": tarfile.DIRTYPE,
        "l": tarfile.SYMTYPE,
        "h": tarfile.LNKTYPE,
        "c": tarfile.CHRTYPE,
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, kind, text in entries:
            info = tarfile.TarInfo(path)
            info.type, info.mode = kinds[kind], 0o755 if kind == "d" else 0o4640
            data = text.encode() if kind == "f" else b""
            info.size = len(data)
            info.linkname = text if kind in "lh" else ""
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@dataclass
class Memory:
    """Blobs in memory."""

    blobs: dict[str, bytes] = field(default_factory=dict)

    def add(self, data: bytes, media_type: str = LAYER) -> Descriptor:
        digest = "sha256:" + sha256_hex(data)
        self.blobs[digest] = data
        return Descriptor(media_type=media_type, digest=digest, size=len(data))

    def document(self, descriptor: Descriptor) -> bytes:
        return self.blobs[descriptor.digest]

    def open(self, descriptor: Descriptor) -> BinaryIO:
        return io.BytesIO(self.blobs[descriptor.digest])


def unpacked(rootfs: Path, *layers: bytes, packing: str = "") -> Path:
    """Unpack `layers` into a new folder `rootfs`."""
    blobs = Memory()
    packed = [gzip.compress(data, 1) if packing == "+gzip" else data for data in layers]
    manifest = Manifest(
        digest="",
        layers=tuple(blobs.add(data, LAYER + packing) for data in packed),
        diff_ids=tuple("sha256:" + sha256_hex(data) for data in layers),
        path=(),
    )
    rootfs.mkdir()
    unpack(blobs, manifest, rootfs, lambda _: None)
    return rootfs


def names(root: Path) -> list[str]:
    return sorted(path for path, _ in content.walk(root))


@pytest.mark.parametrize("packing", ["", "+gzip"])
def test_layers_lie_over_each_other(tmp_path: Path, packing: str) -> None:
    first = layer(("a", "d", ""), ("a/one", "f", "1"), ("a/two", "f", "2"), ("./b", "f", "old"), ("dev/null", "c", ""))
    second = layer(("a/.wh.one", "f", ""), ("b", "f", "new"), ("a/link", "l", "two"), ("a/hard", "h", "a/two"))
    root = unpacked(tmp_path / "r", first, second, packing=packing)
    assert names(root) == ["a", "a/hard", "a/link", "a/two", "b", "dev"]
    assert (root / "b").read_text() == "new"
    assert (root / "a/link").readlink() == Path("two")
    assert (root / "a/hard").read_text() == "2"
    assert (root / "b").stat().st_mode & 0o7777 == 0o640


def test_an_opaque_mark_hides_what_lay_below_and_nothing_of_its_own_layer(tmp_path: Path) -> None:
    first = layer(("d/old", "f", "x"), ("d/sub/old", "f", "x"), ("e", "f", "x"))
    second = layer(("d/new", "f", "y"), ("d/sub/new", "f", "y"), ("d/.wh..wh..opq", "f", ""))
    root = unpacked(tmp_path / "r", first, second)
    assert [name for name in names(root) if (root / name).is_file()] == ["d/new", "d/sub/new", "e"]


def test_a_directory_takes_the_place_of_a_link_and_the_other_way_round(tmp_path: Path) -> None:
    first = layer(("usr/lib", "d", ""), ("lib", "l", "usr/lib"), ("dir/file", "f", "x"))
    second = layer(("lib/inside", "f", "by way of the link"), ("dir", "l", "usr"))
    root = unpacked(tmp_path / "r", first, second)
    assert (root / "usr/lib/inside").read_text() == "by way of the link"
    assert (root / "dir").is_symlink()
    third = layer(("lib", "d", ""), ("lib/own", "f", "x"))
    root = unpacked(tmp_path / "s", first, second, third)
    assert not (root / "lib").is_symlink()
    assert not (root / "usr/lib/own").exists()


@pytest.mark.parametrize(
    "entries",
    [
        [("../evil", "f", "x")],
        [("a/../../evil", "f", "x")],
        [("hard", "h", "../victim")],
        [("hard", "h", "/etc/hostname-of-the-host")],
        [("a/.wh...", "f", "")],
        [("a/.wh.", "f", "")],
        [("file", "f", "x"), ("file/below", "f", "x")],
    ],
)
def test_a_layer_that_reaches_out_is_refused(tmp_path: Path, entries: list[Entry]) -> None:
    (tmp_path / "victim").write_text("safe")
    with pytest.raises(ImageError):
        unpacked(tmp_path / "r", layer(*entries))
    assert not (tmp_path / "evil").exists()
    assert (tmp_path / "victim").read_text() == "safe"


def test_links_lead_nowhere_but_into_the_root(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    entries = [("abs", "l", str(outside)), ("rel", "l", "../outside"), ("abs/one", "f", "1"), ("rel/two", "f", "2")]
    root = unpacked(tmp_path / "r", layer(*entries), layer(("rel/.wh.three", "f", ""), ("abs/.wh..wh..opq", "f", "")))
    assert list(outside.iterdir()) == []
    assert (root / "outside/two").read_text() == "2"


def test_a_damaged_layer_is_noticed(tmp_path: Path) -> None:
    good = layer(("a", "f", "x" * 2000))
    blobs = Memory()
    described = blobs.add(good)
    manifest = Manifest(digest="", layers=(described,), diff_ids=(described.digest,), path=())
    for number, bad in enumerate((good[:-1], good[:600], good.replace(b"xx", b"yy"), b"")):
        blobs.blobs[described.digest] = bad
        (tmp_path / f"{number}").mkdir()
        with pytest.raises(ImageError, match="damaged"):
            unpack(blobs, manifest, tmp_path / f"{number}", lambda _: None)
    blobs.blobs[described.digest] = good
    wrong = Manifest(digest="", layers=(described,), diff_ids=("sha256:" + "0" * 64,), path=())
    (tmp_path / "d").mkdir()
    with pytest.raises(ImageError, match="damaged"):
        unpack(blobs, wrong, tmp_path / "d", lambda _: None)
    with pytest.raises(ImageError, match="cannot be unpacked"):
        unpacked(tmp_path / "e", good, packing="+brotli")


def entry(architecture: str, letter: str, variant: str = "", os_name: str = "linux") -> dict[str, Any]:
    platform = {"os": os_name, "architecture": architecture, **({"variant": variant} if variant else {})}
    return {"mediaType": MANIFEST, "digest": "sha256:" + letter * 64, "size": 1, "platform": platform}


def test_the_entry_for_the_platform_is_chosen() -> None:
    entries = [
        entry("unknown", "0", os_name="unknown"),
        entry("arm64", "1", "v8"),
        entry("amd64", "2", "v3"),
        entry("amd64", "3"),
    ]
    assert choose({"manifests": entries}, PLATFORM, "x").digest[-1] == "3"
    assert choose({"manifests": entries[:3]}, PLATFORM, "x").digest[-1] == "2"
    assert choose({"manifests": entries}, "linux/arm64", "x").digest[-1] == "1"
    with pytest.raises(ImageError, match="no image for linux/amd64") as caught:
        choose({"manifests": entries[:2]}, PLATFORM, "x")
    assert caught.value.details == "it has: linux/arm64/v8"


@pytest.mark.parametrize(
    "change", [{"size": -1}, {"size": "1"}, {"digest": "sha256:zz"}, {"digest": "md5:00"}, {"digest": 1}]
)
def test_a_malformed_descriptor_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ImageError, match="x holds a descriptor"):
        choose({"manifests": [{**entry("amd64", "1"), **change}]}, PLATFORM, "x")


def test_an_index_that_leads_in_circles_ends() -> None:
    class Circle:
        def document(self, descriptor: Descriptor) -> bytes:
            return inner if descriptor == start else b"another"

        def open(self, descriptor: Descriptor) -> BinaryIO:
            raise AssertionError(descriptor)

    inner = json.dumps({"mediaType": INDEX, "manifests": [entry("amd64", "1")]}).encode()
    start = Descriptor(media_type=INDEX, digest="sha256:" + sha256_hex(inner), size=len(inner))
    with pytest.raises(ImageError, match="damaged"):
        find_manifest(Circle(), start, PLATFORM, "x")


def tree(root: Path, order: list[str]) -> Path:
    """Make a small tree, its files in the given order."""
    root.mkdir()
    for name in order:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (root / "bin").mkdir()
    (root / "bin/run").write_text("#!")
    (root / "bin/run").chmod(0o755)
    (root / "link").symlink_to("bin/run")
    return root


@pytest.mark.parametrize("compress", [False, True])
def test_an_exported_image_is_deterministic_and_comes_back_the_same(tmp_path: Path, compress: bool) -> None:
    one, two = tree(tmp_path / "one", ["z", "a/b"]), tree(tmp_path / "two", ["a/b", "z"])
    os.utime(two / "z", (1, 1))
    tool = tree(tmp_path / "tool", ["t"])
    archives = [tmp_path / "out/one.tar", tmp_path / "out/two.tar"]
    digests = [
        export(archive, [("/", root), ("/opt/tool", tool)], path=("/opt/tool", "/bin"), name="x", compress=compress)
        for archive, root in zip(archives, (one, two), strict=True)
    ]
    assert archives[0].read_bytes() == archives[1].read_bytes()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one.tar", "two.tar"]
    layout = Layout(archives[0])
    manifest = layout.manifest(PLATFORM)
    assert [manifest.digest] * 2 == digests
    assert manifest.path == ("/opt/tool", "/bin")
    (tmp_path / "back").mkdir()
    unpack(layout, manifest, tmp_path / "back", lambda _: None)
    layout.close()
    assert content.digest_of(tmp_path / "back/opt/tool") == content.digest_of(tool)
    assert (tmp_path / "back/a/b").read_text() == "a/b"
    assert (tmp_path / "back/link").read_text() == "#!"


def test_what_is_no_archive_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with pytest.raises(ImageError, match="cannot be read"):
        Layout(path)
    path.write_bytes(gzip.compress(layer(("a", "f", ""))))
    with pytest.raises(ImageError, match="not an OCI archive"):
        Layout(path)
    path.write_bytes(layer(("manifest.json", "f", "[]")))
    layout = Layout(path)
    with pytest.raises(ImageError, match="not an OCI layout") as caught:
        layout.manifest(PLATFORM)
    layout.close()
    assert "skopeo copy" in caught.value.resolution
