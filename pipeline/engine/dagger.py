"""The Dagger engine: a step is a chain on `dagger.Container`, a tree is a `dagger.Directory`.

Dagger brings its own parallelism, cache, terminal and remote execution; nothing of that is done again here.
"""

from __future__ import annotations

import asyncio
import secrets as random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import dagger

from pipeline.engine.base import Event, Observer, What, ignore
from pipeline.errors import EngineError, ImageError, StepFailedError
from pipeline.model.graph import steps_of
from pipeline.model.image import Base, Image
from pipeline.model.step import ExitCode, Step
from pipeline.model.tree import BASE_EPOCH, Files, Given, Merge, Output, Pick, Tree

TAIL_LINES = 20
EXIT_CODE = "exit-code"


@dataclass(slots=True)
class DaggerEngine:
    """Evaluates trees on the engine that `client` is connected to.

    `archives` are OCI archives by the content of the base that they hold, for bases that no registry has.
    """

    client: dagger.Client
    archives: Mapping[str, dagger.File] = field(default_factory=dict)
    observer: Observer = ignore
    _bases: dict[str, asyncio.Task[dagger.Container]] = field(default_factory=dict)
    _outputs: dict[str, asyncio.Task[dagger.Directory]] = field(default_factory=dict)

    async def evaluate(
        self,
        tree: Tree,
        *,
        given: Mapping[str, dagger.Directory] | None = None,
        secrets: Mapping[str, dagger.Secret] | None = None,
    ) -> dagger.Directory:
        """Carry out what `tree` needs and return its directory, evaluated.

        Raises StepFailedError with the end of a failed program's output, ImageError for a base that is not to be
        had, EngineError for what was not given or for trees that bring the same file twice.
        """
        run = _Run(self, given or {}, secrets or {})
        for step in steps_of(tree):
            run.begin(step)
        try:
            return await (await run.directory(tree)).sync()
        except dagger.QueryError as error:
            raise EngineError(f"the Dagger engine failed: {error}", resolution="look at its own log") from error
        finally:
            await run.close()


