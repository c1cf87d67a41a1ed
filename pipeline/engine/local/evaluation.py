"""One evaluation of one tree: finds what is there, makes what is not."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from pipeline.engine.base import Event, Secret, What
from pipeline.engine.local import schedule
from pipeline.engine.local.demands import check_platform, find_root, granted
from pipeline.engine.local.entry import TREE, Materialized, seal
from pipeline.engine.local.layout import describe, lay_out, stand_in, view
from pipeline.engine.local.log import StepLog
from pipeline.engine.local.names import Names
from pipeline.engine.local.runner import Job, check_result, run_job
from pipeline.engine.local.schedule import Node, Results
from pipeline.engine.local.shared import Context
from pipeline.errors import PipelineError, StepFailedError
from pipeline.host.content import Listing, remove_tree
from pipeline.host.disk import full_disk, is_about_space, store_errors
from pipeline.host.locks import locked
from pipeline.model.identity import sha256_hex
from pipeline.model.step import Step
from pipeline.model.tree import BASE_EPOCH, Pick, Tree

logger = logging.getLogger(__name__)

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One evaluation, with what was given to it."""

    context: Context
    names: Names
    given: Mapping[str, Path]
    secrets: Mapping[str, Secret]

    async def run(self, node: Node) -> Materialized:
        """Return where `node` is, after making what is missing for it."""
        plan = await anyio.to_thread.run_sync(schedule.demand, node, self._find, self.names.prebuilt)
        for found in plan.found:
            self._tell_found(found)
        await schedule.carry_out(plan, partial(self._make, plan.check))
        return plan.results[node.digest]

    def missing(self, node: Node) -> set[str]:
        """Return the digests of the steps that `run` would carry out, as far as that can be told without a run."""
        plan = schedule.demand(node, self._find, self.names.prebuilt)
        ready = plan.ready
        while ready:
            each = ready.pop()
            if result := self._known(each, plan.results):
                plan.results[each.digest] = result
            ready += schedule.released(plan, each)
        return {each.digest for each in plan.missing.values() if isinstance(each, Step)} - plan.results.keys()

    def _known(self, node: Node, results: Results) -> Materialized | None:
        """Return what is there for `node` when no digest tells: by the content of its parts, if all of it is there."""
        if any(part.digest not in results for part in schedule.parts_of(node, self.names.prebuilt)):
            return None
        return self._through(node, results) or self._find_again(node, self.names.key(node, results))

    def _through(self, node: Node, results: Results) -> Materialized | None:
        """Return what `node` is without being made: a folder of its part, or the tree that stands for its output."""
        if isinstance(node, Pick) and schedule.is_view(node):
            return view(node, results[schedule.node_of(node.tree).digest])
        if isinstance(node, Step) and node.digest in self.names.prebuilt:
            return stand_in(node, results[schedule.node_of(self.names.prebuilt[node.digest]).digest])
        return None

    def _find(self, node: Node) -> Materialized | None:
        """Return the result that exists for `node`."""
        if schedule.is_view(node):
            return None
        name = self.names.name(node)
        result = self.context.store.lookup(name) if name else self.names.made.get(node.digest)
        if logger.isEnabledFor(logging.DEBUG):
            missed = "miss, as the store does not have it" if name else "miss, as its digest does not tell its content"
            logger.debug("%s: %s, %s", "hit" if result else missed, _named(node), node.digest)
        return result

    def _find_again(self, node: Node, key: str) -> Materialized | None:
        """Return what another process has made meanwhile, or what is known by the content of its inputs."""
        result = self._find(node)
        if result or not key:
            return result
        return self.context.store.alias(key, self.names.name(node) or None)

    async def _make(self, check: Callable[[], None], node: Node, results: Results) -> Materialized:
        if schedule.is_view(node) or node.digest in self.names.prebuilt:
            through = await anyio.to_thread.run_sync(self._through, node, results)
            assert through
            if isinstance(node, Step):
                self._tell(What.PREBUILT, node)
            return through
        key = self.names.key(node, results)
        result = await self._find_or_make(check, node, key, results)
        if not self.names.name(node):
            self.names.made[node.digest] = result
        return result

    async def _find_or_make(self, check: Callable[[], None], node: Node, key: str, results: Results) -> Materialized:
        with store_errors(self.context.store.home):
            async with self._making(node, self.names.name(node) or key):
                result = await anyio.to_thread.run_sync(self._find_again, node, key)
                if result:
                    logger.info("hit: %s was made meanwhile, or of inputs with this content before", _named(node))
                    self._tell_found(node)
                    return result
                if isinstance(node, Step):
                    return await self._make_step(check, node, key, results)
                return await self._make_tree(node, key, results)

    @contextlib.asynccontextmanager
    async def _making(self, node: Node, name: str) -> AsyncIterator[None]:
        """Wait for another process that makes the same, and keep others waiting.

        The digest stands for the log. The name stands for the entry, which steps with other digests may have as well.
        """
        async with contextlib.AsyncExitStack() as held:
            for each in dict.fromkeys((node.digest, name or node.digest)):
                await held.enter_async_context(locked(self.context.store.lock(each)))
            yield

    async def _make_tree(self, tree: Tree, key: str, results: Results) -> Materialized:
        parts = [results[part.digest] for part in schedule.parts_of(schedule.node_of(tree))]
        async with self._scratch() as scratch:
            entry = scratch / "entry"
            target = entry / TREE
            target.mkdir(parents=True)

            def work() -> Materialized:
                items = lay_out(tree, target, parts, self.given)
                facts = {"kind": "tree", "title": describe(tree)}
                result = self._keep(schedule.node_of(tree), entry, facts, key=key, items=items)
                remove_tree(scratch)
                return result

            return await anyio.to_thread.run_sync(work)

    async def _make_step(self, check: Callable[[], None], step: Step, key: str, results: Results) -> Materialized:
        async with self.context.fetches if step.network else self.context.slots:
            # It may have waited long for its turn, and another step may have failed meanwhile.
            check()
            if logger.isEnabledFor(logging.INFO):
                logger.info("%s runs: %s", _named(step), self.context.why(step))
            started = time.monotonic()
            self._tell(What.STARTED, step)
            try:
                with store_errors(self.context.store.home):
                    result = await self._run(step, key, results)
            except PipelineError as error:
                self._tell(What.FAILED, step, seconds=time.monotonic() - started, text=error.brief)
                raise
            self._tell(What.FINISHED, step, seconds=time.monotonic() - started)
            return result

    async def _run(self, step: Step, key: str, results: Results) -> Materialized:
        store = self.context.store
        async with self.job(step, results, granted(step, self.secrets)) as job:
            values = [secret.reveal() for secret in job.secrets.values()]
            show = lambda line: self._tell(What.OUTPUT, step, text=line)  # noqa: E731 - a name for one argument
            with StepLog(store.log(step.digest), step, [*values, *job.network.passwords], show) as log:
                try:
                    code, seconds = await run_job(job, log)
                    return await anyio.to_thread.run_sync(self._finish, job, log, code, seconds, key)
                except StepFailedError as error:
                    # A step with secrets has its private directories in memory, so it may be the memory that was full.
                    if is_about_space(log.tail()) and not step.secrets:
                        raise full_disk(store.home, details=str(error)) from error
                    raise

    def _finish(self, job: Job, log: StepLog, code: int, seconds: float, key: str) -> Materialized:
        """Judge what a program left, keep it, and clean up: all that follows a run, in one turn of a thread."""
        check_result(job, log, code)
        step = job.step
        facts = {"kind": "step", "title": step.title, "seconds": round(seconds, 3), "argv": step.argv}
        result = self._keep(step, job.out.parent, facts, key=key)
        remove_tree(job.scratch.parent)
        return result

    def _keep(
        self, node: Node, entry: Path, facts: Mapping[str, object], *, key: str = "", items: Listing | None = None
    ) -> Materialized:
        """Put what was made into the store, or beside it when it must be made again the next time."""
        context = self.context
        epoch = node.epoch if isinstance(node, Step) else BASE_EPOCH
        name = self.names.name(node) or key
        if not name:
            target = context.store.scratch() / "made"
            entry.rename(target)
            return seal(target, node.digest, epoch, boot="", items=items, **facts)
        durable = isinstance(node, Step)
        context.ran += 1
        return context.store.commit(entry, name, key=key, epoch=epoch, durable=durable, items=items, **facts)

    @contextlib.asynccontextmanager
    async def job(self, step: Step, results: Results, secrets: Mapping[str, Secret]) -> AsyncIterator[Job]:
        """Yield `step` with everything that its sandbox needs, and clean up after it."""
        check_platform(step)
        root = find_root(step, self.context.roots)

        def place(trees: tuple[tuple[str, Tree], ...]) -> tuple[tuple[str, Path], ...]:
            return tuple((name, results[schedule.node_of(tree).digest].path) for name, tree in trees)

        async with self._scratch() as scratch:
            out = scratch / "entry" / TREE
            private = scratch / "private"
            out.mkdir(parents=True)
            private.mkdir()
            async with contextlib.AsyncExitStack() as stack:
                yield Job(
                    step=step,
                    root=root,
                    out=out,
                    scratch=private,
                    inputs=place(step.inputs),
                    layers=place(step.image.layers),
                    caches=tuple([(each.mount, await self._cache(each.key, scratch, stack)) for each in step.caches]),
                    secrets=secrets,
                    network=self.context.network,
                    today=self.context.today,
                )

    async def _cache(self, key: str, scratch: Path, stack: contextlib.AsyncExitStack) -> Path:
        """Return the directory of a cache volume, and keep it from being pruned as long as `stack` is open."""
        name = key if _PLAIN.match(key) else sha256_hex(key.encode())
        store = self.context.store
        if not self.context.use_caches:
            path = scratch / f"cache-{name}"
            path.mkdir(exist_ok=True)
            return path
        await stack.enter_async_context(locked(store.cache_lock(name), shared=True))  # who prunes has it for an instant
        path = store.home / "caches" / name
        path.mkdir(exist_ok=True)
        # Prune takes the time of the folder for its last use; what is written deep inside does not change it.
        os.utime(path)
        return path

    @contextlib.asynccontextmanager
    async def _scratch(self) -> AsyncIterator[Path]:
        path = self.context.store.scratch()
        try:
            yield path
        finally:
            # What was kept has been renamed away, and its scratch removed in the same turn of a thread. Shielded,
            # because a cancelled task can wait for nothing more, and an interrupt would leave gigabytes behind.
            if path.exists():
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(remove_tree, path)

    def _tell_found(self, node: Node) -> None:
        if isinstance(node, Step):
            self._tell(What.CACHED, node)

    def _tell(self, what: What, step: Step, *, seconds: float = 0.0, text: str = "") -> None:
        notice = self.context.notices.pop(step.digest, None)
        if notice:
            self.context.observer(Event(what=What.OUTPUT, step=step, text=notice))
        self.context.observer(Event(what=what, step=step, seconds=seconds, text=text))


def _named(node: Node) -> str:
    return f'step "{node.title}"' if isinstance(node, Step) else describe(node)
