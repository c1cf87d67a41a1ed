"""Images from a registry, from an OCI archive or from a folder, as root file systems on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from pipeline.config.images import ImageSpec
from pipeline.errors import ImageError
from pipeline.host.content import FILE, SpecialFileError, content_digest, scan
from pipeline.images.origin import Archived, Bootstrapped, Folder, Origin, Pulled
from pipeline.model.identity import identify
from pipeline.model.target import PLATFORM
from pipeline.oci.image_layout import Layout
from pipeline.oci.manifest import Blobs, Manifest
from pipeline.oci.registry import Registry
from pipeline.roots.package_manager import add_packages, list_packages
from pipeline.roots.root import Facts, Progress, Root, Roots, make_mount_points, missing_mount_points
from pipeline.roots.unpack import unpack


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An image from elsewhere, looked at but not unpacked. `manifest` is None for a folder, whose root is `root`."""

    origin: Origin
    manifest: Manifest | None = None
    root: Root | None = None
    manager: str = ""
    packages: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What names the unpacked root: everything that decides its content, but for the package archives."""
        digest = self.manifest.digest if self.manifest else ""
        return identify("pulled/1", [digest, self.manager, sorted(self.packages), list(self.mounts)])

    @property
    def path(self) -> tuple[str, ...]:
        """The PATH that the image itself asks for."""
        return self.manifest.path if self.manifest else ()


async def read_source(origin: Origin, spec: ImageSpec, mounts: tuple[str, ...]) -> Source:
    """Look at the image of `origin`: ask the registry what it is, or read what is on disk.

    Only an image from a registry gets the packages of `spec`; an archive and a folder are used as they are.
    Raises ImageError when it is not there or not usable.
    """
    match origin:
        case Folder(path):
            root = await anyio.to_thread.run_sync(_folder, path, mounts)
            return Source(origin=origin, root=root, mounts=mounts)
        case Pulled():
            manifest = await anyio.to_thread.run_sync(_look, origin)
            return Source(origin=origin, manifest=manifest, manager=spec.manager, packages=spec.packages, mounts=mounts)
        case Archived():
            return Source(origin=origin, manifest=await anyio.to_thread.run_sync(_look, origin), mounts=mounts)
        case Bootstrapped():
            raise AssertionError("a bootstrapped root is not read from elsewhere")


async def materialise(source: Source, roots: Roots, *, progress: Progress) -> Root:
    """Return the root of `source`, unpacked on this machine, with its packages added.

    Raises ImageError for a damaged image and for packages that cannot be had.
    """
    if source.root:
        return source.root
    manifest = source.manifest
    assert manifest is not None

    async def build(rootfs: Path) -> Facts:
        progress(f"getting {_describe(source.origin)}")
        await anyio.to_thread.run_sync(_unpack, source.origin, manifest, rootfs, progress)
        if source.packages:
            make_mount_points(rootfs, source.mounts)
            await add_packages(rootfs, source.manager, source.packages, progress)
        packages = await list_packages(rootfs)
        make_mount_points(rootfs, source.mounts)
        return Facts(origin=_describe(source.origin), packages=packages, manifest=manifest.digest)

    return await roots.make(source.key, build, progress=progress)


def _describe(origin: Origin) -> str:
    match origin:
        case Pulled(reference):
            return str(reference)
        case Archived(path) | Folder(path):
            return path.name
        case Bootstrapped(root):
            return root


@contextmanager
def _blobs(origin: Origin) -> Iterator[tuple[Blobs, Registry | Layout]]:
    match origin:
        case Pulled(reference):
            registry = Registry(reference)
            yield registry, registry
        case Archived(path):
            layout = Layout(path)
            try:
                yield layout, layout
            finally:
                layout.close()
        case _:
            raise AssertionError(f"{origin} has no blobs")


def _look(origin: Origin) -> Manifest:
    with _blobs(origin) as (_, image):
        return image.manifest(PLATFORM)


def _unpack(origin: Origin, manifest: Manifest, rootfs: Path, progress: Progress) -> None:
    with _blobs(origin) as (blobs, _):
        unpack(blobs, manifest, rootfs, progress)


def _folder(path: Path, mounts: tuple[str, ...]) -> Root:
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
        raise ImageError(f"{path} holds something that is no file: {error}", resolution="remove it") from error
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error}") from error
    size = sum(item.size for item in listing if item.kind == FILE)
    return Root(key="", content=content_digest(listing), size=size, facts=Facts(origin=str(path)), path=path)
