"""A git tag becomes a built, scanned, signed release: the same verbs and the same files as of the command line.

Every function takes the same words as `pipeline`, and runs the same graph of steps. Without a registry at hand, pass
`--images`, a folder that `pipeline images export` has written.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, ParamSpec, TypeVar, cast

import dagger
from dagger import Doc, dag, function, object_type
from dagger.mod._exceptions import FunctionError

from pipeline.choice import Choice, part
from pipeline.dagger_request import Request, Settings
from pipeline.dagger_session import DaggerSession, open_session
from pipeline.drawing import listing, mermaid, svg
from pipeline.errors import PipelineError
from pipeline.model.tree import BASE_EPOCH, Given
from pipeline.module_words import (
    Advisories,
    Commit,
    Drawing,
    Fips,
    FipsArgument,
    GoProxy,
    Images,
    Jobs,
    Legs,
    Locked,
    PolicyFile,
    ProductName,
    RequireOpensslFips,
    ScanDb,
    SigningKey,
    Snapshot,
    Source,
    SourceDateEpoch,
    Tag,
    Targets,
    Variants,
)
from pipeline.stages import finish
from pipeline.stages.context import FipsModule

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def uncached(method: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Make a method a function of the module that Dagger runs each time: its result depends on the day, or a secret.

    The steps below it are cached all the same. (The SDK has this policy at run time, and not in its types.)
    """
    made = function(cache="never")(method)  # type: ignore[call-overload]
    return cast(Callable[Parameters, Result], made)


def _request(
    tag: str,
    product: str,
    source: dagger.Directory | None,
    commit: str,
    snapshot: bool,
    target: list[str] | None,
    variant: list[str] | None,
    fips_module: Fips,
    require_openssl_fips: bool,
    **brought: object,
) -> Request:
    choice = Choice(
        product=product,
        tag=tag,
        snapshot=snapshot,
        targets=tuple(target or ()),
        variants=tuple(variant or ()),
        fips_module=FipsModule[fips_module.name].value,
        require_openssl_fips=require_openssl_fips,
    )
    return Request(choice=choice, source=source, commit=commit, **brought)  # type: ignore[arg-type]


