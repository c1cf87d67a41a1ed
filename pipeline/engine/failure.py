"""The messages for a step that failed, in the same words on every engine."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterable, Sequence

from pipeline.errors import EngineError, StepFailedError
from pipeline.host.process import describe_signal
from pipeline.model.step import Step

FIRST_FAILURE = 126
"""Exit codes from here on say that the program could not run or was killed (POSIX, XCU 2.8.2), never a result."""

TAIL_LINES = 20
"""How much of a program's output an error shows, in lines."""


def failed(step: Step, what: str, *, output: Iterable[str] = (), log: str = "") -> StepFailedError:
    """Return the error that says what happened to a step, with the end of its `output` and how to look into it.

    `log` is where all of its output is, empty when only the engine's own display has it.
    """
    details = [f"digest:  {step.digest}", f"command: {shlex.join(step.argv)}", *([f"log:     {log}"] if log else [])]
    tail = tuple(output)[-TAIL_LINES:]
    details += [f"  | {line}" for line in tail]
    shell = f"run `{shell_of(step.digest)}` for a shell in exactly this step"
    return StepFailedError(
        f'step "{step.title}" {what}',
        details="\n".join(details),
        resolution=f"read the log, or {shell}" if log else shell,
        digest=step.digest,
        output=tail,
        log=log,
    )


def shell_of(digest: str) -> str:
    """Return the command for a shell in a step, without the options of the run, which an engine does not know."""
    return f"pipeline shell {short(digest)}"


def short(digest: str) -> str:
    """Return the beginning of a digest that people are shown."""
    return digest.removeprefix("sha256:")[:12]


def ended_with(code: int) -> str:
    """Return what an exit code that fails a step says about it."""
    return f"failed with exit code {code}{_meaning(code)}"


def took_longer(seconds: float) -> str:
    """Return the error for a step that was stopped after its time."""
    return f"ran longer than {seconds:g} seconds and was stopped with all it had started"


def did_not_make(paths: Sequence[str]) -> str:
    """Return the error for a step that did not make its promised outputs."""
    return f"did not make {', '.join(f'/out/{path}' for path in paths)}"


def not_given(step: Step, paths: Sequence[str]) -> EngineError:
    """Return the error for an output from elsewhere that lacks what the step promises."""
    return EngineError(f'the output that was given for step "{step.title}" has no {", ".join(paths)}')


def exposed(step: Step, secret: str) -> EngineError:
    """Return the error for a step whose command line or environment holds the value of a secret."""
    return EngineError(
        f'step "{step.title}" has the value of secret {secret!r} in its command line or environment',
        resolution=f"let its program read /run/secrets/{secret}",
    )


def left_secret(step: Step, secret: str, path: str) -> StepFailedError:
    """Return the error for a step with the value of a secret in its output."""
    return StepFailedError(
        f'step "{step.title}" left the value of secret {secret!r} in /out/{path}',
        resolution="a program may use a secret, but must not write it into its result",
    )


def _meaning(code: int) -> str:
    if code == FIRST_FAILURE:
        return " (the program cannot be executed)"
    if code == FIRST_FAILURE + 1:
        return " (the program was not found)"
    if code == 128 + signal.SIGKILL:
        return " (killed by SIGKILL: perhaps the machine ran out of memory)"
    return f" (killed by {describe_signal(code - 128)})" if 128 < code < 128 + 65 else ""
