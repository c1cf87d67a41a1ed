"""The embedded engine: evaluates trees on this machine."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread

from pipeline.engine.base import Observer, Secret, ignore
from pipeline.engine.local import schedule
from pipeline.engine.local.entry import Materialized
from pipeline.engine.local.evaluation import Evaluation
from pipeline.engine.local.history import History, Reason
from pipeline.engine.local.runner import run_shell
from pipeline.engine.local.shared import Context
from pipeline.engine.local.store import Store
from pipeline.engine.network import NetworkSettings
from pipeline.errors import EngineError, PipelineError
from pipeline.model.graph import steps_of
from pipeline.model.step import Caching, Step
from pipeline.model.tree import Tree

_FETCHES = 8
"""Steps that wait for the network do not wait for a core: this many run beside the others."""

_AGAIN = {
    Caching.BY_DIGEST: "a step before it runs again",
    Caching.DAILY: "it has not run today",
    Caching.NEVER: "it is never cached",
}

SIZE_LIMIT = 20 << 30
"""Bytes that the store may take by default; cache directories come on top."""


class LocalEngine:
    """Evaluates trees with bubblewrap, in the store at `home`.

    `roots` says where the unpacked root file system of each `Base.content` is. `jobs` steps run at once.
    `today` is the date, in ISO 8601, that steps are told which run once a day; without one they cannot run.
    `size_limit`, in bytes, is kept by deleting what has been unused for longest. What `evaluate` returns stays
    in place until `close`, or the end of a `with` block.
    """

    def __init__(
        self,
        home: Path,
        *,
        roots: Mapping[str, Path],
        jobs: int | None = None,
        observer: Observer = ignore,
        network: NetworkSettings | None = None,
        size_limit: int | None = SIZE_LIMIT,
        use_caches: bool = True,
        today: str = "",
    ) -> None:
        if not sys.platform.startswith("linux"):
            raise EngineError("the embedded engine runs on Linux only", resolution="use the Dagger engine")
        notices: dict[str, str] = {}
        self.store = Store(home, notice=notices.__setitem__)
        self.history = History(self.store.home, self.store.aside)
        self._size_limit = size_limit
        self._context = Context(
            store=self.store,
            roots=roots,
            observer=observer,
            network=network or NetworkSettings.of(os.environ),
            use_caches=use_caches,
            today=today,
            slots=anyio.Semaphore(jobs or os.cpu_count() or 1),
            fetches=anyio.Semaphore(_FETCHES),
            notices=notices,
            why=lambda step: self.explain(step, {step.digest}).brief,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def use(self, roots: Mapping[str, Path]) -> None:
        """Run steps in these roots from now on."""
        self._context.roots = roots

    def close(self) -> None:
        """Let go of everything that was evaluated."""
        self.store.close()

    async def evaluate(
        self,
        tree: Tree,
        *,
        given: Mapping[str, Path] | None = None,
        secrets: Mapping[str, Secret] | None = None,
        prebuilt: Mapping[str, Tree] | None = None,
    ) -> Path:
        """Carry out what `tree` needs and return the directory of its files, which is only to be read.

        `prebuilt` has trees that stand for the outputs of steps, by their digests.
        Raises StepFailedError, StoreError, ImageError and EngineError.
        """
        before = self._context.ran
        try:
            result = await self._evaluation(given, secrets, prebuilt).run(schedule.node_of(tree))
        finally:
            with contextlib.suppress(PipelineError):
                await anyio.to_thread.run_sync(self.history.record, list(steps_of(tree)))
        if self._size_limit is not None and self._context.ran > before:
            await anyio.to_thread.run_sync(lambda: self.store.prune(limit=self._size_limit))
        return result.path

    async def shell(
        self,
        step: Step,
        *,
        given: Mapping[str, Path] | None = None,
        secrets: Mapping[str, Secret] | None = None,
        prebuilt: Mapping[str, Tree] | None = None,
        argv: tuple[str, ...] = (),
    ) -> int:
        """Open a shell on this terminal in the sandbox of `step`, with its inputs made, and return its exit code.

        Without an `argv` it is the best shell that the image has. It has the secrets that are given and no
        others, says what the step would run, and what it writes to /out is thrown away.
        """
        evaluation = self._evaluation(given, secrets, prebuilt)
        results: dict[str, Materialized] = {}
        for part in schedule.parts_of(step):
            results[part.digest] = await evaluation.run(part)
        granted = {name: secret for name, secret in (secrets or {}).items() if name in step.secrets}
        async with evaluation.job(step, results, granted) as job:
            command = shlex.join(step.argv)
            sys.stderr.write(f'this is where step "{step.title}" runs; its command is:\n{command}\n')
            sys.stderr.flush()
            return await run_shell(job, argv or (_shell_of(job.root),))

    def missing(self, *trees: Tree, prebuilt: Mapping[str, Tree] | None = None) -> set[str]:
        """Return the digests of the steps that evaluating `trees` would carry out, none for what is there.

        What depends on a step that will run is counted, though its input may come out as it was.
        """
        evaluation = self._evaluation(None, None, prebuilt)
        return set().union(*(evaluation.missing(schedule.node_of(tree)) for tree in trees))

    def explain(self, step: Step, missing: AbstractSet[str], prebuilt: Mapping[str, Tree] | None = None) -> Reason:
        """Return whether the result of `step` is in the store, and if not, why.

        `missing` is what the method of that name returned for trees that need the step.
        """
        fresh = step.image.base.known and self._context.names_with(prebuilt or {}).fresh(step)
        if not fresh:
            return self.history.explain(step, cached=self.store.has(step.digest))
        if step.digest not in missing:
            return Reason(cached=True, brief="cached")
        reason = self.history.explain(step, cached=False)
        return reason if reason.changes else Reason(cached=False, brief=_AGAIN[step.caching])

    def _evaluation(
        self,
        given: Mapping[str, Path] | None,
        secrets: Mapping[str, Secret] | None,
        prebuilt: Mapping[str, Tree] | None,
    ) -> Evaluation:
        names = self._context.names_with(prebuilt or {})
        return Evaluation(context=self._context, names=names, given=given or {}, secrets=secrets or {})


def _shell_of(root: Path) -> str:
    """Return bash where an image has it: dash cannot give a terminal back whose owner it does not see."""
    return "/bin/bash" if os.path.lexists(root / "bin/bash") or os.path.lexists(root / "usr/bin/bash") else "/bin/sh"
