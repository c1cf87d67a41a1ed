"""Layers of an OCI image, laid over each other in a directory (image-spec, layer.md).

A layer is somebody else's archive: nothing in it may write outside of the directory, whatever its names and links
say. Owners, device nodes and extended attributes are left out: the sandbox maps every owner to one, and has its own
devices. umoci is not used: it reads nothing but OCI layouts, and to write one, skopeo gives Docker's images other
digests.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from pipeline.errors import ImageError
from pipeline.host.content import PERMISSIONS, remove_tree
from pipeline.host.process import run_sync
from pipeline.oci.manifest import Descriptor, Manifest
from pipeline.roots.root import Progress, inside

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_BLOCK = 1 << 20
_WRITABLE = 0o700


def unpack(folder: Path, manifest: Manifest, rootfs: Path, progress: Progress) -> None:
    """Unpack all layers of `manifest`, whose blobs are in `folder`, into the empty directory `rootfs`.

    Each layer's content is compared with its diff id; skopeo has compared the layers as they came.
    Raises ImageError for a damaged layer and for one that reaches out of `rootfs`.
    """
    modes: dict[Path, int] = {}
    total = len(manifest.layers)
    for number, (layer, diff_id) in enumerate(zip(manifest.layers, manifest.diff_ids, strict=True), 1):
        progress(f"unpacking layer {number} of {total} ({layer.size / 1e6:.0f} MB)")
        _unpack_layer(folder / layer.file, layer, diff_id, rootfs, modes)
    # Modes come last, the deepest first: a layer may take the right to write from a folder that a later one, or the
    # same one, still writes into.
    for place, mode in sorted(modes.items(), reverse=True):
        if place.is_dir() and not place.is_symlink():
            place.chmod(mode)


def _unpack_layer(packed: Path, layer: Descriptor, diff_id: str, rootfs: Path, modes: dict[Path, int]) -> None:
    try:
        with _decompressed(packed, layer) as stream:
            plain = _Hashing(stream)
            # `r|` reads forwards only, so that every byte passes the hash once. At error level 2 a member that cannot
            # be read is an error and not a gap.
            with tarfile.open(fileobj=cast(BinaryIO, plain), mode="r|", errorlevel=2) as archive:
                _Layer(rootfs, modes).apply(archive)
            # Compared at the end, when the files exist already: the folder is nobody's root until all is done
            # (roots/root.py).
            if (found := plain.finish()) != diff_id:
                raise ImageError("a layer is damaged or not what was asked for", details=f"has {found}\nnot {diff_id}")
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise ImageError(f"the layer {layer.digest} is damaged", details=str(error)) from error


class _Hashing:
    """A stream that hashes what is read from it."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes."""
        data = self._source.read(size)
        self._hash.update(data)
        return data

    def finish(self) -> str:
        """Read to the end, past an archive's end mark, and return the digest of everything."""
        # Tar ends at two empty blocks; what follows them belongs to the file, and so to its digest.
        while self.read(_BLOCK):
            pass
        return "sha256:" + self._hash.hexdigest()


@contextmanager
def _decompressed(packed: Path, layer: Descriptor) -> Iterator[BinaryIO]:
    kind = layer.media_type
    if kind.endswith(("+gzip", ".gzip")):
        with gzip.open(packed, "rb") as stream:
            yield cast(BinaryIO, stream)
    elif kind.endswith("+zstd"):  # Python has no zstd before 3.14
        plain = packed.with_name(f"{packed.name}.plain")
        run_sync(("zstd", "--decompress", "--quiet", "-o", str(plain), str(packed)), error=ImageError)
        with plain.open("rb") as file:
            # Without a name it goes when it is closed, also when unpacking fails.
            plain.unlink()
            yield file
    elif kind.endswith(".tar"):
        with packed.open("rb") as file:
            yield file
    else:
        raise ImageError(f"the layer {layer.digest} is of the type {kind}, which cannot be unpacked")


