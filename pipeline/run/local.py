"""The backend of this machine: the embedded engine, with roots, sources and keys below the pipeline's home."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import anyio.to_thread

from pipeline.config.images import load_images
from pipeline.config.policy import Policy, load_policy
from pipeline.config.product import Product
from pipeline.engine.base import Event, Secret
from pipeline.engine.local import LocalEngine
from pipeline.errors import UsageError
from pipeline.host import content
from pipeline.host.folders import home_folder, packaging_folder
from pipeline.images import needs
from pipeline.images.catalog import Catalog
from pipeline.model.source import Source
from pipeline.model.step import Step
from pipeline.model.tree import Given, Tree
from pipeline.model.version import Version
from pipeline.programs.sign.inspect_key import InspectedKey
from pipeline.run.request import FilePlace, FolderPlace, Request, SecretPlace
from pipeline.signing import keys
from pipeline.signing.keys import SigningKey
from pipeline.source.resolve import resolve

logger = logging.getLogger(__name__)


class Watcher(Protocol):
    """The display of a run: gets every event of the engine, and every note."""

    def __call__(self, event: Event) -> None:
        """Take an event of the engine."""
        ...

    def note(self, text: str) -> None:
        """Take one line."""
        ...


@dataclass(slots=True)
class LocalBackend:
    """What one run on this machine works with; `local_backend` makes it. What was evaluated stays until `close`."""

    request: Request
    home: Path
    catalog: Catalog
    watcher: Watcher
    first: tuple[Step, ...] = ()
    given: dict[str, Path] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    prebuilt: Mapping[str, Tree] = field(default_factory=dict)
    _engine: LocalEngine | None = None
    _key: SigningKey | None = None

    @property
    def engine(self) -> LocalEngine:
        """The embedded engine, opened when it is first needed."""
        if self._engine is None:
            self._engine = LocalEngine(
                self.home,
                roots=self.catalog.roots(),
                jobs=self.request.jobs,
                observer=self.watcher,
                use_caches=not self.request.no_build_cache,
                today=self.request.today,
            )
        return self._engine

    def close(self) -> None:
        """Let go of everything that was evaluated."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def note(self, text: str) -> None:
        self.watcher.note(text)

    async def source(self, request: Request, product: Product, version: Version) -> Source:
        checkout = await resolve(
            product,
            version,
            home=self.home,
            project=packaging_folder().parent,
            where=_path(request.source) if request.source else None,
            commit=request.commit or None,
            snapshot=request.snapshot,
            accept_moved_tag=request.accept_moved_tag,
            say=self.note,
        )
        self.given["source"] = checkout.path
        return checkout.source

    async def bring(self, name: str, place: FolderPlace) -> Given:
        path = _folder(place)
        self.given[name] = path.absolute()
        given = Given(name, await anyio.to_thread.run_sync(content.digest_of, path))
        logger.debug("%s is what steps see as %s: %s", path, name, given.identity)
        return given

    def own(self, folder: str) -> str:
        return str(packaging_folder().parent / folder)

    async def names(self, place: FolderPlace, folder: str = "") -> list[str] | None:
        path = _folder(place) / folder
        return [f"{each.name}/" if each.is_dir() else each.name for each in path.iterdir()] if path.is_dir() else None

    async def policy(self, place: FilePlace) -> Policy:
        return load_policy(Path(_path(place)))

    async def prepare(self, names: Iterable[str]) -> None:
        await self.catalog.prepare([name for name in names if name in self.catalog.names()], self.note)
        if self._engine is not None:
            self._engine.use(self.catalog.roots())

    async def look(self, step: Step) -> str:
        return await self.read(step.out, needs.FOUND)

    async def evaluate(self, tree: Tree) -> Path:
        return await self.engine.evaluate(tree, given=self.given, secrets=self.secrets, prebuilt=self.prebuilt)

    async def read(self, tree: Tree, path: str) -> str:
        return (await self.evaluate(tree) / path).read_text("utf-8")

    def remembered(self, request: Request) -> InspectedKey | None:
        return keys.remembered(self.home, _path(request.signing_key) if request.signing_key else None)

    async def key(self, request: Request) -> str:
        self._key = await keys.find_key(_path(request.signing_key) if request.signing_key else None, self.home)
        self.secrets["signing-key"] = self._key.secret
        if self._key.development:
            self.note(f"signing with this machine's development key {self._key.origin}: not for shipping")
        return self._key.origin

    def remember(self, described: InspectedKey) -> None:
        assert self._key is not None
        keys.remember(self.home, self._key, described)


def _path(place: FolderPlace | FilePlace | SecretPlace) -> str:
    assert isinstance(place, str), "Dagger's own objects come with Dagger's backend"
    return place


def _folder(place: FolderPlace) -> Path:
    path = Path(_path(place))
    if not path.is_dir():
        raise UsageError(f"{path} is not a directory", resolution="name a directory")
    return path


@contextmanager
def local_backend(request: Request, watcher: Watcher, *, home: Path | None = None) -> Iterator[LocalBackend]:
    """Yield the backend for `request`, with its store at `home` or where the request says."""
    overrides = parse_overrides(request.image)
    where = home_folder(request.home or None)
    catalog = Catalog(
        load_images(packaging_folder()),
        home=where,
        overrides=overrides,
        pull=request.pull_images,
        distribution=request.roots == "distribution",
        locked=request.locked,
    )
    backend = LocalBackend(request, home or where, catalog, watcher)
    try:
        yield backend
    finally:
        backend.close()


def parse_overrides(texts: Iterable[str]) -> dict[str, str]:
    """Return {image: where} of `--image NAME=WHERE` options. Raises UsageError."""
    pairs = [text.partition("=") for text in texts]
    for name, sign, where in pairs:
        if not (name and sign and where):
            raise UsageError(
                f"--image must be NAME=WHERE, got {name}{sign}{where}",
                resolution="for example --image go=oci-archive:go.tar",
            )
    return {name: where for name, _, where in pairs}
