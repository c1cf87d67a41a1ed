"""Layers and archives: what is unpacked, what is refused, and that what is written is deterministic."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ImageError
from pipeline.host import content
from pipeline.model.identity import sha256_hex
from pipeline.oci.export import export
from pipeline.oci.manifest import LAYER, Descriptor, Manifest, check_platform, read_manifest
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


def add(folder: Path, data: bytes, media_type: str = LAYER) -> Descriptor:
    """Put a blob into `folder` where skopeo would put it."""
    described = Descriptor(media_type=media_type, digest="sha256:" + sha256_hex(data), size=len(data))
    (folder / described.file).write_bytes(data)
    return described


def unpacked(rootfs: Path, *layers: bytes, packing: str = "") -> Path:
    """Unpack `layers` into a new folder `rootfs`."""
    blobs = rootfs.with_name(f"{rootfs.name}.blobs")
    blobs.mkdir()
    packed = [gzip.compress(data, 1) if packing == "+gzip" else data for data in layers]
    manifest = Manifest(
        digest="",
        layers=tuple(add(blobs, data, LAYER + packing) for data in packed),
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
    described = add(tmp_path, good)
    manifest = Manifest(digest="", layers=(described,), diff_ids=(described.digest,), path=())
    for number, bad in enumerate((good[:-1], good[:600], good.replace(b"xx", b"yy"), b"")):
        (tmp_path / described.file).write_bytes(bad)
        (tmp_path / f"{number}").mkdir()
        with pytest.raises(ImageError, match="damaged"):
            unpack(tmp_path, manifest, tmp_path / f"{number}", lambda _: None)
    with pytest.raises(ImageError, match="cannot be unpacked"):
        unpacked(tmp_path / "e", good, packing="+brotli")


def image(folder: Path, configuration: dict[str, Any], **changes: Any) -> Path:
    """Write an image without layers where skopeo would write it, its manifest with `changes`."""
    folder.mkdir()
    described = add(folder, json.dumps(configuration).encode())
    entry = {"digest": described.digest, "size": described.size}
    document = {"schemaVersion": 2, "config": entry, "layers": [], **changes}
    (folder / "manifest.json").write_text(json.dumps(document))
    return folder


MINE = {"os": "linux", "architecture": "amd64"}


def test_what_an_image_says_of_itself_is_read_and_checked(tmp_path: Path) -> None:
    env = ["PATH=/bin::relative:/usr/bin", "A=b"]
    good = image(tmp_path / "good", {**MINE, "config": {"Env": env}})
    manifest = read_manifest(good, PLATFORM, "x")
    assert manifest.path == ("/bin", "/usr/bin")
    assert manifest.digest == "sha256:" + sha256_hex((good / "manifest.json").read_bytes())
    cases: list[tuple[dict[str, str], dict[str, Any], str]] = [
        ({"os": "linux", "architecture": "arm64"}, {}, "an image for linux/arm64, not for linux/amd64"),
        (MINE, {"layers": [{"digest": "sha256:" + "0" * 64, "size": 1}]}, "1 layers but 0 digests"),
        (MINE, {"config": None}, "descriptor without digest"),
        *[(MINE, {"layers": [{"digest": digest, "size": 1}]}, "digest") for digest in ("sha256:../x", "md5:0", 1)],
        *[(MINE, {"layers": [{"digest": "sha256:" + "0" * 64, "size": n}]}, "size") for n in (-1, "1")],
    ]
    for number, (config, changes, problem) in enumerate(cases):
        with pytest.raises(ImageError, match=problem):
            read_manifest(image(tmp_path / f"{number}", config, **changes), PLATFORM, "x")
    (config_file,) = (path for path in good.iterdir() if path.name != "manifest.json")
    config_file.write_text("{}")
    with pytest.raises(ImageError, match="damaged"):
        read_manifest(good, PLATFORM, "x")


def test_an_index_has_an_image_for_the_platform_or_says_for_which() -> None:
    def index(*names: str) -> dict[str, Any]:
        platforms = [dict(zip(("os", "architecture", "variant"), name.split("/"), strict=False)) for name in names]
        return {"manifests": [{"platform": platform} for platform in platforms]}

    check_platform(index("unknown/unknown", "linux/arm64/v8", "linux/amd64"), PLATFORM, "x")
    with pytest.raises(ImageError, match="no image for linux/amd64") as caught:
        check_platform(index("unknown/unknown", "linux/arm64/v8", "windows/amd64"), PLATFORM, "x")
    assert caught.value.details == "it has: linux/arm64, windows/amd64"
    for broken in ({"manifests": None}, {"manifests": [1]}, {"manifests": [{"platform": 1}]}):
        with pytest.raises(ImageError, match="cannot be read"):
            check_platform(broken, PLATFORM, "x")


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
def test_an_exported_image_is_deterministic(tmp_path: Path, compress: bool) -> None:
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
    assert digests[0] == digests[1]