class _Layer:
    """One layer being applied. An opaque mark does not hide the layer's own files."""

    def __init__(self, rootfs: Path, modes: dict[Path, int]) -> None:
        self.rootfs = rootfs
        self.modes = modes
        self.own: set[Path] = set()

    def apply(self, archive: tarfile.TarFile) -> None:
        for member in archive:
            path = _relative(member.name)
            if path is None:
                # The member `./`. The user who runs this must be able to work in the root, whatever its image says.
                self.modes[self.rootfs] = member.mode & PERMISSIONS | _WRITABLE
                continue
            parent = self._parent(path)
            # Marks first, by name: a whiteout is itself a regular file, and must not be laid down as one.
            if path.name == OPAQUE:
                self._hide(parent)
            elif path.name.startswith(WHITEOUT):
                self._remove(parent / _plain(path.name.removeprefix(WHITEOUT)))
            else:
                self._place(archive, member, parent / path.name)

    def _parent(self, path: PurePosixPath) -> Path:
        # The folder is resolved inside of the root again for each member: an earlier member may have made a part of
        # the way a link to anywhere, such as /etc of this machine. The last part is never followed, it is replaced.
        parent = inside(self.rootfs, str(path.parent))
        if not parent.is_dir():
            if parent.exists() or parent.is_symlink():
                raise ImageError(f"a layer has {path}, whose folder is a file")
            parent.mkdir(parents=True)
        return parent

    def _hide(self, folder: Path) -> None:
        # An opaque mark hides what lower layers have here, wherever it stands in its own layer's archive (image-spec,
        # layer.md).
        for child in list(folder.iterdir()):
            if child not in self.own:
                self._remove(child)
            elif child.is_dir() and not child.is_symlink():
                self._hide(child)

    def _remove(self, target: Path) -> None:
        # is_dir follows links. A link to a folder outside is unlinked, and what it leads to is left alone.
        if target.is_dir() and not target.is_symlink():
            remove_tree(target)
        else:
            target.unlink(missing_ok=True)

    def _place(self, archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
        if member.isdir():
            # A folder of a lower layer stays with all that is in it; only its mode is that of the new one. A link is
            # replaced: what comes into this folder must not land behind it.
            if not target.is_dir() or target.is_symlink():
                self._remove(target)
                target.mkdir(mode=_WRITABLE)
            self.modes[target] = member.mode & PERMISSIONS
        elif member.isreg() or member.issym() or member.islnk():
            # Before the old target goes: it may be what the link leads to.
            linked = self._linked(member, target) if member.islnk() else None
            self._remove(target)
            if linked:
                target.hardlink_to(linked)
            elif member.issym():
                target.symlink_to(member.linkname)
            else:
                self._write(archive, member, target)
        while target != self.rootfs and target not in self.own:
            self.own.add(target)
            target = target.parent

    def _linked(self, member: tarfile.TarInfo, target: Path) -> Path:
        # The target of a hard link counts from the root of the archive, and may have come with a lower layer.
        path = _relative(member.linkname)
        source = self._parent(path) / path.name if path else None
        if source is None or source == target or not (source.is_file() or source.is_symlink()):
            raise ImageError(f"a layer has a hard link {member.name} to {member.linkname}, which does not exist")
        return source

    def _write(self, archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
        source = archive.extractfile(member)
        assert source is not None
        # `x`: were there anything at this place, a link above all, writing through it could leave the root.
        with target.open("xb") as file:
            shutil.copyfileobj(source, file, _BLOCK)
        # No set-id bits: nobody else's root file system gives rights on this machine. Readable, or it could not be
        # hashed.
        target.chmod(member.mode & PERMISSIONS | 0o400)


def _plain(name: str) -> str:
    if name in ("", ".", ".."):
        raise ImageError(f"a layer deletes {name!r}, which is not a file name")
    return name


def _relative(name: str) -> PurePosixPath | None:
    """Return a member's path without its leading `./` or `/`; None for the root itself.

    Raises ImageError for one that climbs.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise ImageError(f"a layer has the path {name!r}, which leads out of it")
    return PurePosixPath(*parts) if parts else None
