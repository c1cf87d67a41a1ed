"""OCI image layouts on disk: a folder, or the same in a tar file (an OCI archive). Image-spec, image-layout.md."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import BinaryIO, cast

from pipeline.errors import ImageError
from pipeline.model.identity import sha256_hex
from pipeline.oci.manifest import INDEX, MAX_DOCUMENT, Descriptor, Manifest, find_manifest


class Layout:
    """One image in a layout. Implements `Blobs`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._archive: tarfile.TarFile | None = None
        self._members: dict[str, tarfile.TarInfo] = {}
        if path.is_dir():
            return
        try:
            self._archive = tarfile.open(path, "r:")  # noqa: SIM115 - read from until close()
            self._members = {member.name.removeprefix("./"): member for member in self._archive}
        except OSError as error:
            raise ImageError(f"{path} cannot be read: {error.strerror or error}") from error
        except tarfile.TarError as error:
            raise ImageError(
                f"{path} is not an OCI archive: it is no uncompressed tar file",
                resolution="decompress it, or make one with `skopeo copy docker://NAME oci-archive:FILE`",
            ) from error

    def close(self) -> None:
        """Close the archive."""
        if self._archive:
            self._archive.close()

    def manifest(self, platform: str) -> Manifest:
        """Return the manifest for `platform`. Raises ImageError when there is none or the layout is damaged."""
        try:
            with self._open("index.json") as stream:
                index = stream.read(MAX_DOCUMENT)
        except ImageError as error:
            raise ImageError(
                f"{self.path} is not an OCI layout: it has no index.json",
                resolution="make one with `skopeo copy docker-archive:FILE oci-archive:OTHER`",
            ) from error
        start = Descriptor(media_type=INDEX, digest="sha256:" + sha256_hex(index), size=len(index))
        return find_manifest(_Started(self, start.digest, index), start, platform, str(self.path))

    def document(self, descriptor: Descriptor) -> bytes:
        """Return an index, a manifest or a configuration. Raises ImageError."""
        with self.open(descriptor) as stream:
            return stream.read(MAX_DOCUMENT)

    def open(self, descriptor: Descriptor) -> BinaryIO:
        """Return a stream of a blob. Raises ImageError when it is not there."""
        return self._open(f"blobs/sha256/{descriptor.digest.removeprefix('sha256:')}")

    def _open(self, name: str) -> BinaryIO:
        if self._archive is None:
            try:
                return (self.path / name).open("rb")
            except OSError as error:
                raise ImageError(f"{self.path} lacks {name}") from error
        member = self._members.get(name)
        stream = self._archive.extractfile(member) if member else None
        if stream is None:
            raise ImageError(f"{self.path} lacks {name}")
        return cast(BinaryIO, stream)


class _Started:
    """A layout whose own index.json can be asked for like a blob."""

    def __init__(self, layout: Layout, digest: str, index: bytes) -> None:
        self._layout, self._digest, self._index = layout, digest, index

    def document(self, descriptor: Descriptor) -> bytes:
        return self._index if descriptor.digest == self._digest else self._layout.document(descriptor)

    def open(self, descriptor: Descriptor) -> BinaryIO:
        return self._layout.open(descriptor)
