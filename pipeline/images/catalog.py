"""The catalog: what each image of images.toml is in this run, and how this machine gets hold of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ImageError
from pipeline.images.bootstrap import Recipe, bootstrap, debian_mirrors, recipe_of
from pipeline.images.distribution import Rpms, distribution_of, make_distribution
from pipeline.images.exported import Exported
from pipeline.images.lock import Lock, Staleness, load_lock
from pipeline.images.origin import EVERY, Archived, Bootstrapped, Folder, Mode, Origin, Pulled, distributions, origins
from pipeline.images.pull import Source, materialise, read_source
from pipeline.images.reference import Reference
from pipeline.images.registry import resolve
from pipeline.images.roots import Facts, Progress, Root, Roots
from pipeline.images.spec import BUILDER, ImageSpecs, ProgramSpec, ToolchainSpec, load_images, pick
from pipeline.images.tools import go_program, go_toolchain
from pipeline.model.image import DEFAULT_PATH, Base, Image
from pipeline.model.tree import Tree

__all__ = ["Catalog", "Row", "load_images"]

LOCK = "images.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of `pipeline images list`. `size` is in bytes, 0 while the image is not on this machine."""

    name: str
    reference: str
    digest: str
    used: str
    content: str
    stands_in_for: str
    note: str
    ready: bool
    size: int


