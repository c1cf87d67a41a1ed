"""One run on this machine: from a command line to a graph, and from a graph to files."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio

from pipeline import choice, content, feeds, keys
from pipeline.again import shell_command
from pipeline.choice import Choice
from pipeline.engine.base import Secret
from pipeline.engine.failure import shell_of, short
from pipeline.engine.local import LocalEngine
from pipeline.errors import PipelineError, SigningError, StepFailedError, UsageError
from pipeline.images.catalog import Catalog
from pipeline.images.spec import load_images
from pipeline.keys import SigningKey
from pipeline.model.graph import steps_of
from pipeline.model.image import Image
from pipeline.model.policy import load_policy
from pipeline.model.product import Product, load_product
from pipeline.model.step import Step
from pipeline.model.tree import Given, Tree
from pipeline.model.version import Version
from pipeline.progress import Progress
from pipeline.project import home_folder, packaging_folder
from pipeline.release import Release, plan
from pipeline.source import Checkout, resolve
from pipeline.stages import finish
from pipeline.stages.context import Context, Databases
from pipeline.stages.package import load_packaging
from pipeline.stages.sbom import load_schemas

Result = TypeVar("Result")


@dataclass(slots=True)
class Session:
    """What one invocation works with. Made by `open_session`."""

    options: Namespace
    home: Path
    packaging: Path
    catalog: Catalog
    progress: Progress
    today: str = field(default_factory=choice.this_day)
    given: dict[str, Path] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)

    def engine(self) -> LocalEngine:
        """Return the embedded engine over the roots that are there now."""
        return LocalEngine(
            self.home,
            roots=self.catalog.roots(),
            jobs=self.options.jobs,
            observer=self.progress,
            use_caches=not self.options.no_build_cache,
        )

    async def context(self) -> Context:
        """Return the values that the command line asks for. Reads files and git, runs no step."""
        options = self.options
        folder = self.packaging / "products" / options.product
        product = load_product(folder)
        chosen = self._choice()
        checkout = await self._checkout(product, chosen.version(product))
        self.given["source"] = checkout.path
        databases, trees = self._databases(product, folder)
        context = chosen.context(
            product,
            checkout.source,
            load_policy(Path(options.policy) if options.policy else folder / "policy.toml"),
            specs=self.catalog.specs,
            images=self.images(),
            databases=databases,
            given={**trees, **self._brought()},
            packaging=load_packaging(folder, product),
        )
        return replace(context, missing=feeds.given(Path(options.scan_db)) if options.scan_db else {})

    def _choice(self) -> Choice:
        options = self.options
        return Choice(
            product=options.product,
            tag=options.tag or "",
            snapshot=options.snapshot,
            targets=tuple(options.target),
            variants=tuple(options.variant),
            fips_enabled=os.environ.get("FIPS_ENABLED", ""),
            fips_module=options.fips_module,
            require_openssl_fips=options.require_openssl_fips,
            today=self.today,
        )

    async def _checkout(self, product: Product, version: Version) -> Checkout:
        options = self.options
        return await resolve(
            product,
            version,
            home=self.home,
            project=self.packaging.parent,
            where=options.source,
            commit=options.commit,
            snapshot=options.snapshot,
            accept_moved_tag=options.accept_moved_tag,
            say=self.progress.note,
        )

    def _databases(self, product: Product, folder: Path) -> tuple[Databases, dict[str, Given]]:
        options = self.options
        kind = choice.databases(product, scan_db=bool(options.scan_db), advisories=bool(options.advisories))
        match kind:
            case Databases.GIVEN:
                return kind, {"scan-db": self.give("scan-db", Path(options.scan_db))}
            case Databases.ADVISORIES:
                place = Path(options.advisories or folder / product.scan.advisories)
                return kind, {"advisories": self.give("advisories", place)}
            case Databases.FEED:
                return kind, {}

    def _brought(self) -> dict[str, Given]:
        """Return the binaries of other machines' `pipeline build`, by artifact name."""
        found: dict[str, Given] = {}
        for leg in map(Path, self.options.legs):
            tree = self.give(f"leg-{len(self.given)}", leg)
            found.update({path.name: tree for path in leg.iterdir() if path.is_file()})
        return found

    def give(self, name: str, path: Path) -> Given:
        """Make the directory `path` available to steps as `name`, identified by its content."""
        if not path.is_dir():
            raise UsageError(f"{path} is not a directory", resolution="name a directory")
        self.given[name] = path.absolute()
        return Given(name, content.digest_of(path))

    def release(self, context: Context) -> Release:
        """Return the graph of the release of `context`."""
        return plan(context, load_schemas(self.packaging))

    async def prepare(self, *trees: Tree) -> None:
        """Build or pull the roots that the steps below `trees` run in and that are not there yet."""
        names = {step.image.base.name for tree in trees for step in steps_of(tree)}
        await self.catalog.prepare(sorted(names & set(self.catalog.names())), self.progress.note)

    async def planned(self, *, signed: bool = True, fetch: bool = False) -> Release:
        """Return the graph with everything known: roots are there, and so is the signing key.

        With `fetch` the scanners' databases are fetched, so that the gate knows which of them is not to be had. Raises
        SigningError when the key cannot be used.
        """
        context = await self.context()
        last = keys.remembered(self.home, self.options.signing_key) if signed else None
        expected = self.release(_signed_by(context, last))
        await self.prepare(expected.tree)
        context = replace(context, images=self.images())
        if fetch:
            compiled = [binary.tree for binary in self._same(expected, context).binaries]
            with self.engine() as engine:
                evaluate = partial(self.evaluate, engine)
                context = await feeds.fetched(context, evaluate, self.progress.note, compiled)
        if not signed:
            return self._same(expected, context)
        key = await keys.find_key(self.options.signing_key, self.home)
        self.secrets["signing-key"] = key.secret
        if key.development:
            self.progress.note(f"signing with this machine's development key {key.origin}: not for shipping")
        found = await self._inspect(key)
        keys.remember(self.home, key, found)
        return self._same(expected, _signed_by(context, found))

    def _same(self, expected: Release, context: Context) -> Release:
        """Return the release of `context`: the one that was expected, if nothing has turned out otherwise."""
        return expected if expected.context == context else self.release(context)

    async def looked_at(self) -> Release:
        """Return the graph as far as it is known without running a step: signing by the key that was used last."""
        context = await self.context()
        return self.release(_signed_by(context, keys.remembered(self.home, self.options.signing_key)))

    def images(self) -> dict[str, Image]:
        """Return every image as this machine has it now."""
        return {name: self.catalog.image(name) for name in self.catalog.names()}

    def key_step(self) -> Step:
        """Return the step that looks at the signing key."""
        return finish.inspect_key(self.catalog.image("debian"))

    async def _inspect(self, key: SigningKey) -> dict[str, Any]:
        step = self.key_step()
        with self.engine() as engine:
            where = await engine.evaluate(step.out, secrets=self.secrets)
            found: dict[str, Any] = json.loads((where / "key.json").read_text())
        if not found["fingerprint"]:
            raise SigningError(f"{key.origin} holds no usable key", resolution="make one with `pipeline keygen`")
        return found

    def explained(self, error: PipelineError) -> PipelineError:
        """Return `error`, after a failed step with the whole command for a shell in it."""
        if isinstance(error, StepFailedError) and error.digest and hasattr(self.options, "tag"):
            command = shell_command(self.options, self.today, short(error.digest))
            error.resolution = error.resolution.replace(shell_of(error.digest), command)
        return error

    async def evaluate(self, engine: LocalEngine, tree: Tree) -> Path:
        """Carry out `tree` on `engine` and return where its files are until the engine is closed."""
        return await engine.evaluate(tree, given=self.given, secrets=self.secrets)