@dataclass(slots=True)
class _Run:
    """One evaluation: the tasks of its steps by digest."""

    engine: DaggerEngine
    given: Mapping[str, dagger.Directory]
    secrets: Mapping[str, dagger.Secret]
    tasks: dict[str, asyncio.Task[dagger.Directory]] = field(default_factory=dict)

    def begin(self, step: Step) -> None:
        """Start `step` as soon as what it needs is there."""
        if step.digest not in self.tasks:
            self.tasks[step.digest] = asyncio.create_task(self._output(step))

    async def close(self) -> None:
        """Stop what is still running, and take note of every failure so that none is reported as lost."""
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    async def directory(self, tree: Tree) -> dagger.Directory:
        """Return the directory that `tree` describes."""
        match tree:
            case Files():
                return self._files(tree)
            case Given():
                if tree.name not in self.given:
                    raise EngineError(f"nothing was given as {tree.name!r}", resolution="pass it to the engine")
                return self.given[tree.name].with_timestamps(BASE_EPOCH)
            case Output():
                return await asyncio.shield(self.tasks[tree.step.digest])
            case Merge():
                return await self._merge(tree)
            case Pick():
                return await self._pick(tree)

    def _files(self, tree: Files) -> dagger.Directory:
        made = self.engine.client.directory()
        for path, file in tree.entries:
            try:
                text = file.content.decode("utf-8")
            except UnicodeDecodeError:
                raise EngineError(
                    f"the literal file {path} is not UTF-8, which Dagger cannot carry",
                    resolution="give it as a directory instead",
                ) from None
            made = made.with_new_file(path, text, permissions=file.mode)
        return made.with_timestamps(BASE_EPOCH)

    async def _merge(self, tree: Merge) -> dagger.Directory:
        parts = await asyncio.gather(*(self.directory(part) for _, part in tree.parts))
        made = self.engine.client.directory()
        placed = list(zip([prefix for prefix, _ in tree.parts], parts, strict=True))
        await _check_disjoint(placed)
        for prefix, part in placed:
            made = made.with_directory(prefix or "/", part)
        return made

    async def _pick(self, tree: Pick) -> dagger.Directory:
        source = await self.directory(tree.tree)
        if tree.root:
            if not await source.exists(tree.root):
                raise EngineError(f"{tree.root} is not there to be picked", resolution="look at the step that makes it")
            source = source.directory(tree.root)
        wanted = [*tree.paths, *tree.optional]
        if not wanted:
            return source
        there = await asyncio.gather(*(source.exists(path, do_not_follow_symlinks=True) for path in wanted))
        missing = [path for path, found in zip(wanted, there, strict=True) if not found and path in tree.paths]
        if missing:
            raise EngineError(
                f"{', '.join(missing)} is not there to be picked", resolution="look at the step that makes it"
            )
        return self.engine.client.directory().with_directory("/", source, include=wanted)

    async def _output(self, step: Step) -> dagger.Directory:
        container = await self._prepared(step)
        self.engine.observer(Event(what=What.STARTED, step=step))
        is_data = step.exit_code is ExitCode.IS_DATA
        expect = dagger.ReturnType.ANY if is_data else dagger.ReturnType.SUCCESS
        ran = container.with_exec(list(step.argv), use_entrypoint=False, expect=expect)
        try:
            code = await ran.exit_code()
        except dagger.ExecError as error:
            self.engine.observer(Event(what=What.FAILED, step=step))
            raise failure(step, f"failed with exit code {error.exit_code}", error.stdout + error.stderr) from error
        out = ran.directory("/out")
        if is_data:
            out = out.with_new_file(EXIT_CODE, f"{code}\n", permissions=0o644)
        await self._check_promises(step, out)
        self.engine.observer(Event(what=What.FINISHED, step=step))
        return out.with_timestamps(step.epoch)

    async def _check_promises(self, step: Step, out: dagger.Directory) -> None:
        there = await asyncio.gather(*(out.exists(path, do_not_follow_symlinks=True) for path in step.outputs))
        missing = [path for path, found in zip(step.outputs, there, strict=True) if not found]
        if missing:
            raise failure(step, f"did not leave {', '.join(missing)} in /out", "")

    async def _prepared(self, step: Step) -> dagger.Container:
        client = self.engine.client
        names = [name for name, _ in step.inputs]
        mounts = [mount for mount, _ in step.image.layers]
        trees = [tree for _, tree in (*step.image.layers, *step.inputs)]
        found = await asyncio.gather(*(self.directory(tree) for tree in trees))
        container = await self._base(step.image)
        for mount, tree in zip([*mounts, *(f"/in/{name}" for name in names)], found, strict=True):
            container = container.with_mounted_directory(mount, tree, read_only=True)
        for mount in ("/tmp", "/var/tmp", "/work"):
            container = container.with_mounted_temp(mount)
        for cache in step.caches:
            container = container.with_mounted_cache(cache.mount, client.cache_volume(cache.key))
        for name in step.secrets:
            if name not in self.secrets:
                raise EngineError(f"{step.title} needs the secret {name!r}", resolution="pass it to the engine")
            container = container.with_mounted_secret(f"/run/secrets/{name}", self.secrets[name], mode=0o400)
        for variable, value in sorted(step.environment.items()):
            container = container.with_env_variable(variable, value)
        if not step.cacheable:
            container = container.with_env_variable("PIPELINE_RUN", random.token_hex(16))
        return container.with_directory("/out", client.directory()).with_workdir("/work")

    async def _base(self, image: Image) -> dagger.Container:
        """Return the base with an empty environment, the same one for every step."""
        return await _bare(self._root(image.base))

    def _root(self, base: Base) -> dagger.Container:
        client = self.engine.client
        if base.content in self.engine.archives:
            return client.container().import_(self.engine.archives[base.content])
        if not base.reference:
            raise ImageError(
                f"this engine has no image for {base.name}",
                resolution="export it with `pipeline images export` and pass the folder as --images",
            )
        container = client.container().from_(base.reference)
        match base.manager:
            case "apt":
                install = ["apt-get", "install", "--yes", "--no-install-recommends", *base.packages]
                return container.with_exec(["apt-get", "update"]).with_exec(install) if base.packages else container
            case "dnf":
                return container.with_exec(["dnf", "install", "--assumeyes", *base.packages])
            case _:
                return container


async def _bare(container: dagger.Container) -> dagger.Container:
    for variable in await container.env_variables():
        container = container.without_env_variable(await variable.name())
    return container.without_entrypoint().with_user("0")


async def _check_disjoint(parts: Iterable[tuple[str, dagger.Directory]]) -> None:
    """Raise EngineError when two trees bring the same file."""
    seen: set[str] = set()
    for prefix, part in parts:
        for path in await part.glob("**"):
            full = f"{prefix}/{path}" if prefix else path
            if full.endswith("/"):
                continue
            if full in seen:
                raise EngineError(f"two trees bring {full}", resolution="a stage merges what must be kept apart")
            seen.add(full)


def failure(step: Step, what: str, output: str) -> StepFailedError:
    """Return the error that says what happened to a step."""
    lines = [f"digest:  {step.digest}", f"command: {' '.join(step.argv)}"]
    lines += [f"  | {line}" for line in output.splitlines()[-TAIL_LINES:]]
    return StepFailedError(
        f'step "{step.title}" {what}',
        details="\n".join(lines),
        resolution=f"`dagger call shell --step {step.digest[7:19]}` opens a shell in exactly this step",
    )
