"""The catalog: what each image of images.toml is in this run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config.images import BUILDER, ImageSpecs, ProgramSpec, ToolchainSpec, load_images, pick
from pipeline.config.toolchain import Toolchain
from pipeline.images.acquire import Holdings
from pipeline.images.exported import Exported
from pipeline.images.lock import Lock, load_lock
from pipeline.images.origin import EVERY, Archived, Bootstrapped, Folder, Mode, Pulled, distributions, origins
from pipeline.images.pin import Answer, Ask, answers
from pipeline.images.tools import bootstrap as bootstrap_image
from pipeline.images.tools import go_program, go_toolchain
from pipeline.model.image import DEFAULT_PATH, Base, Image
from pipeline.model.tree import Tree
from pipeline.oci.reference import Reference
from pipeline.oci.skopeo import ask_registry
from pipeline.roots.bootstrap import debian_mirrors
from pipeline.roots.root import Facts, Progress, Root, Roots

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
    `prepare`; without, an engine pulls them itself, and `ask` is how it asks a registry. `locked` refuses an image of a
    registry that images.lock does not pin. `exported` are bootstrapped roots of another machine, which an
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
        locked: bool = False,
        ask: Ask = ask_registry,
        exported: Mapping[str, Exported] | None = None,
        mirrors: tuple[str, ...] | None = None,
    ) -> None:
        self.specs = specs
        self.lock = load_lock(specs.folder / LOCK) if lock is None else lock
        self._local, self._ask = local, ask
        self._exported = exported or {}
        self._mirror = (overrides or {}).get(EVERY, "")
        own = distributions(specs) if distribution and not pull else {}
        chosen = {**own, **dict.fromkeys(self._exported, Mode.BOOTSTRAP.value), **(overrides or {})}
        self._origins = origins(specs, self.lock, chosen, Mode.REFERENCE if pull else Mode.BOOTSTRAP)
        self._holdings = Holdings(
            specs=specs,
            origins=self._origins,
            store=Roots(home),
            local=local,
            locked=locked,
            ask=ask,
            mirrors=debian_mirrors(os.environ) if mirrors is None else mirrors,
        )

    def names(self) -> tuple[str, ...]:
        """Return the names of all images, sorted."""
        return tuple(self._origins)

    def base(self, name: str) -> Base:
        """Return the base of the image `name`; its content is empty while this machine has yet to get it."""
        spec = self.specs.image(name)
        origin = self._origins[name]
        root = self._holdings.roots.get(name)
        match origin:
            case Bootstrapped():
                return self._bootstrapped(name, origin, root)
            case Pulled():
                pinned = self._holdings.pinned(origin)
                at, resolved = str(pinned.reference), pinned.resolved
                if self._local:
                    return Base(name, self._content(name), reference=at, resolved=resolved)
                manager, packages = spec.manager, spec.packages
                content = pinned.reference.digest
                return Base(name, content, reference=at, manager=manager, packages=packages, resolved=resolved)
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

    def image(self, name: str) -> Image:
        """Return the image `name`: its base, the tools laid over it, and its PATH."""
        spec = self.specs.image(name)
        root = self._holdings.roots.get(name)
        own = (*(root.facts.path if root else ()), *spec.path)
        if isinstance(self._origins[name], Bootstrapped):
            own = DEFAULT_PATH
        layers = tuple(sorted((self.specs.tools[tool].mount, self.tool(tool)) for tool in spec.tools))
        paths = [path for tool in spec.tools for path in self.specs.tools[tool].path]
        return Image(name, self.base(name), layers=layers, path=_unique(*paths, *own))

    def images(self, toolchain: Toolchain | None = None) -> dict[str, Image]:
        """Return every image as far as it is known now, those that compile or read Go source with `toolchain`.

        Our own programs keep the toolchain that images.toml pins, and so does everything without `toolchain`.
        """
        if toolchain is None:
            return {name: self.image(name) for name in self._origins}
        return {name: self._with_toolchain(name, toolchain) for name in self._origins}

    def _with_toolchain(self, name: str, toolchain: Toolchain) -> Image:
        image, layers = self.image(name), {}
        for tool in self.specs.image(name).tools:
            spec = self.specs.tools[tool]
            if isinstance(spec, ToolchainSpec) and spec.version != toolchain.version:
                chosen = spec.model_copy(update={"version": toolchain.version, "sum": toolchain.sum})
                layers[spec.mount] = go_toolchain(chosen, self.bootstrap())
        return replace(image, layers=tuple(sorted({**dict(image.layers), **layers}.items()))) if layers else image

    def bootstrap(self) -> Image:
        """Return the image with a go command that downloads toolchains."""
        pulled = not isinstance(self._origins[BUILDER], Bootstrapped)
        return bootstrap_image(self.base(BUILDER), self.specs.image(BUILDER).path if pulled else DEFAULT_PATH)

    def tool(self, name: str) -> Tree:
        """Return the tree of one tool of images.toml."""
        spec = pick(self.specs.tools, name, "tool")
        if isinstance(spec, ToolchainSpec):
            return go_toolchain(spec, self.bootstrap())
        return go_program(self.specs, name, self.image(BUILDER))

    async def prepare(self, names: Iterable[str], progress: Progress) -> None:
        """Get hold of the images `names` and of what their tools are built in.

        Raises ImageError when that cannot be done here, saying what to do.
        """
        for name in self._with_builder(names):
            await self._holdings.get(name, progress)

    def elsewhere(self) -> list[str]:
        """Return the names of the images that come from a registry or an archive, sorted."""
        return [name for name, origin in self._origins.items() if isinstance(origin, (Pulled, Archived))]

    async def answers(self, names: Iterable[str]) -> list[Answer]:
        """Return what registries answer about the images `names` that come from one, once for each reference."""
        return await answers((self._origins[name] for name in names), self._ask)

    def roots(self) -> dict[str, Path]:
        """Return the root file systems that are on this machine: content of a base -> folder."""
        return {self.base(name).content: root.path for name, root in self._holdings.roots.items()}

    async def current(self) -> dict[str, str]:
        """Ask registries what every reference of images.toml means today; return the digests by reference in full form.

        A reference that carries a digest is not asked for. Raises ImageError when one cannot be asked or has no such
        image.
        """
        parsed = {Reference.parse(spec.reference) for spec in self.specs.images.values()}
        wanted = sorted((each for each in parsed if not each.digest), key=str)
        return {str(each): await self._ask(each.mirrored(self._mirror) if self._mirror else each) for each in wanted}

    def describe(self) -> list[Row]:
        """Return a row for every image."""
        return [self._row(name) for name in self._origins]

    def _row(self, name: str) -> Row:
        spec = self.specs.image(name)
        root = self._holdings.roots.get(name)
        origin = self._origins[name]
        stand_in = isinstance(origin, Bootstrapped) and not origin.distribution
        return Row(
            name=name,
            reference=spec.reference,
            digest=self.lock.digest(spec.reference),
            used=self._used(name),
            content=self.base(name).content,
            stands_in_for=spec.bootstrap.stands_in_for if stand_in else "",
            note=spec.bootstrap.note if stand_in else "",
            ready=root is not None or (not self._local and self.base(name).known),
            size=root.size if root else 0,
        )

    def _used(self, name: str) -> str:
        return " + ".join([self._describe(name), *self.specs.image(name).tools])

    def _describe(self, name: str) -> str:
        match self._origins[name]:
            case Bootstrapped(distribution=True):
                return f"distribution {self.specs.image(name).reference}"
            case Bootstrapped(root):
                return f"bootstrap {root}"
            case Pulled() as origin:
                return str(self._holdings.pinned(origin).reference)
            case Archived(path):
                return f"oci-archive:{path}"
            case Folder(path):
                return f"root-dir:{path}"

    def _with_builder(self, names: Iterable[str]) -> list[str]:
        wanted = dict.fromkeys(names)
        for name in list(wanted):
            if any(isinstance(self.specs.tools[tool], ProgramSpec) for tool in self.specs.image(name).tools):
                wanted[BUILDER] = None
        return list(wanted)

    def _content(self, name: str) -> str:
        """Return the identity of an image from elsewhere: its manifest's digest, or its files' after additions."""
        root = self._holdings.roots.get(name)
        if root is None:
            return ""
        added = isinstance(self._origins[name], Pulled) and self.specs.image(name).packages
        return root.content if added or not root.facts.manifest else root.facts.manifest


def _unique(*paths: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(paths))
