"""One run on Dagger: from a function's arguments to a graph, and from a graph to directories of the engine."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagger

from pipeline import content, feeds
from pipeline.choice import databases, gate_closed, this_day, verified
from pipeline.dagger_images import asker, looker
from pipeline.dagger_request import Request, Settings
from pipeline.engine.dagger import DaggerEngine
from pipeline.errors import SigningError, SourceError, StepFailedError, UsageError
from pipeline.images import exported, needs
from pipeline.images.catalog import Catalog
from pipeline.images.spec import BUILDER, load_images
from pipeline.images.toolchains import FOUND as TOOLCHAINS
from pipeline.images.toolchains import LOCK, decide, load_toolchains, look_up
from pipeline.model.graph import steps_of
from pipeline.model.image import Image
from pipeline.model.policy import Policy, load_policy
from pipeline.model.product import Product, load_product
from pipeline.model.source import GIVEN_NAME, Source
from pipeline.model.step import Step
from pipeline.model.toolchain import Toolchain, Wanted, wanted
from pipeline.model.tree import BASE_EPOCH, Files, Given, Tree
from pipeline.model.version import Version
from pipeline.project import packaging_folder
from pipeline.release import Release, plan
from pipeline.source import check_commit
from pipeline.stages import finish, scan
from pipeline.stages.checkout import FILES, FOUND, checkout, no_such_tag, parameters, source_of, unusable
from pipeline.stages.context import Context, Databases
from pipeline.stages.package import load_packaging
from pipeline.stages.sbom import load_schemas
from pipeline.stages.scan import BINARY_SCANNERS

Directories = Mapping[str, dagger.Directory]
GENERAL = "debian"
"""The image of the steps that need nothing special."""


@dataclass(slots=True)
class DaggerSession:
    """What one call works with. Made by `open_session`."""

    client: dagger.Client
    catalog: Catalog
    engine: DaggerEngine
    epoch: int = BASE_EPOCH
    locked: bool = False
    given: dict[str, dagger.Directory] = field(default_factory=dict)
    secrets: dict[str, dagger.Secret] = field(default_factory=dict)

    async def evaluate(self, tree: Tree) -> dagger.Directory:
        """Carry out `tree`, whose images were prepared, and return its directory. Raises what the engine raises."""
        return await self.engine.evaluate(tree, given=self.given, secrets=self.secrets)

    async def prepare(self, *names: str) -> None:
        """Find out which digests the images `names` and the one that `seal` is compiled in have.

        Raises ImageError for an image that cannot be had, and for one that is not pinned when that is forbidden.
        """
        await self.catalog.prepare((BUILDER, *names), say)
        self.engine.builder = self.catalog.image(BUILDER)

    async def check(self, steps: Iterable[Step]) -> None:
        """Test that images have what `steps` need, and what is needed before the first of them. Raises ImageError."""
        first = (step for _, tree in self.engine.builder.layers for step in steps_of(tree))
        wanted = needs.of_steps(self.catalog.specs, {*steps, *first})
        await needs.verify(needs.checks(self.catalog.images(), wanted), looker(self.client, self.engine.archives))

    async def alone(self, make: Callable[[Image], Step]) -> dagger.Directory:
        """Return what a step leaves that is `make` of the general image. Raises what the engine raises."""
        await self.prepare(GENERAL)
        step = make(self.catalog.image(GENERAL))
        await self.check([step])
        return await self.evaluate(step.out)

    async def planned(self, request: Request, *, key: bool = False, fetch: bool = False, check: bool = True) -> Release:
        """Return the graph that a request asks for; with `key`, signed by its key or by one of this run alone.

        With `fetch` the scanners' databases are fetched, so that the gate knows which of them is not to be had. Without
        `check`, no image is pulled to see whether it has what its steps need.
        """
        schemas = load_schemas(packaging_folder())
        context = await self._prepared(await self.context(request), schemas, check=check)
        if fetch:
            compiled = [binary.tree for binary in plan(context, schemas).binaries]
            context = await feeds.fetched(context, self.evaluate, say, compiled)
        if key and request.signing_key:
            found = await self.inspect(request.signing_key)
            context = replace(context, options=finish.signed_by(context.options, found))
        elif key:
            context = replace(context, options=replace(context.options, ephemeral_key=True))
        return plan(context, schemas)

    async def _prepared(self, context: Context, schemas: Files, *, check: bool) -> Context:
        """Return `context` with its images prepared, and tested when that is asked for."""
        steps = set(steps_of(plan(context, schemas).tree))
        await self.prepare(*sorted({step.image.base.name for step in steps}))
        if check:
            await self.check(steps)
        return replace(context, images=self.catalog.images(context.toolchain))

    async def context(self, request: Request) -> Context:
        """Return the values of a request. Runs the step that reads the source."""
        choice = request.choice
        folder = packaging_folder() / "products" / choice.product
        product = load_product(folder)
        version = choice.version(product)
        source = await self.source(product, version, request)
        toolchain = await self._toolchain(wanted(product, version, source))
        kind = databases(product, scan_db=bool(request.scan_db), advisories=bool(request.advisories))
        context = choice.context(
            product,
            source,
            await _policy(request.policy, folder),
            toolchain=toolchain,
            images=self.catalog.images(toolchain),
            databases=kind,
            given={**await self._databases(kind, request, product), **await self._brought(request.legs)},
            packaging=load_packaging(folder, product),
        )
        return replace(context, missing=await _not_given(request.scan_db))

    async def _toolchain(self, which: Wanted) -> Toolchain:
        """Return the toolchain that a source asks for. Runs a step only for one that toolchains.lock does not have."""

        async def look(version: str) -> dict[str, Any]:
            await self.prepare()
            found = await self.evaluate(look_up(self.catalog.bootstrap(), version=version, run=this_day()).out)
            answer: dict[str, Any] = json.loads(await found.file(TOOLCHAINS).contents())
            return answer

        lock = load_toolchains(self.catalog.specs.folder / LOCK)
        return await decide(which, lock, locked=self.locked, look=look, say=say)

    async def source(self, product: Product, version: Version, request: Request) -> Source:
        """Return what the source is, and keep its files for the steps. Raises SourceError and VersionError."""
        check_commit(request.commit or None)
        ref = version.git_ref(product.source.tag)
        given, revision = request.source, ""
        if given is None and product.source.path:
            given = self._own(product.source.path)
        elif given is None:
            given, revision = await self._cloned(product, version, ref)
        if request.commit and revision and request.commit != revision:
            raise SourceError(
                f"the tag {ref} is commit {revision}, not {request.commit}",
                resolution="correct --commit, or leave it out",
            )
        self.given["repository"] = given
        params = parameters(
            product,
            version,
            revision=revision,
            commit=request.commit,
            snapshot=request.choice.snapshot,
            epoch=self.epoch,
        )
        repository = Given("repository", f"dagger:{await given.digest()}")
        try:
            found = await self.alone(lambda image: checkout(repository, params, image=image))
        except StepFailedError as error:
            refused = unusable(checkout(repository, params, image=self.catalog.image(GENERAL)), error)
            if refused is None:
                raise
            raise refused from error
        source = source_of(json.loads(await found.file(FOUND).contents()), product, version)
        self.given[GIVEN_NAME] = found.directory(FILES)
        return source

    def _own(self, folder: str) -> dagger.Directory:
        """Return a folder of this project, which comes with the module and without its history."""
        return self.client.current_module().source().directory(folder)

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

    async def _databases(self, kind: Databases, request: Request, product: Product) -> dict[str, Given]:
        match kind:
            case Databases.GIVEN:
                assert request.scan_db is not None
                return {"scan-db": await self._give("scan-db", request.scan_db)}
            case Databases.ADVISORIES:
                folder = f"packaging/products/{product.name}/{product.scan.advisories}"
                return {"advisories": await self._give("advisories", request.advisories or self._own(folder))}
            case Databases.FEED:
                return {}

    async def _give(self, name: str, directory: dagger.Directory) -> Given:
        """Make a directory available to steps, identified by its content as the embedded engine does."""
        self.given[name] = directory
        with tempfile.TemporaryDirectory() as folder:
            await directory.export(f"{folder}/{name}")
            return Given(name, await asyncio.to_thread(content.digest_of, Path(folder) / name))

    async def _brought(self, legs: tuple[dagger.Directory, ...]) -> dict[str, Given]:
        """Return the binaries of other machines' `build`, by artifact name."""
        found: dict[str, Given] = {}
        for number, leg in enumerate(legs):
            tree = await self._give(f"leg-{number}", leg)
            found.update({entry: tree for entry in await leg.entries() if not entry.endswith("/")})
        return found

    async def inspect(self, key: dagger.Secret) -> dict[str, Any]:
        """Return what `inspect_key` says of a signing key, for later steps to have the key. Raises SigningError."""
        self.secrets["signing-key"] = key
        described = await (await self.alone(finish.inspect_key)).file("key.json").contents()
        found: dict[str, Any] = json.loads(described)
        if not found["fingerprint"]:
            raise SigningError("--signing-key holds no usable key", resolution="make one with `pipeline keygen`")
        return found

    async def verify(self, release: dagger.Directory, key: dagger.File | None, fingerprint: str) -> str:
        """Return what a release that checks out is said to be. Raises VerificationError with every problem."""
        self.given |= {"release": release, "key": self.client.directory()}
        if key:
            self.given["key"] = self.given["key"].with_file("key.asc", key)
        inputs: dict[str, Tree] = {
            name: Given(name, f"dagger:{await self.given[name].digest()}") for name in ("key", "release")
        }
        trusted = "/in/key/key.asc" if key else ""
        found = await self.alone(lambda image: finish.verify(image, inputs, key=trusted, fingerprint=fingerprint))
        result = json.loads(await found.file("verification.json").contents())
        return verified("the release", result)

    async def judge(self, release: Release) -> None:
        """Say what the gate warns of, and raise GateClosedError when the verdict is against the release."""
        if release.verdict is None:
            return
        found = await self.evaluate(release.verdict)
        verdict = json.loads(await found.file("verdict.json").contents())
        for warning in verdict.get("warnings", []):
            say(f"gate: {warning}")
        if not verdict["open"]:
            raise gate_closed(release.context, verdict, "the reports of `dagger call scan --report-only`")


