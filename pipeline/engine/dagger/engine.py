"""The Dagger engine: a step is a chain on `dagger.Container`, a tree is a `dagger.Directory`.

Dagger brings its own parallelism, cache and remote execution; nothing of that is done again here. What a container of
Dagger does not promise by itself, the program `seal` sees to (`pipeline.engine.dagger.step`).
"""

from __future__ import annotations

import asyncio
import os
import secrets as random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import dagger

from pipeline.engine.base import Event, Observer, What, environment, ignore
from pipeline.engine.dagger import step as sealed
from pipeline.engine.failure import not_given
from pipeline.engine.local.layout import describe
from pipeline.errors import EngineError, PipelineError
from pipeline.model.graph import steps_of
from pipeline.model.image import Image
from pipeline.model.step import Step
from pipeline.model.target import PLATFORM
from pipeline.model.tree import BASE_EPOCH, Files, Given, Merge, Output, Pick, Tree

Directories = Mapping[str, dagger.Directory]


@dataclass(slots=True)
class DaggerEngine:
    """Evaluates trees on the engine that `client` is connected to.

    `builder` is the image with a Go toolchain in which `seal` is compiled. `archives` are OCI archives by the content
    of the base that they hold; other bases are pulled by their references. `variables` say how steps with network
    reach it (a module proxy); what the engine itself sets for that is passed on too. `jobs` steps run at once: Dagger
    itself has no limit, and a time limit counts the time in which too many steps wait for each other's cores.
    `today` is the date, in ISO 8601, that steps are told which run once a day.
    """

    client: dagger.Client
    builder: Image
    archives: Mapping[str, dagger.File] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    observer: Observer = ignore
    jobs: int = field(default_factory=lambda: os.cpu_count() or 1)
    today: str = ""

    async def evaluate(
        self,
        tree: Tree,
        *,
        given: Directories | None = None,
        secrets: Mapping[str, dagger.Secret] | None = None,
        prebuilt: Mapping[str, Tree] | None = None,
    ) -> dagger.Directory:
        """Carry out what `tree` needs and return its directory, evaluated.

        `prebuilt` has trees that stand for the outputs of steps, by their digests. Dagger knows results by what they
        were made from, so none of theirs is ever taken for another's.

        Raises StepFailedError with the end of a failed program's output, ImageError for a base that is not to be
        had, EngineError for what was not given, for trees that do not fit together and when the engine fails.
        """
        run = _Run(self, given or {}, secrets or {}, prebuilt or {})
        try:
            run.begin(tree)
            return await (await run.directory(tree)).sync()
        except dagger.DaggerError as error:
            raise sealed.engine_failure(error) from error
        finally:
            await run.close()


