"""Images from a registry, from an OCI archive or from a folder, as root file systems on this machine."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from pipeline.config.images import ImageSpec
from pipeline.errors import ImageError
from pipeline.host.content import FILE, SpecialFileError, content_digest, scan
from pipeline.model.identity import identify
from pipeline.model.target import PLATFORM
from pipeline.oci.manifest import read_manifest
from pipeline.oci.reference import Reference
from pipeline.oci.skopeo import ImagePlace, copy, digest_on_disk
from pipeline.roots.package_manager import add_packages, list_packages
from pipeline.roots.root import Facts, Progress, Root, Roots, make_mount_points, missing_mount_points
from pipeline.roots.unpack import unpack


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An image from elsewhere that is not unpacked yet. `digest` is that of its index or of its single manifest."""

    place: ImagePlace
    digest: str
    manager: str = ""
    packages: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What names the unpacked root: everything that decides its content, except for the package archives."""
        return identify("pulled/2", [self.digest, self.manager, sorted(self.packages), list(self.mounts)])

    def __str__(self) -> str:
        return self.place.name if isinstance(self.place, Path) else str(self.place)


def pulled(reference: Reference, spec: ImageSpec, mounts: tuple[str, ...]) -> Source:
    """Return the image of a registry with the packages of `spec`; `reference` has a digest."""
    return Source(place=reference, digest=reference.digest, manager=spec.manager, packages=spec.packages, mounts=mounts)


async def archived(path: Path, mounts: tuple[str, ...]) -> Source:
    """Return the image of an OCI archive or layout, which is used as it is. Raises ImageError when it is none."""
    return Source(place=path, digest=await digest_on_disk(path), mounts=mounts)


async def materialise(source: Source, roots: Roots, *, progress: Progress) -> Root:
    """Return the root of `source`, unpacked on this machine, with its packages added.

    Raises ImageError for a damaged image and for packages that are not available.
    """

    async def build(rootfs: Path) -> Facts:
        progress(f"getting {source}")
        with tempfile.TemporaryDirectory(prefix="image.", dir=rootfs.parent) as folder:
            image = Path(folder) / "image"
            await copy(source.place, image, progress)
            manifest = read_manifest(image, PLATFORM, str(source))
            await anyio.to_thread.run_sync(unpack, image, manifest, rootfs, progress)
        if source.packages:
            make_mount_points(rootfs, source.mounts)
            await add_packages(rootfs, source.manager, source.packages, progress)
        packages = await list_packages(rootfs)
        make_mount_points(rootfs, source.mounts)
        return Facts(origin=str(source), packages=packages, manifest=manifest.digest, path=manifest.path)

    return await roots.make(source.key, build, progress=progress)


def folder_root(path: Path, mounts: tuple[str, ...]) -> Root:
    """Return the root file system at `path`, used as it is. Raises ImageError for what is none."""
    if not (path / "usr").is_dir():
        raise ImageError(f"{path} is not a root file system: it has no usr folder")
    missing = missing_mount_points(path, mounts)
    if missing:
        raise ImageError(
            f"{path} lacks what a sandbox mounts on",
            details="\n".join(missing),
            resolution=f"make these (empty) folders and files below {path}",
        )
    try:
        listing = scan(path)
    except SpecialFileError as error:
        raise ImageError(f"{path} holds a special file: {error}", resolution="remove it") from error
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error}") from error
    size = sum(item.size for item in listing if item.kind == FILE)
    return Root(key="", content=content_digest(listing), size=size, facts=Facts(origin=str(path)), path=path)