def say(text: str) -> None:
    """Print one line for whoever called the function: Dagger shows a function's standard error with the call."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


async def _not_given(folder: dagger.Directory | None) -> dict[str, str]:
    """Return why each scanner of binaries finds no database in `folder`, by scanner; nothing without a folder."""
    if folder is None:
        return {}
    there = {entry.rstrip("/") for entry in await folder.entries()}
    return scan.not_given({name: name in there and bool(await folder.entries(path=name)) for name in BINARY_SCANNERS})


async def _policy(file: dagger.File | None, folder: Path) -> Policy:
    if file is None:
        return load_policy(folder / "policy.toml")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "policy.toml"
        await asyncio.to_thread(path.write_text, await file.contents(), encoding="utf-8")
        return load_policy(path)


async def open_session(
    client: dagger.Client, images: dagger.Directory | None, settings: Settings | None = None
) -> DaggerSession:
    """Return a session whose images come from `images`, a folder of `pipeline images export`, or from registries."""
    settings = settings or Settings()
    roots = exported.parse(await _index(images)) if images else {}
    catalog = Catalog(
        load_images(packaging_folder()),
        home=Path("/nonexistent"),
        pull=True,
        local=False,
        locked=settings.locked,
        ask=asker(client),
        exported=roots,
    )
    archives = {root.content: images.file(root.archive) for root in roots.values()} if images else {}
    variables = {"GOPROXY": settings.go_proxy} if settings.go_proxy else {}
    engine = DaggerEngine(client, catalog.image(BUILDER), archives=archives, variables=variables)
    engine.jobs = settings.jobs or engine.jobs
    return DaggerSession(client, catalog, engine, settings.epoch, settings.locked)


async def _index(images: dagger.Directory) -> str:
    if not await images.exists(exported.INDEX):
        raise UsageError(
            f"the folder of --images has no {exported.INDEX}",
            resolution="write it with `pipeline images export --output DIR`",
        )
    return await images.file(exported.INDEX).contents()