def _signed_by(context: Context, key: Mapping[str, Any] | None) -> Context:
    """Return `context` for a release that `key` signs; unchanged while it is not known."""
    return replace(context, options=finish.signed_by(context.options, key)) if key else context


def open_session(options: Namespace) -> Session:
    """Return a session for the parsed command line."""
    home, packaging = home_folder(options.home), packaging_folder()
    overrides = parse_overrides(options.image)
    catalog = Catalog(
        load_images(packaging),
        home=home,
        overrides=overrides,
        pull=options.pull_images,
        distribution=options.roots == "distribution",
    )
    return Session(options=options, home=home, packaging=packaging, catalog=catalog, progress=Progress())


def parse_overrides(texts: list[str]) -> dict[str, str]:
    """Return {image: where} of `--image NAME=WHERE` options. Raises UsageError."""
    pairs = [text.partition("=") for text in texts]
    for name, sign, where in pairs:
        if not (name and sign and where):
            raise UsageError(
                f"--image {name}{sign}{where} is not NAME=WHERE", resolution="for example --image go=oci-archive:go.tar"
            )
    return {name: where for name, _, where in pairs}


def with_progress(session: Session, work: Callable[[], Awaitable[Result]]) -> Result:
    """Run `work` with a live display, and return what it returns."""

    async def both() -> Result:
        failure: PipelineError | None = None
        results: list[Result] = []
        async with anyio.create_task_group() as group:
            group.start_soon(session.progress.live)
            try:
                results.append(await work())
            except PipelineError as error:
                failure = session.explained(error)
            group.cancel_scope.cancel()
        session.progress.close()
        if failure:
            raise failure
        return results[0]

    return anyio.run(both)
