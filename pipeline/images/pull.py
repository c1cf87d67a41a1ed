"""Images from a registry, from an OCI archive or from a folder, as root file systems on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from pipeline.content import digest_of
from pipeline.errors import ImageError
from pipeline.images.origin import Folder, Origin
from pipeline.images.roots import Facts, Progress, Root, Roots, missing_mount_points
from pipeline.images.spec import ImageSpec
from pipeline.model.identity import identify


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An image from elsewhere, looked at but not yet unpacked. `manifest` is empty for a folder."""

    origin: Origin
    manifest: str = ""
    content: str = ""
    manager: str = ""
    packages: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What names the unpacked root: everything that decides its content, but for the package archives."""
        return identify("pulled/1", [self.manifest, self.manager, sorted(self.packages), list(self.mounts)])


async def read_source(origin: Origin, spec: ImageSpec, mounts: tuple[str, ...]) -> Source:
    """Look at the image of `origin`. Raises ImageError when it is not there."""
    match origin:
        case Folder(path):
            return Source(origin=origin, content=await anyio.to_thread.run_sync(_folder, path, mounts), mounts=mounts)
        case _:
            raise ImageError("not a folder")


async def materialise(source: Source, roots: Roots, *, progress: Progress) -> Root:
    """Return the root of `source`, unpacked on this machine, with its packages added."""
    match source.origin:
        case Folder(path):
            return Root(key="", content=source.content, size=0, facts=Facts(origin="folder"), path=path)
        case _:
            raise ImageError("not a folder")


def _folder(path: Path, mounts: tuple[str, ...]) -> str:
    if not (path / "usr").is_dir():
        raise ImageError(f"{path} is not a root file system: it has no usr folder")
    missing = missing_mount_points(path, mounts)
    if missing:
        raise ImageError(
            f"{path} lacks what a sandbox mounts on",
            details="\n".join(missing),
            resolution=f"make these (empty) folders and files below {path}",
        )
    return digest_of(path)