class Catalog:
    """Images by name. Everything but `prepare` is free of I/O once the catalog is made.

    An image is bootstrapped, or with `pull` taken from its registry as images.lock says. `overrides` are by image
    name: another reference, `oci-archive:FILE`, `oci:FOLDER`, `root-dir:FOLDER`, `bootstrap`, `distribution` or
    `reference`; with `distribution`, images that can be are made from their distribution's archive; the name
    `*` moves all references to a mirror. With `local`, images of registries are unpacked on this machine by
    `prepare`; without, an engine pulls them itself. `exported` are bootstrapped roots of another machine, which an
    engine has as archives. `mirrors` are for mmdebstrap.
    """

    def __init__(
        self,
        specs: ImageSpecs,
        *,
        home: Path,
        lock: Lock | None = None,
        overrides: Mapping[str, str] | None = None,
        pull: bool = False,
        distribution: bool = False,
        local: bool = True,
        exported: Mapping[str, Exported] | None = None,
        mirrors: tuple[str, ...] | None = None,
    ) -> None:
        self.specs = specs
        self._lock = load_lock(specs.folder / LOCK) if lock is None else lock
        self._local = local
        self._exported = exported or {}
        self._mirror = (overrides or {}).get(EVERY, "")
        self._mirrors = debian_mirrors(os.environ) if mirrors is None else mirrors
        self._store = Roots(home)
        own = distributions(specs) if distribution and not pull else {}
        chosen = {**own, **dict.fromkeys(self._exported, Mode.BOOTSTRAP.value), **(overrides or {})}
        self._origins = origins(specs, self._lock, chosen, Mode.REFERENCE if pull else Mode.BOOTSTRAP)
        self._sources: dict[str, Source] = {}
        self._roots: dict[str, Root] = {}
        for name in self._origins:
            self._look(name)

    def names(self) -> tuple[str, ...]:
        """Return the names of all images, sorted."""
        return tuple(self._origins)

    def base(self, name: str) -> Base:
        """Return the base of the image `name`; its content is empty while this machine has yet to get it."""
        spec = self.specs.image(name)
        origin = self._origins[name]
        root = self._roots.get(name)
        match origin:
            case Bootstrapped():
                return self._bootstrapped(name, origin, root)
            case Pulled(reference) if not self._local:
                content = self._digest(name, reference.digest)
                at = str(reference.at(content)) if content else str(reference)
                return Base(name, content, reference=at, manager=spec.manager, packages=spec.packages)
            case Pulled(reference):
                return Base(name, self._content(name), reference=str(reference))
            case _:
                return Base(name, self._content(name))

    def _bootstrapped(self, name: str, origin: Bootstrapped, root: Root | None) -> Base:
        given = self._exported.get(name)
        if given:
            return given.base(name)
        content = root.content if root else ""
        if not origin.distribution:
            return Base(name, content, stands_in_for=self.specs.image(name).bootstrap.stands_in_for)
        facts = root.facts if root else Facts(origin="")
        return Base(name, content, made_from=facts.origin, installed=facts.packages)

    def _recipe(self, origin: Bootstrapped) -> Recipe | Rpms:
        if origin.distribution:
            return distribution_of(self.specs, origin.root, os.environ)
        return recipe_of(self.specs, origin.root)

    def image(self, name: str) -> Image:
        """Return the image `name`: its base, the tools laid over it, and its PATH."""
        spec = self.specs.image(name)
        if isinstance(self._origins[name], Bootstrapped):
            tools, own = spec.all_tools, _unique(*DEFAULT_PATH)
        else:
            source = self._sources.get(name)
            tools, own = spec.tools, (*(source.path if source else ()), *spec.path)
        layers = tuple(sorted((self.specs.tools[tool].mount, self.tool(tool)) for tool in tools))
        paths = [path for tool in tools for path in self.specs.tools[tool].path]
        return Image(name, self.base(name), layers=layers, path=_unique(*paths, *own))

    def tool(self, name: str) -> Tree:
        """Return the tree of one tool of images.toml."""
        spec = pick(self.specs.tools, name, "tool")
        if isinstance(spec, ToolchainSpec):
            return go_toolchain(spec, self.base(BUILDER))
        return go_program(self.specs, name, self.image(BUILDER))

    async def prepare(self, names: Iterable[str], progress: Progress) -> None:
        """Get hold of the images `names` and of what their tools are built in.

        Raises ImageError when that cannot be done here, saying what to do.
        """
        for name in self._with_builder(names):
            if name in self._roots:
                continue
            origin = self._origins[name]
            told = _prefixed(progress, origin.root if isinstance(origin, Bootstrapped) else name)
            if isinstance(origin, Bootstrapped):
                recipe = self._recipe(origin)
                if origin.distribution:
                    await make_distribution(recipe, self._store, progress=told)
                elif isinstance(recipe, Recipe):
                    await bootstrap(recipe, self._store, mirrors=self._mirrors, progress=told)
            else:
                await self._get(name, origin, told)
            for other in self._origins:
                self._look(other)

    async def prune(self) -> int:
        """Delete the roots that none of these images is; return the bytes of their files."""
        used = {root.key for root in self._roots.values()}
        unused = [root for root in self._store.all() if root.key not in used]
        for root in unused:
            await self._store.remove(root.key)
        return sum(root.size for root in unused)

    def roots(self) -> dict[str, Path]:
        """Return the root file systems that are on this machine: content of a base -> folder."""
        return {self.base(name).content: root.path for name, root in self._roots.items()}

    def record(self, name: str) -> dict[str, Any]:
        """Return what provenance says of the image `name`: what was really used, and what it stands in for."""
        spec = self.specs.image(name)
        root = self._roots.get(name)
        base = self.base(name)
        said: dict[str, Any] = {"name": name, "digest": base.content, "used": self._describe(name)}
        if base.stands_in_for:
            said["standsInFor"] = base.stands_in_for
            said["note"] = spec.bootstrap.note
        return {**said, **({"root": asdict(root.facts)} if root else {})}

    def relock(self, now: str) -> Lock:
        """Return the lock with every reference resolved anew; `now` is the UTC time (RFC 3339). Asks registries.

        Raises ImageError when one cannot be asked or has no such image.
        """
        return self._lock.updated(self._references(), self._resolve, now)

    def staleness(self, *, ask: bool) -> Staleness:
        """Return how images.lock differs from images.toml and, with `ask`, from what the registries say today."""
        return self._lock.staleness(self._references(), self._resolve if ask else None)

    def describe(self) -> list[Row]:
        """Return a row for every image."""
        return [self._row(name) for name in self._origins]

    def _row(self, name: str) -> Row:
        spec = self.specs.image(name)
        root = self._roots.get(name)
        origin = self._origins[name]
        stand_in = isinstance(origin, Bootstrapped) and not origin.distribution
        return Row(
            name=name,
            reference=spec.reference,
            digest=self._lock.digest(spec.reference),
            used=self._describe(name),
            content=self.base(name).content,
            stands_in_for=spec.bootstrap.stands_in_for if stand_in else "",
            note=spec.bootstrap.note if stand_in else "",
            ready=root is not None or (not self._local and self.base(name).known),
            size=root.size if root else 0,
        )

    def _describe(self, name: str) -> str:
        match self._origins[name]:
            case Bootstrapped(distribution=True):
                return f"distribution {self.specs.image(name).reference}"
            case Bootstrapped(root):
                tools = "".join(f" + {tool}" for tool in self.specs.image(name).bootstrap.tools)
                return f"bootstrap {root}{tools}"
            case Pulled(reference):
                return str(reference)
            case Archived(path):
                return f"oci-archive:{path}"
            case Folder(path):
                return f"root-dir:{path}"

    def _references(self) -> list[str]:
        return [spec.reference for spec in self.specs.images.values()]

    def _resolve(self, reference: Reference) -> str:
        return resolve(reference.mirrored(self._mirror) if self._mirror else reference)

    def _with_builder(self, names: Iterable[str]) -> list[str]:
        wanted = dict.fromkeys(names)
        for name in list(wanted):
            spec = self.specs.image(name)
            tools = spec.all_tools if isinstance(self._origins[name], Bootstrapped) else spec.tools
            if any(isinstance(self.specs.tools[tool], ProgramSpec) for tool in tools):
                wanted[BUILDER] = None
        return list(wanted)

    def _look(self, name: str) -> None:
        """See whether this machine has the image `name` already."""
        origin = self._origins[name]
        if isinstance(origin, Bootstrapped):
            found = self._store.find(self._recipe(origin).key)
        elif name in self._sources and self._local:
            found = self._store.find(self._sources[name].key)
        else:
            return
        if found:
            self._roots[name] = found

    async def _get(self, name: str, origin: Origin, progress: Progress) -> None:
        if isinstance(origin, Pulled) and origin.locked and not origin.reference.digest:
            raise ImageError(
                f"images.lock has no digest for {origin.reference}, so it is not known what {name!r} would be",
                resolution="run `pipeline images lock` where the registry can be reached, and commit images.lock; or "
                f"use --image {name}=bootstrap, --image {name}=oci-archive:FILE or --image {name}=NAME@sha256:DIGEST",
            )
        source = await read_source(origin, self.specs.image(name), self.specs.mounts)
        self._sources[name] = source
        if self._local or not isinstance(origin, Pulled):
            self._roots[name] = await materialise(source, self._store, progress=progress)

    def _digest(self, name: str, known: str) -> str:
        source = self._sources.get(name)
        return source.manifest.digest if source and source.manifest else known

    def _content(self, name: str) -> str:
        """Return the identity of an image from elsewhere: its manifest's digest, or its files' after additions."""
        source, root = self._sources.get(name), self._roots.get(name)
        if source is None or root is None:
            return ""
        return source.manifest.digest if source.manifest and not source.packages else root.content


def _unique(*paths: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(paths))


def _prefixed(progress: Progress, name: str) -> Callable[[str], None]:
    return lambda line: progress(f"{name}: {line}")
