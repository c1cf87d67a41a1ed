"""How this machine gets hold of images: which of them it has, what they are pinned to, and how it makes the rest."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import anyio.to_thread

from pipeline.config.images import ImageSpecs
from pipeline.images.origin import Archived, Bootstrapped, Folder, Origin, Pulled
from pipeline.images.pin import Ask, Pin, pin
from pipeline.images.pull import Source, archived, folder_root, materialise, pulled
from pipeline.roots.bootstrap import Recipe, bootstrap, recipe_of
from pipeline.roots.from_distribution import Rpms, distribution_of, make_distribution
from pipeline.roots.root import Progress, Root, Roots

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Holdings:
    """The images that there are already, by name, and how to get the others.

    With `local`, images are root file systems below the pipeline's home. Without, an engine has bootstrapped roots as
    archives and pulls the images of registries itself: all that is to be known of them is what they are pinned to.
    `locked` refuses an image of a registry that images.lock does not pin, `ask` asks what a reference means.
    """

    specs: ImageSpecs
    origins: Mapping[str, Origin]
    store: Roots
    local: bool
    locked: bool
    ask: Ask
    mirrors: tuple[str, ...]
    roots: dict[str, Root] = field(default_factory=dict)
    _pins: dict[Pulled, Pin] = field(default_factory=dict)
    _archives: dict[Archived, Source] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.origins:
            self._look(name)

    def pinned(self, origin: Pulled) -> Pin:
        """Return what `origin` is pinned to as far as it is known."""
        return self._pins.get(origin) or Pin(reference=origin.pinned)

    async def get(self, name: str, progress: Progress) -> None:
        """Get hold of the image `name`. Raises ImageError when that cannot be done here, saying what to do."""
        if name in self.roots:
            logger.debug("the image %s is on this machine: %s", name, self.roots[name].path)
            return
        origin = self.origins[name]
        logger.info("the image %s is not on this machine: it comes from %s", name, origin)
        told = _prefixed(progress, origin.root if isinstance(origin, Bootstrapped) else name)
        match origin:
            case Bootstrapped():
                if self.local:
                    await self._bootstrap(origin, told)
            case Pulled():
                await self._pull(name, origin, told, progress)
            case Archived(path):
                self._archives[origin] = await archived(path, self.specs.mounts)
                await materialise(self._archives[origin], self.store, progress=told)
            case Folder(path):
                self.roots[name] = await anyio.to_thread.run_sync(folder_root, path, self.specs.mounts)
        for other in self.origins:
            self._look(other)

    async def _bootstrap(self, origin: Bootstrapped, progress: Progress) -> None:
        recipe = self._recipe(origin)
        if isinstance(recipe, Rpms) or origin.distribution:
            await make_distribution(recipe, self.store, progress=progress)
        else:
            await bootstrap(recipe, self.store, mirrors=self.mirrors, progress=progress)

    async def _pull(self, name: str, origin: Pulled, progress: Progress, warn: Progress) -> None:
        """Pull an image. Of images with one reference, the first asks what it means, and warns."""
        if origin not in self._pins:
            self._pins[origin] = await pin(origin, self.ask, locked=self.locked, warn=warn)
        source = self._source(name)
        if self.local and source:
            await materialise(source, self.store, progress=progress)

    def _recipe(self, origin: Bootstrapped) -> Recipe | Rpms:
        if origin.distribution:
            return distribution_of(self.specs, origin.root, os.environ)
        return recipe_of(self.specs, origin.root)

    def _source(self, name: str) -> Source | None:
        """Return what is to be unpacked for the image `name`, None while its digest is not known."""
        origin = self.origins[name]
        if isinstance(origin, Archived):
            return self._archives.get(origin)
        if isinstance(origin, Pulled) and self.pinned(origin).reference.digest:
            return pulled(self.pinned(origin).reference, self.specs.image(name), self.specs.mounts)
        return None

    def _look(self, name: str) -> None:
        """See whether this machine has the image `name` already."""
        origin = self.origins[name]
        if isinstance(origin, Bootstrapped):
            found = self.store.find(self._recipe(origin).key)
        elif self.local and (source := self._source(name)):
            found = self.store.find(source.key)
        else:
            return
        if found:
            self.roots[name] = found


def _prefixed(progress: Progress, name: str) -> Callable[[str], None]:
    return lambda line: progress(f"{name}: {line}")
