"""The backend of a Dagger engine: directories, secrets and the clone of a source are Dagger's."""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import dagger

from pipeline.config.images import BUILDER, load_images
from pipeline.config.policy import Policy, load_policy
from pipeline.config.product import Product
from pipeline.engine.dagger.engine import DaggerEngine
from pipeline.errors import SourceError, StepFailedError, UsageError
from pipeline.host import content
from pipeline.host.documents import read_document
from pipeline.host.folders import packaging_folder
from pipeline.images import exported
from pipeline.images.catalog import Catalog
from pipeline.model.graph import steps_of
from pipeline.model.source import GIVEN_NAME, Source
from pipeline.model.step import Step
from pipeline.model.tree import Given, Tree
from pipeline.model.version import Version
from pipeline.programs.sign.inspect_key import InspectedKey
from pipeline.programs.source.checkout import Checkout
from pipeline.run.dagger_images import asker, looker
from pipeline.run.request import FilePlace, FolderPlace, Request
from pipeline.run.walk import GENERAL, tested
from pipeline.source.resolve import check_commit, given_epoch
from pipeline.stages.checkout import FILES, FOUND, checkout, no_such_tag, parameters, source_of, unusable


@dataclass(slots=True)
class DaggerBackend:
    """What one call of a function works with. Made by `dagger_backend`."""

    client: dagger.Client
    catalog: Catalog
    engine: DaggerEngine
    epoch: int
    given: dict[str, dagger.Directory] = field(default_factory=dict)
    secrets: dict[str, dagger.Secret] = field(default_factory=dict)
    prebuilt: Mapping[str, Tree] = field(default_factory=dict)

    @property
    def first(self) -> Iterable[Step]:
        return (step for _, tree in self.engine.builder.layers for step in steps_of(tree))

    def note(self, text: str) -> None:
        """Print one line: Dagger shows a function's standard error with the call."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    async def source(self, request: Request, product: Product, version: Version) -> Source:
        check_commit(request.commit or None)
        ref = version.git_ref(product.source.tag)
        revision = ""
        if request.source is not None:
            given = _directory(request.source)
        elif product.source.path:
            given = await self._own_repository(product.source.path, request.repository)
        else:
            given, revision = await self._cloned(product, version, ref)
        if request.commit and revision and request.commit != revision:
            raise SourceError(
                f"the tag {ref} is commit {revision}, not {request.commit}",
                resolution="correct --commit, or leave it out",
            )
        params = parameters(
            product,
            version,
            revision=revision,
            commit=request.commit,
            snapshot=request.snapshot,
            epoch=self.epoch,
        )
        await self.prepare([GENERAL])
        step = checkout(await self.as_it_is("repository", given), params, image=self.catalog.image(GENERAL))
        try:
            await tested(self, [step])
            found = await self.evaluate(step.out)
        except StepFailedError as error:
            refused = unusable(step, error)
            if refused is None:
                raise
            raise refused from error
        told = read_document(Checkout, await found.file(FOUND).contents(), where=FOUND)
        source = source_of(told, product, version)
        self.given[GIVEN_NAME] = found.directory(FILES)
        return source

    async def _own_repository(self, folder: str, repository: dagger.Directory | None) -> dagger.Directory:
        """Return a folder of this project in `repository`, whose `.git` is all that is needed; alone, if it has none.

        In a work tree that was added to another one, `.git` is a file that leads nowhere here.
        """
        own = self.own(folder)
        if repository is None or not await repository.exists(".git", expected_type=dagger.ExistsType.DIRECTORY_TYPE):
            return own
        return repository.with_directory(folder, own)

    async def _cloned(self, product: Product, version: Version, ref: str) -> tuple[dagger.Directory, str]:
        """Return the product's own repository at the tag, and the commit that the tag names."""
        repository = self.client.git(product.source.git)
        try:
            tags = [tag.removeprefix("refs/tags/") for tag in await repository.tags()]
        except dagger.QueryError as error:
            raise SourceError(
                f"cannot read the repository {product.source.git}",
                details=str(error),
                resolution="check that the engine reaches it, or pass a directory as --source",
            ) from error
        if ref not in tags:
            raise no_such_tag(product, version, tags, where=product.source.git)
        tag = repository.tag(ref)
        return tag.tree(depth=1), await tag.commit()

    async def as_it_is(self, name: str, directory: dagger.Directory) -> Given:
        """Make a directory available to steps as `name`, identified by Dagger's own digest of it."""
        self.given[name] = directory
        return Given(name, f"dagger:{await directory.digest()}")

    async def bring(self, name: str, place: FolderPlace) -> Given:
        # Identified as the embedded engine does, so that both engines have the same digests of steps.
        self.given[name] = directory = _directory(place)
        with tempfile.TemporaryDirectory() as folder:
            await directory.export(f"{folder}/{name}")
            return Given(name, await asyncio.to_thread(content.digest_of, Path(folder) / name))

    def own(self, folder: str) -> dagger.Directory:
        # It comes with the module.
        return self.client.current_module().source().directory(folder)

    async def names(self, place: FolderPlace, folder: str = "") -> list[str] | None:
        directory = _directory(place)
        if folder and f"{folder}/" not in await directory.entries():
            return None
        return await (directory.entries(path=folder) if folder else directory.entries())

    async def policy(self, place: FilePlace) -> Policy:
        assert isinstance(place, dagger.File)
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "policy.toml"
            await asyncio.to_thread(path.write_text, await place.contents(), encoding="utf-8")
            return load_policy(path)

    async def prepare(self, names: Iterable[str]) -> None:
        # What every container is started with is compiled in the builder's image.
        await self.catalog.prepare((BUILDER, *names), self.note)
        self.engine.builder = self.catalog.image(BUILDER)

    async def look(self, step: Step) -> str:
        return await looker(self.client, self.engine.archives)(step)

    async def evaluate(self, tree: Tree) -> dagger.Directory:
        return await self.engine.evaluate(tree, given=self.given, secrets=self.secrets, prebuilt=self.prebuilt)

    async def read(self, tree: Tree, path: str) -> str:
        return await (await self.evaluate(tree)).file(path).contents()

    def remembered(self, request: Request) -> InspectedKey | None:  # noqa: ARG002 - a module has no memory
        return None

    async def key(self, request: Request) -> str:
        if request.signing_key is None:
            return ""
        assert isinstance(request.signing_key, dagger.Secret)
        self.secrets["signing-key"] = request.signing_key
        return "--signing-key"

    def remember(self, described: InspectedKey) -> None:
        """Forget it: a module has no memory."""


