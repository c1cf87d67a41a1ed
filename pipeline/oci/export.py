"""Images written as OCI archives (image-spec 1.1), for engines and machines that take their images from a file.

The same files give the same bytes: entries are sorted, belong to nobody in particular, and have one time.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import stat
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from pipeline.host.content import walk
from pipeline.model.identity import sha256_hex
from pipeline.model.tree import BASE_EPOCH
from pipeline.oci.manifest import CONFIG, INDEX, LAYER, MANIFEST

_CREATED = "1980-01-01T00:00:00Z"
_LEVEL = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blob:
    """A layer on disk. `diff_id` is the digest before compression."""

    path: Path
    digest: str
    diff_id: str
    size: int
    media_type: str


def export(
    target: Path, layers: Sequence[tuple[str, Path]], *, path: tuple[str, ...], name: str, compress: bool = False
) -> str:
    """Write an OCI archive of `layers` to `target` and return the digest of its manifest.

    Each layer is a directory and its place in the image; the first is the root (`/`). `path` becomes PATH and
    `name` the reference under which tools list the image. The archive appears whole or not at all.
    Raises OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        work = Path(folder)
        blobs = [
            _write_layer(work / f"layer{number}", mount, source, compress)
            for number, (mount, source) in enumerate(layers)
        ]
        config = _json(
            {
                "architecture": "amd64",
                "os": "linux",
                "created": _CREATED,
                "config": {"Env": [f"PATH={':'.join(path)}"], "Cmd": ["/bin/sh"]},
                "rootfs": {"type": "layers", "diff_ids": [blob.diff_id for blob in blobs]},
                "history": [{"created": _CREATED, "created_by": f"pipeline images export {name}"} for _ in blobs],
            }
        )
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": _descriptor(CONFIG, config),
                "layers": [{"mediaType": b.media_type, "digest": b.digest, "size": b.size} for b in blobs],
            }
        )
        entry = {
            **_descriptor(MANIFEST, manifest),
            "platform": {"architecture": "amd64", "os": "linux"},
            "annotations": {"org.opencontainers.image.ref.name": name},
        }
        index = _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})
        _pack(work / "archive", blobs, {"config": config, "manifest": manifest}, index)
        (work / "archive").replace(target)
        return str(entry["digest"])


def _pack(target: Path, layers: list[_Blob], documents: dict[str, bytes], index: bytes) -> None:
    """Write the layout (image-layout.md) into one tar file."""
    small = {f"blobs/sha256/{sha256_hex(data)}": data for data in documents.values()}
    small |= {"index.json": index, "oci-layout": _json({"imageLayoutVersion": "1.0.0"})}
    large = {f"blobs/sha256/{layer.digest.removeprefix('sha256:')}": layer.path for layer in layers}
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for folder in ("blobs", "blobs/sha256"):
            archive.addfile(_entry(folder, tarfile.DIRTYPE, 0o755))
        for name in sorted({*small, *large}):
            with large[name].open("rb") if name in large else io.BytesIO(small[name]) as source:
                info = _entry(name, tarfile.REGTYPE, 0o644)
                info.size = large[name].stat().st_size if name in large else len(small[name])
                archive.addfile(info, source)


def _write_layer(target: Path, mount: str, source: Path, compress: bool) -> _Blob:
    with target.open("wb") as file:
        packed = _Hashing(file)
        with _packer(packed, compress) as stream:
            plain = _Hashing(stream)
            with tarfile.open(fileobj=cast(BinaryIO, plain), mode="w|", format=tarfile.PAX_FORMAT) as archive:
                _add_tree(archive, PurePosixPath(mount.lstrip("/")), source)
    return _Blob(
        path=target,
        digest=packed.digest,
        diff_id=plain.digest,
        size=target.stat().st_size,
        media_type=f"{LAYER}+gzip" if compress else LAYER,
    )


@contextmanager
def _packer(packed: _Hashing, compress: bool) -> Iterator[BinaryIO]:
    if not compress:
        yield cast(BinaryIO, packed)
        return
    with gzip.GzipFile("", "wb", _LEVEL, cast(BinaryIO, packed), mtime=0) as stream:
        yield cast(BinaryIO, stream)


def _add_tree(archive: tarfile.TarFile, prefix: PurePosixPath, source: Path) -> None:
    for parent in reversed(prefix.parents[:-1]):
        archive.addfile(_entry(str(parent), tarfile.DIRTYPE, 0o755))
    if prefix.parts:
        archive.addfile(_entry(str(prefix), tarfile.DIRTYPE, 0o755))
    for name, entry in sorted((name, entry) for name, entry in _entries(source)):
        status = entry.lstat()
        place = str(prefix / name)
        if stat.S_ISLNK(status.st_mode):
            info = _entry(place, tarfile.SYMTYPE, 0o777)
            info.linkname = str(entry.readlink())
            archive.addfile(info)
        elif stat.S_ISDIR(status.st_mode):
            archive.addfile(_entry(place, tarfile.DIRTYPE, stat.S_IMODE(status.st_mode)))
        elif stat.S_ISREG(status.st_mode):
            info = _entry(place, tarfile.REGTYPE, stat.S_IMODE(status.st_mode))
            info.size = status.st_size
            with entry.open("rb") as file:
                archive.addfile(info, file)


def _entries(source: Path) -> Iterator[tuple[str, Path]]:
    for name, entry in walk(source):
        yield name, Path(entry.path)


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.mtime = kind, mode, BASE_EPOCH
    return info


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{sha256_hex(data)}", "size": len(data)}


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("utf-8")


class _Hashing:
    """A stream that hashes what is written to it."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        return self._target.write(data)

    def flush(self) -> None:
        self._target.flush()

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()