@dataclass(slots=True)
class _Run:
    """One evaluation: each step and each tree is worked on once, by a task of its own."""

    engine: DaggerEngine
    given: Directories
    secrets: Mapping[str, dagger.Secret]
    prebuilt: Mapping[str, Tree]
    nonce: str = field(default_factory=lambda: random.token_hex(16))
    tasks: dict[str, asyncio.Task[dagger.Directory]] = field(default_factory=dict)
    seal: asyncio.Task[dagger.File] | None = None
    slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.slots = asyncio.Semaphore(self.engine.jobs)

    def begin(self, tree: Tree) -> None:
        """Start every step below `tree` as soon as what it needs is there."""
        for step in steps_of(tree, self.prebuilt):
            self._once(step.out)

    def _once(self, tree: Tree) -> asyncio.Task[dagger.Directory]:
        if tree.digest not in self.tasks:
            self.tasks[tree.digest] = asyncio.create_task(self._lay_out(tree))
        return self.tasks[tree.digest]

    async def close(self) -> None:
        """Stop what is still running, and take note of every failure so that none is reported as lost."""
        tasks = [*self.tasks.values(), *([self.seal] if self.seal else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def directory(self, tree: Tree) -> dagger.Directory:
        """Return the directory that `tree` describes."""
        return await asyncio.shield(self._once(tree))

    async def _lay_out(self, tree: Tree) -> dagger.Directory:
        match tree:
            case Files():
                return self._files(tree)
            case Given():
                if tree.name not in self.given:
                    raise EngineError(
                        f"the directory {tree.name!r} that this needs was not given",
                        details=f"its identity: {tree.identity}",
                    )
                return self.given[tree.name].with_timestamps(BASE_EPOCH)
            case Merge():
                return await self._merge(tree)
            case Pick():
                return await self._pick(tree)
            case Output():
                return await self._output(tree.step)

    def _files(self, tree: Files) -> dagger.Directory:
        made = self.engine.client.directory()
        for path, file in tree.entries:
            try:
                text = file.content.decode("utf-8")
            except UnicodeDecodeError:
                raise EngineError(
                    f"the literal file {path} is not UTF-8, which Dagger cannot carry",
                    resolution="give it to the engine in a directory",
                ) from None
            made = made.with_new_file(path, text, permissions=file.mode)
        return made.with_timestamps(BASE_EPOCH)

    async def _merge(self, tree: Merge) -> dagger.Directory:
        parts = await asyncio.gather(*(self.directory(part) for _, part in tree.parts))
        placed = [(prefix, part) for (prefix, _), part in zip(tree.parts, parts, strict=True)]
        await _check_disjoint(placed)
        made = self.engine.client.directory()
        for prefix, part in placed:
            made = made.with_directory(prefix or "/", part)
        return made

    async def _pick(self, tree: Pick) -> dagger.Directory:
        source = await self.directory(tree.tree)
        if tree.root:
            if not await source.exists(tree.root, expected_type=dagger.ExistsType.DIRECTORY_TYPE):
                raise EngineError(f"{describe(tree.tree)} has no directory {tree.root}")
            source = source.directory(tree.root)
        wanted = [*tree.paths, *tree.optional]
        if not wanted:
            return source
        missing = await _missing(source, tree.paths)
        if missing:
            base = f"{tree.root}/" if tree.root else ""
            raise EngineError(f"{describe(tree.tree)} has no {', '.join(base + path for path in missing)}")
        return self.engine.client.directory().with_directory("/", source, include=[_literal(path) for path in wanted])

    async def _output(self, step: Step) -> dagger.Directory:
        if step.digest in self.prebuilt:
            return await self._stand_in(step)
        layers = {mount: self.directory(tree) for mount, tree in step.image.layers}
        inputs = {f"/in/{name}": self.directory(tree) for name, tree in step.inputs}
        mounts = {**layers, **inputs}
        found = await asyncio.gather(*mounts.values())
        container = sealed.base(self.engine.client, step, self.engine.archives)
        for mount, directory in zip(mounts, found, strict=True):
            container = container.with_mounted_directory(mount, directory, read_only=True)
        container = sealed.private(self.engine.client, container, step, self.secrets)
        return await (self._bare(container, step) if self._builds_seal(step) else self._sealed(container, step))

    async def _stand_in(self, step: Step) -> dagger.Directory:
        out = await self.directory(self.prebuilt[step.digest])
        if missing := await _missing(out, step.outputs):
            raise not_given(step, missing)
        self.engine.observer(Event(what=What.PREBUILT, step=step))
        return out

    def _builds_seal(self, step: Step) -> bool:
        """Return whether `seal` cannot be there yet: the step fetches the toolchain that compiles it.

        Such a step is pinned by what it fetches, so nothing in its environment can change its result.
        """
        return any(step == other for _, tree in self.engine.builder.layers for other in steps_of(tree))

    async def _bare(self, container: dagger.Container, step: Step) -> dagger.Directory:
        for name, value in {**self.engine.variables, **environment(step, self.engine.today)}.items():
            container = container.with_env_variable(name, value)
        out = await self._executed(step, container, step.argv, privileged=False)
        missing = await _missing(out, step.outputs)
        if missing:
            raise sealed.not_made(step, missing)
        return out.with_timestamps(step.epoch)

    async def _sealed(self, container: dagger.Container, step: Step) -> dagger.Directory:
        if self.seal is None:
            self.seal = asyncio.create_task(self._compiled())
        seal = await asyncio.shield(self.seal)
        client = self.engine.client
        spec = client.file(
            "step.json", sealed.specification(step, self.engine.variables, self.engine.today, self.nonce)
        )
        container = container.with_mounted_file(sealed.SEAL, seal).with_mounted_file(sealed.SPECIFICATION, spec)
        return await self._executed(step, container, (sealed.SEAL, *step.argv), privileged=not step.network)

    async def _compiled(self) -> dagger.File:
        builder = self.engine.builder
        for _, tree in builder.layers:
            self.begin(tree)
        found = await asyncio.gather(*(self.directory(tree) for _, tree in builder.layers))
        container = sealed.root(self.engine.client, builder.base, PLATFORM, self.engine.archives)
        for (mount, _), directory in zip(builder.layers, found, strict=True):
            container = container.with_mounted_directory(mount, directory, read_only=True)
        return await sealed.compiled(container, self._files(sealed.source()), builder.path).sync()

    async def _executed(
        self, step: Step, container: dagger.Container, argv: tuple[str, ...], *, privileged: bool
    ) -> dagger.Directory:
        async with self.slots:
            return await self._run(step, container.with_exec(list(argv), insecure_root_capabilities=privileged))

    async def _run(self, step: Step, ran: dagger.Container) -> dagger.Directory:
        started = time.monotonic()
        self.engine.observer(Event(what=What.STARTED, step=step))
        try:
            out = await ran.directory("/out").sync()
        except dagger.ExecError as error:
            self.engine.observer(Event(what=What.OUTPUT, step=step, text=error.stdout))
            raise self._noted(step, started, sealed.step_failure(step, error)) from error
        except dagger.QueryError as error:
            raise self._noted(step, started, sealed.engine_failure(error, step)) from error
        self.engine.observer(Event(what=What.FINISHED, step=step, seconds=time.monotonic() - started))
        return out

    def _noted(self, step: Step, started: float, failure: PipelineError) -> PipelineError:
        self.engine.observer(Event(what=What.FAILED, step=step, seconds=time.monotonic() - started))
        return failure


async def _missing(directory: dagger.Directory, paths: tuple[str, ...]) -> list[str]:
    there = await asyncio.gather(*(directory.exists(path, do_not_follow_symlinks=True) for path in paths))
    return [path for path, found in zip(paths, there, strict=True) if not found]


def _literal(path: str) -> str:
    """Return the pattern that matches only `path` (Go's path.Match, as Dagger uses it)."""
    return "".join(f"\\{character}" if character in "*?[]\\!" else character for character in path)


async def _check_disjoint(parts: list[tuple[str, dagger.Directory]]) -> None:
    """Raise EngineError when two trees bring the same file, or one a file where the other has a directory."""
    listings = await asyncio.gather(*(part.glob("**/*") for _, part in parts)) if len(parts) > 1 else []
    seen: dict[str, bool] = {}
    for (prefix, _), listing in zip(parts, listings, strict=False):
        for found in listing:
            path = f"{prefix}/{found}" if prefix else found
            folder = path.endswith("/")
            path = path.rstrip("/")
            if path in seen and not (folder and seen[path]):
                raise EngineError(
                    f"two merged trees both have {path}",
                    resolution="put one of them below a prefix, or pick only the paths that you need",
                )
            seen[path] = folder