def _directory(place: FolderPlace) -> dagger.Directory:
    assert isinstance(place, dagger.Directory), "a path of the command line comes with the local backend"
    return place


async def dagger_backend(client: dagger.Client, request: Request) -> DaggerBackend:
    """Return the backend for `request`: images come from its folder of `pipeline images export`, or from registries."""
    _check(request)
    images = request.images
    roots = exported.parse(await _index(images)) if images else {}
    catalog = Catalog(
        load_images(packaging_folder()),
        home=Path("/nonexistent"),
        pull=True,
        local=False,
        locked=request.locked,
        ask=asker(client),
        exported=roots,
    )
    archives = {root.content: images.file(root.archive) for root in roots.values()} if images else {}
    variables = {"GOPROXY": request.go_proxy} if request.go_proxy else {}
    engine = DaggerEngine(client, catalog.image(BUILDER), archives=archives, variables=variables, today=request.today)
    engine.jobs = request.jobs or engine.jobs
    return DaggerBackend(client, catalog, engine, given_epoch(request.source_date_epoch))


def _check(request: Request) -> None:
    """Raise UsageError for a value that the parser of the command line would have refused."""
    if any(urlsplit(part).password for part in re.split("[,|]", request.go_proxy)):
        raise UsageError(
            "--go-proxy holds a password, which Dagger would show in its logs",
            resolution="name a proxy that this engine reaches without one",
        )
    if request.jobs < 0:
        raise UsageError(
            f"--jobs must be a positive integer, got {request.jobs}", resolution="leave it out for one per core"
        )


async def _index(images: dagger.Directory) -> str:
    if not await images.exists(exported.INDEX):
        raise UsageError(
            f"the folder of --images has no {exported.INDEX}",
            resolution="write it with `pipeline images export --output DIR`",
        )
    return await images.file(exported.INDEX).contents()