@object_type
class Pipeline:
    """Turns a git tag into a built, scanned, signed release."""

    go_proxy: GoProxy = ""
    source_date_epoch: SourceDateEpoch = ""
    jobs: Jobs = 0
    locked: Locked = False

    @asynccontextmanager
    async def _session(self, images: dagger.Directory | None) -> AsyncIterator[DaggerSession]:
        """Open a session, and let an error for people reach them as its text, without a traceback around it."""
        try:
            settings = Settings.of(
                go_proxy=self.go_proxy, source_date_epoch=self.source_date_epoch, jobs=self.jobs, locked=self.locked
            )
            yield await open_session(dag, images, settings)
        except PipelineError as error:
            # The SDK logs a traceback of every other exception.
            raise FunctionError(str(error), extra={"exit_code": error.exit_code}) from None

    @uncached
    async def release(
        self,
        tag: Tag,
        product: ProductName = "seaweedfs",
        source: Source = None,
        commit: Commit = "",
        snapshot: Snapshot = False,
        target: Targets = None,
        variant: Variants = None,
        fips_module: FipsArgument = Fips.BORINGCRYPTO,
        require_openssl_fips: RequireOpensslFips = False,
        policy: PolicyFile = None,
        scan_db: ScanDb = None,
        advisories: Advisories = None,
        leg: Legs = None,
        images: Images = None,
        signing_key: SigningKey = None,
    ) -> dagger.Directory:
        """Build, scan, index and sign everything: the folder of a whole release. Fails when the gate is closed."""
        chosen = (tag, product, source, commit, snapshot, target, variant, fips_module, require_openssl_fips)
        request = _request(
            *chosen, policy=policy, scan_db=scan_db, advisories=advisories, legs=tuple(leg or ()),
            signing_key=signing_key,
        )  # fmt: skip
        async with self._session(images) as session:
            planned = await session.planned(request, key=True, fetch=True)
            await session.judge(planned)
            return await session.evaluate(planned.tree)

    @uncached
    async def build(
        self,
        tag: Tag,
        product: ProductName = "seaweedfs",
        source: Source = None,
        commit: Commit = "",
        snapshot: Snapshot = False,
        target: Targets = None,
        variant: Variants = None,
        fips_module: FipsArgument = Fips.BORINGCRYPTO,
        require_openssl_fips: RequireOpensslFips = False,
        images: Images = None,
    ) -> dagger.Directory:
        """Build the binaries, and prove what each of them is."""
        chosen = (tag, product, source, commit, snapshot, target, variant, fips_module, require_openssl_fips)
        async with self._session(images) as session:
            return await session.evaluate(part(await session.planned(_request(*chosen)), "build"))

    @uncached
    async def sbom(
        self,
        tag: Tag,
        product: ProductName = "seaweedfs",
        source: Source = None,
        commit: Commit = "",
        snapshot: Snapshot = False,
        target: Targets = None,
        variant: Variants = None,
        fips_module: FipsArgument = Fips.BORINGCRYPTO,
        images: Images = None,
    ) -> dagger.Directory:
        """Build the binaries and their SBOMs, as CycloneDX and SPDX, with a notice of their licenses."""
        chosen = (tag, product, source, commit, snapshot, target, variant, fips_module, False)
        async with self._session(images) as session:
            return await session.evaluate(part(await session.planned(_request(*chosen)), "sbom"))

    @uncached
    async def scan(
        self,
        tag: Tag,
        product: ProductName = "seaweedfs",
        source: Source = None,
        commit: Commit = "",
        snapshot: Snapshot = False,
        target: Targets = None,
        variant: Variants = None,
        fips_module: FipsArgument = Fips.BORINGCRYPTO,
        policy: PolicyFile = None,
        scan_db: ScanDb = None,
        advisories: Advisories = None,
        leg: Legs = None,
        images: Images = None,
        report_only: Annotated[bool, Doc("Return the reports also when the gate is closed")] = False,
    ) -> dagger.Directory:
        """Build and scan: the reports. Fails with the reasons when the gate is closed."""
        chosen = (tag, product, source, commit, snapshot, target, variant, fips_module, False)
        request = _request(*chosen, policy=policy, scan_db=scan_db, advisories=advisories, legs=tuple(leg or ()))
        async with self._session(images) as session:
            planned = await session.planned(request, fetch=True)
            if not report_only:
                await session.judge(planned)
            return await session.evaluate(part(planned, "scan"))

    @uncached
    async def package(
        self,
        tag: Tag,
        product: ProductName = "seaweedfs",
        source: Source = None,
        commit: Commit = "",
        snapshot: Snapshot = False,
        target: Targets = None,
        variant: Variants = None,
        fips_module: FipsArgument = Fips.BORINGCRYPTO,
        policy: PolicyFile = None,
        scan_db: ScanDb = None,
        advisories: Advisories = None,
        leg: Legs = None,
        images: Images = None,
    ) -> dagger.Directory:
        """Build, scan and package: DEB and RPM, not signed yet. Fails when the gate is closed."""
        chosen = (tag, product, source, commit, snapshot, target, variant, fips_module, False)
        request = _request(*chosen, policy=policy, scan_db=scan_db, advisories=advisories, legs=tuple(leg or ()))
        async with self._session(images) as session:
            planned = await session.planned(request, fetch=True)
            await session.judge(planned)
            return await session.evaluate(part(planned, "package"))

    @uncached
    async def plan(
        self,
        tag: Tag,
        product: ProductName = "seaweedfs",
        source: Source = None,
        commit: Commit = "",
        snapshot: Snapshot = False,
        target: Targets = None,
        variant: Variants = None,
        fips_module: FipsArgument = Fips.BORINGCRYPTO,
        require_openssl_fips: RequireOpensslFips = False,
        images: Images = None,
    ) -> str:
        """List the steps of a release, each with its digest and its image. Runs none of them."""
        chosen = (tag, product, source, commit, snapshot, target, variant, fips_module, require_openssl_fips)
        async with self._session(images) as session:
            return listing(await session.planned(_request(*chosen), check=False))

    @uncached
    async def graph(
        self,
        tag: Tag,
        product: ProductName = "seaweedfs",
        source: Source = None,
        commit: Commit = "",
        snapshot: Snapshot = False,
        target: Targets = None,
        variant: Variants = None,
        fips_module: FipsArgument = Fips.BORINGCRYPTO,
        drawing: Annotated[Drawing, Doc("How it is drawn")] = Drawing.MERMAID,
        images: Images = None,
    ) -> str:
        """Draw the steps of a release and what feeds what. Runs none of them."""
        chosen = (tag, product, source, commit, snapshot, target, variant, fips_module, False)
        async with self._session(images) as session:
            tree = (await session.planned(_request(*chosen), check=False)).tree
            return svg(tree) if drawing is Drawing.SVG else mermaid(tree)

    @uncached
    async def sign(
        self,
        artifacts: Annotated[dagger.Directory, Doc("The files to sign, all at the top of the directory")],
        signing_key: Annotated[dagger.Secret, Doc("OpenPGP private key, armored")],
        images: Images = None,
    ) -> dagger.Directory:
        """Sign files that are there already: a detached signature for each, and the public key."""
        async with self._session(images) as session:
            session.given["artifacts"] = artifacts
            files = Given("artifacts", f"dagger:{await artifacts.digest()}")
            fingerprint = str((await session.inspect(signing_key))["fingerprint"])
            return await session.alone(
                lambda image: finish.sign(files, image=image, fingerprint=fingerprint, epoch=BASE_EPOCH).step
            )

    @uncached
    async def verify(
        self,
        release: Annotated[dagger.Directory, Doc("The folder of a release")],
        key: Annotated[dagger.File | None, Doc("The trusted public key (default: the one in the release)")] = None,
        fingerprint: Annotated[str, Doc("The fingerprint that must have signed")] = "",
        images: Images = None,
    ) -> str:
        """Check a finished release: nothing missing, extra, changed or unsigned. Fails with every problem."""
        async with self._session(images) as session:
            return await session.verify(release, key, fingerprint)

    @uncached
    async def images(self, images: Images = None) -> str:
        """List the images that steps run in, with what is really used for each and what stands in for what."""
        async with self._session(images) as session:
            return "".join(
                f"{row.name:<16} {row.used}  {row.content or 'not locked'}\n"
                + (f"{'':<16} stands in for {row.stands_in_for}: {row.note}\n" if row.stands_in_for else "")
                for row in session.catalog.describe()
            )
