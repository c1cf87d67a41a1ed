"""One run of the command line on this machine: its request, its backend, and what a person sees while it runs."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio

from pipeline.cli.again import shell_command
from pipeline.cli.options import from_command_line
from pipeline.cli.progress import Progress
from pipeline.cli.terminal import progress_on
from pipeline.config.toolchain import Toolchain
from pipeline.engine.failure import shell_of, short
from pipeline.errors import PipelineError, StepFailedError
from pipeline.run.local import LocalBackend, local_backend
from pipeline.run.request import Request
from pipeline.run.walk import Walk

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Run:
    """What a verb works with."""

    walk: Walk[Path]
    backend: LocalBackend
    progress: Progress

    @property
    def request(self) -> Request:
        """What was asked for."""
        return self.walk.request

    def watched(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Run `work` with a live display, and return what it returns."""

        async def both() -> Result:
            failure: PipelineError | None = None
            results: list[Result] = []
            async with anyio.create_task_group() as group:
                group.start_soon(self.progress.live)
                try:
                    results.append(await work())
                except PipelineError as error:
                    failure = self._explained(error)
                group.cancel_scope.cancel()
            if failure:
                raise failure
            return results[0]

        return anyio.run(both)

    def _explained(self, error: PipelineError) -> PipelineError:
        """Return `error`, after a failed step of a release with the whole command for a shell in it."""
        if isinstance(error, StepFailedError) and error.digest and self.request.tag:
            command = shell_command(self.request, short(error.digest))
            error.resolution = error.resolution.replace(shell_of(error.digest), command)
        return error


@contextmanager
def opened(options: Namespace) -> Iterator[Run]:
    """Yield the run that the parsed command line asks for."""
    with run_of(from_command_line(options)) as run:
        yield run


@contextmanager
def run_of(
    request: Request, *, home: Path | None = None, recorded: Toolchain | None = None, progress: Progress | None = None
) -> Iterator[Run]:
    """Yield the run of `request`, with a store at `home` instead of its own, and the toolchain that was `recorded`."""
    shown = progress or progress_on(sys.stderr)
    with local_backend(request, shown, home=home) as backend:
        yield Run(Walk(request, backend, recorded), backend, shown)
