"""The one walk from a request to the graph of a release and its verdict, whichever engine carries it out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from pipeline.config.images import BUILDER
from pipeline.config.policy import Policy, load_policy
from pipeline.config.product import Product, load_product
from pipeline.config.toolchain import Toolchain, Wanted, wanted
from pipeline.errors import SigningError, UsageError
from pipeline.host.documents import read_document
from pipeline.host.folders import packaging_folder
from pipeline.images import needs
from pipeline.images.toolchains import FOUND, LOCK, ToolchainLock, decide, load_toolchains, look_up
from pipeline.model.graph import steps_of
from pipeline.model.step import Caching, Step
from pipeline.model.tree import Given, Tree
from pipeline.model.version import Version
from pipeline.programs.scan.scan_documents import Verdict
from pipeline.programs.sign.inspect_key import InspectedKey
from pipeline.programs.toolchain.go_versions import FoundToolchains
from pipeline.release.plan import Release, plan
from pipeline.run import feeds
from pipeline.run.backend import Backend
from pipeline.run.choice import context_of, databases, gate_closed, version_of
from pipeline.run.request import Request
from pipeline.stages import index as finish
from pipeline.stages.context import Context, Databases
from pipeline.stages.package import load_packaging
from pipeline.stages.sbom import load_schemas
from pipeline.stages.scan import BINARY_SCANNERS
from pipeline.stages.table import stages_of

GENERAL = "debian"
"""The image of steps that need nothing special."""

Directory = TypeVar("Directory")


@dataclass(frozen=True, slots=True)
class Walk(Generic[Directory]):
    """One request on one backend."""

    request: Request
    backend: Backend[Directory]
    recorded: Toolchain | None = None
    """The toolchain of a release that is made again, whatever toolchains.lock has today."""

    async def planned(self, *, signed: bool = True, fetch: bool = False, check: bool = True) -> Release:
        """Return the graph with everything known: the images, and with `signed` the key.

        With `fetch` the scanners' databases are fetched, so that the gate knows which of them is missing. Without
        `check`, no image is pulled to see whether it has what its steps need. Raises SigningError when the key cannot
        be used.
        """
        context = await self.context()
        last = self.backend.remembered(self.request) if signed else None
        expected = self.release(_signed_by(context, last))
        context = await self.prepared(context, expected.tree, *([self.key_step().out] if signed else []), check=check)
        if fetch:
            compiled = [binary.tree for binary in self._same(expected, context).binaries]
            context = await feeds.fetched(context, self.backend.evaluate, self.backend.note, compiled)
        return self._same(expected, await self._signed(context) if signed else context)

    async def looked_at(self) -> Release:
        """Return the graph as far as it is known without running a step: signing by the key that was used last."""
        return self.release(_signed_by(await self.context(), self.backend.remembered(self.request)))

    async def check_gate(self, release: Release, where: str) -> None:
        """Say what the gate warns of. Raises GateClosedError, which names `where` the reports are."""
        if release.made.verdict is None:
            return
        text = await self.backend.read(release.made.verdict, "verdict.json")
        verdict = read_document(Verdict, text, where="verdict.json")
        for warning in verdict.warnings:
            self.backend.note(f"gate: {warning}")
        if not verdict.open:
            raise gate_closed(release.context, verdict, where)

    def asked(self) -> tuple[Product, Version]:
        """Return the product and the version of the request. Raises UsageError, ConfigError and VersionError."""
        product = load_product(packaging_folder() / "products" / self.request.product)
        stages_of(product)
        return product, version_of(self.request, product)

    async def context(self) -> Context:
        """Return the values of the request. Runs a step only where the engine reads the source in one."""
        request, backend = self.request, self.backend
        product, version = self.asked()
        source = await backend.source(request, product, version)
        toolchain = self.recorded or await self.toolchain(wanted(product, version, source))
        context = context_of(
            request,
            product,
            source,
            await self._policy(product),
            toolchain=toolchain,
            images=backend.catalog.images(toolchain),
            given=await self._databases(product),
            prebuilt=await self._prebuilt(),
            packaging=load_packaging(packaging_folder() / "products" / request.product, product),
            schemas=load_schemas(packaging_folder()),
        )
        return replace(context, missing=await self._missing())

    def release(self, context: Context) -> Release:
        """Return the graph of the release of `context`. From now on, the backend takes what others built for it."""
        made = plan(context)
        self.backend.prebuilt = made.prebuilt
        return made

    async def prepared(self, context: Context, *trees: Tree, check: bool = True) -> Context:
        """Return `context` once the images of the steps below `trees` are available, and have what those steps need."""
        steps = {step for tree in trees for step in steps_of(tree, self.backend.prebuilt)}
        await self.backend.prepare(sorted({step.image.base.name for step in steps}))
        if check:
            await tested(self.backend, steps)
        return replace(context, images=self.backend.catalog.images(context.toolchain))

    async def toolchain(self, which: Wanted) -> Toolchain:
        """Return the toolchain that a source asks for. Runs a step only for one that toolchains.lock does not have."""
        lock = load_toolchains(packaging_folder() / LOCK)
        return await decide(
            which,
            lock,
            locked=self.request.locked,
            look=lambda version: self.look_up(version=version),
            say=self.backend.note,
        )

    async def look_up(
        self, *, version: str = "", known: ToolchainLock | None = None, caching: Caching = Caching.DAILY
    ) -> FoundToolchains:
        """Ask the module mirror for toolchains, as `pipeline.images.toolchains.look_up` says; return its answer."""
        await self.backend.prepare([BUILDER])
        step = look_up(self.backend.catalog.bootstrap(), version=version, known=known, caching=caching)
        return read_document(FoundToolchains, await self.backend.read(step.out, FOUND), where=FOUND)

    def key_step(self) -> Step:
        """Return the step that looks at the signing key."""
        return finish.inspect_key(self.backend.catalog.image(GENERAL))

    async def key(self) -> InspectedKey | None:
        """Return what the signing key is, None for one of this run alone. Raises SigningError."""
        origin = await self.backend.key(self.request)
        if not origin:
            return None
        text = await self.backend.read(self.key_step().out, "key.json")
        found = read_document(InspectedKey, text, where="key.json")
        if not found.fingerprint:
            raise SigningError(f"{origin} holds no usable key", resolution="make one with `pipeline keygen`")
        self.backend.remember(found)
        return found

    async def _signed(self, context: Context) -> Context:
        found = await self.key()
        if found is None:
            return replace(context, options=replace(context.options, ephemeral_key=True))
        return _signed_by(context, found)

    def _same(self, expected: Release, context: Context) -> Release:
        """Return the release of `context`: the one that was expected, if nothing has turned out otherwise."""
        return expected if expected.context == context else self.release(context)

    async def _policy(self, product: Product) -> Policy:
        if self.request.policy is None:
            return load_policy(packaging_folder() / "products" / product.name / "policy.toml")
        return await self.backend.policy(self.request.policy)

    async def _databases(self, product: Product) -> dict[str, Given]:
        backend, request = self.backend, self.request
        match databases(request, product):
            case Databases.GIVEN:
                assert request.scan_db is not None
                return {"scan-db": await backend.bring("scan-db", request.scan_db)}
            case Databases.ADVISORIES:
                own = f"packaging/products/{product.name}/{product.scan.advisories}"
                place = request.advisories or backend.own(own)
                return {"advisories": await backend.bring("advisories", place)}
            case Databases.FEED:
                return {}

    async def _prebuilt(self) -> dict[str, Given]:
        """Return what `build` left on other machines: the folder of each file, by name. Raises UsageError."""
        found: dict[str, Given] = {}
        for number, leg in enumerate(self.request.legs):
            tree = await self.backend.bring(f"leg-{number}", leg)
            names = [name for name in await self.backend.names(leg) or () if not name.endswith("/")]
            if not names or found.keys() & names:
                twice = ", ".join(sorted(found.keys() & names))
                raise UsageError(
                    f"two folders of --from have {twice}" if twice else "a folder of --from has no files",
                    resolution="name each folder that `build` made once",
                )
            found.update(dict.fromkeys(names, tree))
        return found

    async def _missing(self) -> dict[str, str]:
        """Return why each scanner of binaries finds no database in the folder of --scan-db; nothing without one."""
        place = self.request.scan_db
        if place is None:
            return {}
        return feeds.not_given({name: bool(await self.backend.names(place, name)) for name in BINARY_SCANNERS})


async def tested(backend: Backend[Any], steps: Iterable[Step]) -> None:
    """Test that images have what `steps` need, and what the engine needs before them. Raises ImageError."""
    wanted_of = needs.of_steps(backend.catalog.specs, {*steps, *backend.first})
    await needs.verify(needs.checks(backend.catalog.images(), wanted_of), backend.look)


def _signed_by(context: Context, key: InspectedKey | None) -> Context:
    """Return `context` for a release that `key` signs; unchanged while it is not known."""
    return replace(context, options=finish.signed_by(context.options, key)) if key else context
