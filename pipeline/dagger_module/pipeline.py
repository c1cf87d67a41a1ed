"""A git tag becomes a built, scanned, signed release: the same verbs and the same files as of the command line.

Every function takes the same options as `pipeline`, and runs the same graph of steps. Without a registry, pass
`--images`, a folder that `pipeline images export` has written.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import dagger
from dagger import Doc, dag, object_type
from dagger.mod._exceptions import FunctionError

from pipeline.dagger_module.words import Drawing, documented, of_request, uncached
from pipeline.errors import PipelineError
from pipeline.model.tree import BASE_EPOCH
from pipeline.release.drawing import dot, listing, mermaid
from pipeline.run.choice import verified_text
from pipeline.run.dagger import DaggerBackend, dagger_backend
from pipeline.run.request import Request
from pipeline.run.walk import GENERAL, Walk, tested
from pipeline.stages import index as finish

REPORTS = "the reports of `dagger call scan --report-only`"


@object_type
class Pipeline:
    """Turns a git tag into a built, scanned, signed release."""

    go_proxy: Annotated[str, documented("go_proxy")] = ""
    source_date_epoch: Annotated[str, documented("source_date_epoch")] = ""
    jobs: Annotated[int, documented("jobs")] = 0
    locked: Annotated[bool, documented("locked")] = False

    @asynccontextmanager
    async def _walk(self, request: Request) -> AsyncIterator[Walk[dagger.Directory]]:
        async with self._backend(request) as backend:
            yield Walk(request, backend)

    @asynccontextmanager
    async def _backend(self, request: Request) -> AsyncIterator[DaggerBackend]:
        """Open a backend, and let an error for people reach them as its text, without a traceback around it."""
        try:
            yield await dagger_backend(dag, request)
        except PipelineError as error:
            # The SDK logs a traceback of every other exception.
            raise FunctionError(str(error), extra={"exit_code": error.exit_code}) from None

    @of_request("release")
    async def release(self, request: Request) -> dagger.Directory:
        """Build, scan, index and sign everything: the folder of a whole release. Fails when the gate is closed."""
        async with self._walk(request) as walk:
            planned = await walk.planned(fetch=True)
            await walk.check_gate(planned, REPORTS)
            return await walk.backend.evaluate(planned.tree)

    @of_request("build")
    async def build(self, request: Request) -> dagger.Directory:
        """Build the binaries, and prove what each of them is."""
        async with self._walk(request) as walk:
            return await walk.backend.evaluate((await walk.planned(signed=False)).part("build"))

    @of_request("sbom")
    async def sbom(self, request: Request) -> dagger.Directory:
        """Build the binaries and their SBOMs, as CycloneDX and SPDX, with a notice of their licenses."""
        async with self._walk(request) as walk:
            return await walk.backend.evaluate((await walk.planned(signed=False)).part("sbom"))

    @of_request("scan")
    async def scan(
        self,
        request: Request,
        *,
        report_only: Annotated[bool, Doc("return the reports also when the gate is closed")] = False,
    ) -> dagger.Directory:
        """Build and scan: the reports. Fails with the reasons when the gate is closed."""
        async with self._walk(request) as walk:
            planned = await walk.planned(signed=False, fetch=True)
            if not report_only:
                await walk.check_gate(planned, REPORTS)
            return await walk.backend.evaluate(planned.part("scan"))

    @of_request("package")
    async def package(self, request: Request) -> dagger.Directory:
        """Build, scan and package: DEB and RPM, not signed yet. Fails when the gate is closed."""
        async with self._walk(request) as walk:
            planned = await walk.planned(signed=False, fetch=True)
            await walk.check_gate(planned, REPORTS)
            return await walk.backend.evaluate(planned.part("package"))

    @of_request("plan")
    async def plan(self, request: Request) -> str:
        """List the steps of a release, each with its digest and its image. Runs none of them."""
        async with self._walk(request) as walk:
            return listing(await walk.planned(signed=bool(request.signing_key), check=False))

    @of_request("graph")
    async def graph(
        self, request: Request, *, drawing: Annotated[Drawing, Doc("how it is drawn")] = Drawing.MERMAID
    ) -> str:
        """Draw the steps of a release and what feeds what. Runs none of them."""
        async with self._walk(request) as walk:
            tree = (await walk.planned(signed=bool(request.signing_key), check=False)).tree
            return dot(tree) if drawing is Drawing.DOT else mermaid(tree)

    @of_request()
    async def sign(
        self,
        request: Request,
        *,
        artifacts: Annotated[dagger.Directory, Doc("the files to sign, all at the top of the directory")],
        signing_key: Annotated[dagger.Secret, Doc("OpenPGP private key, armored")],
    ) -> dagger.Directory:
        """Sign existing files: a detached signature for each, and the public key."""
        async with self._backend(request) as backend:
            await backend.prepare([GENERAL])
            walk = Walk(Request(signing_key=signing_key), backend)
            await tested(backend, [walk.key_step()])
            found = await walk.key()
            assert found is not None
            files = await backend.as_it_is("artifacts", artifacts)
            image, fingerprint = backend.catalog.image(GENERAL), found.fingerprint
            return await backend.evaluate(finish.sign(files, image=image, fingerprint=fingerprint, epoch=BASE_EPOCH))

    @of_request()
    async def verify(
        self,
        request: Request,
        *,
        release: Annotated[dagger.Directory, Doc("the folder of a release")],
        key: Annotated[dagger.File | None, Doc("the trusted public key (default: the one in the release)")] = None,
        fingerprint: Annotated[str, Doc("the fingerprint that must have signed")] = "",
    ) -> str:
        """Check a finished release: nothing missing, extra, changed or unsigned. Fails with every problem."""
        async with self._backend(request) as backend:
            await backend.prepare([GENERAL])
            keys = dag.directory().with_file("key.asc", key) if key else dag.directory()
            inputs = {"key": await backend.as_it_is("key", keys), "release": await backend.as_it_is("release", release)}
            trusted = "/in/key/key.asc" if key else ""
            step = finish.verify(backend.catalog.image(GENERAL), inputs, key=trusted, fingerprint=fingerprint)
            await tested(backend, [step])
            return verified_text("the release", await backend.read(step.out, "verification.json"))

    @of_request()
    async def images(self, request: Request) -> str:
        """List the images that steps run in, with what is really used for each and what stands in for what."""
        async with self._backend(request) as backend:
            return "".join(
                f"{row.name:<16} {row.used}  {row.content or 'not locked'}\n"
                + (f"{'':<16} stands in for {row.stands_in_for}: {row.note}\n" if row.stands_in_for else "")
                for row in backend.catalog.describe()
            )


__all__ = ["Pipeline", "uncached"]
