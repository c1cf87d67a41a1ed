"""The one door through which every process on this machine goes.

Argument lists only, an environment built from nothing, no standard input unless it is given, and an end: on
time-out or cancellation the whole process group dies.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

import anyio
import anyio.abc

from pipeline.errors import EngineError, PipelineError

logger = logging.getLogger(__name__)

Sink = Callable[[bytes], None]

MAX_CAPTURE = 64 << 20
"""Bytes of output that are kept of a process whose output is a value. More is an error, never a silent cut."""

TAIL = 64 << 10
"""Bytes of output that are kept, for error messages, of a process whose output goes to a sink."""

GRACE = 2.0
"""Seconds between the polite signal and SIGKILL."""

PACKAGES = {
    "bwrap": "bubblewrap",
    "dot": "graphviz",
    "gpg": "gnupg",
    "mksquashfs": "squashfs-tools",
    "qemu-aarch64": "qemu-user",
}
"""The package that contains a program, where their names differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A process that has ended. `code` is negative for a signal, `output` the merged streams of a sink's run."""

    argv: tuple[str, ...]
    code: int
    stdout: bytes = b""
    stderr: bytes = b""
    output: bytes = b""
    seconds: float = 0.0
    timed_out: bool = False

    @property
    def text(self) -> str:
        """Standard output as UTF-8 without its last line end."""
        return self.stdout.decode("utf-8", "replace").rstrip("\n")


def environment(*inherited: str, **variables: str) -> dict[str, str]:
    """Return a whole environment: PATH, a fixed locale, the `inherited` variables that are set, and `variables`."""
    found = {name: os.environ[name] for name in inherited if name in os.environ}
    path = os.environ.get("PATH") or os.defpath
    return {"PATH": path, "LANG": "C.UTF-8", **found, **variables}


def find_program(name: str, *, error: type[PipelineError] = EngineError) -> str:
    """Return the absolute path of the program `name`, or raise `error`, which names the package that contains it."""
    found = shutil.which(name)
    if found is None:
        package = PACKAGES.get(name, name)
        raise error(
            f"the program {name} is not installed",
            resolution=f"install it: apt-get install {package} (Debian, Ubuntu) or dnf install {package}",
        )
    return str(Path(found).absolute())


async def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - what is stopped is a process, and its end is a result
    sink: Sink | None = None,
    pass_fds: Sequence[int] = (),
    umask: int = 0o022,
    check: bool = True,
    error: type[PipelineError] = EngineError,
    kill: Callable[[], None] | None = None,
) -> Completed:
    """Run `argv` to its end.

    `env` is the whole environment (`environment()` by default). With a `sink`, standard output and standard error
    are one stream that goes there as it comes; without, both are captured. `timeout` is in seconds. `kill` is
    asked first when the process has to die, for one that knows better than a signal to its group.

    Raises `error` if the program is missing, and with `check` if it fails or takes too long.
    """
    program = find_program(argv[0], error=error)
    started = time.monotonic()
    with anyio.CancelScope(shield=True):  # one that is half made could be neither ended nor closed
        process = await anyio.open_process(
            [program, *argv[1:]],
            stdin=DEVNULL if stdin is None else PIPE,
            stdout=PIPE,
            stderr=STDOUT if sink else PIPE,
            cwd=cwd,
            env=environment() if env is None else dict(env),
            # A process group of its own: a signal reaches all that it has started, and Ctrl-C on the terminal only
            # this process, which then decides in which order the others end.
            start_new_session=True,
            pass_fds=tuple(pass_fds),
            # What a program makes has the same modes whatever the umask of the person is.
            umask=umask,
        )
    _log_start(process.pid, [program, *argv[1:]], env, cwd)
    streams = _Streams(sink)
    timed_out = await _wait(process, streams, stdin, timeout, kill)
    completed = Completed(
        argv=tuple(argv),
        code=process.returncode if process.returncode is not None else -signal.SIGKILL,
        stdout=bytes(streams.stdout),
        stderr=bytes(streams.stderr),
        output=bytes(streams.tail),
        seconds=time.monotonic() - started,
        timed_out=timed_out,
    )
    how = "took longer than allowed" if timed_out else f"ended with {completed.code}"
    logger.debug("%s, process %d, %s after %.3f s", argv[0], process.pid, how, completed.seconds)
    if check:
        _check(completed, error, timeout)
    return completed


def _log_start(pid: int, argv: Sequence[str], env: Mapping[str, str] | None, cwd: Path | None) -> None:
    """Log a process: with every detail its whole command line, and of its environment the names, never the values."""
    action = f" {argv[1]}" if len(argv) > 1 and not argv[1].startswith("-") else ""
    logger.info("%s%s runs as process %d", Path(argv[0]).name, action, pid)
    if logger.isEnabledFor(logging.DEBUG):
        names = " ".join(sorted(environment() if env is None else env))
        logger.debug("process %d: %s; in %s; environment: %s", pid, shlex.join(argv), cwd or Path.cwd(), names)


def run_sync(argv: Sequence[str], **options: object) -> Completed:
    """Run `argv` like `run`, from code that is not async."""
    return anyio.run(partial(run, argv, **options))  # type: ignore[arg-type]


async def run_interactive(argv: Sequence[str], *, env: Mapping[str, str], pass_fds: Sequence[int] = ()) -> int:
    """Run `argv` on this process's own terminal and return its exit code.

    It stays in the foreground process group, so that the terminal's keys reach it. Until it ends, this process ignores
    an interrupt: Ctrl-C in the shell is the shell's. A handler, not SIG_IGN: a child would inherit that.
    """
    program = find_program(argv[0])
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        process = await anyio.open_process(
            [program, *argv[1:]], stdin=None, stdout=None, stderr=None, env=dict(env), pass_fds=tuple(pass_fds)
        )
        _log_start(process.pid, [program, *argv[1:]], env, None)
        try:
            return await process.wait()
        finally:
            with anyio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.aclose()
    finally:
        signal.signal(signal.SIGINT, before)


async def _wait(
    process: anyio.abc.Process,
    streams: _Streams,
    stdin: bytes | None,
    seconds: float | None,
    kill: Callable[[], None] | None,
) -> bool:
    """Wait until `process` has ended, however that comes about, and return whether it took too long."""
    try:
        with anyio.fail_after(math.inf if seconds is None else seconds):
            await streams.pump(process, stdin)
            await process.wait()
    except TimeoutError:
        return True
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process, kill)
    return False


class _Streams:
    """What a process writes, and where it goes."""

    def __init__(self, sink: Sink | None) -> None:
        self.sink = sink
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.tail = bytearray()

    async def pump(self, process: anyio.abc.Process, stdin: bytes | None) -> None:
        # One pipe for both streams keeps the order in which the program wrote to them.
        if self.sink:
            assert process.stdout is not None
            async for chunk in process.stdout:
                self.tail += chunk
                del self.tail[:-TAIL]
                self.sink(chunk)
            return
        async with anyio.create_task_group() as group:
            # All at once: a program that fills one pipe (64 KiB on Linux) while this reads or feeds another would
            # wait for ever, and this for it.
            group.start_soon(self._capture, process.stdout, self.stdout)
            group.start_soon(self._capture, process.stderr, self.stderr)
            if stdin is not None:
                group.start_soon(_feed, process.stdin, stdin)

    @staticmethod
    async def _capture(stream: anyio.abc.ByteReceiveStream | None, into: bytearray) -> None:
        assert stream is not None
        async for chunk in stream:
            # It reads on beyond that, or the program would wait on a full pipe until its time is over.
            if len(into) <= MAX_CAPTURE:
                into += chunk


async def _feed(stream: anyio.abc.ByteSendStream | None, data: bytes) -> None:
    """Write `data` and close: a program may stop reading early."""
    assert stream is not None
    with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        await stream.send(data)
    await stream.aclose()


async def _end(process: anyio.abc.Process, kill: Callable[[], None] | None) -> None:
    """Make sure that `process` has ended and is reaped: ask, wait, then kill its whole group."""
    if process.returncode is None:
        if kill:
            kill()
        else:
            _signal_group(process.pid, signal.SIGTERM)
        # Programs remove their temporary files and end their children when they are asked to.
        with anyio.move_on_after(GRACE):
            await process.wait()
        if kill and process.returncode is None:
            kill()  # what it did not know yet at first
        # The group, also when its first process has ended in time: a child that ignores the polite signal still has
        # the pipe open. While the group has members, the kernel gives its number to nobody else; numbers are used in
        # a circle, so not soon afterwards either.
        _signal_group(process.pid, signal.SIGKILL)
    await process.aclose()


def _signal_group(pid: int, number: signal.Signals) -> None:
    # Nobody is left in the group: that is what is wanted.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _check(completed: Completed, error: type[PipelineError], timeout: float | None) -> None:
    command = shlex.join(completed.argv)
    if len(completed.stdout) > MAX_CAPTURE or len(completed.stderr) > MAX_CAPTURE:
        raise error(f"{completed.argv[0]} wrote more than {MAX_CAPTURE} bytes", details=command)
    output = (completed.output or completed.stderr or completed.stdout).decode("utf-8", "replace").strip()
    details = "\n".join([command, *output.splitlines()[-20:]])
    if completed.timed_out:
        raise error(f"{completed.argv[0]} ran longer than {timeout:g} seconds and was stopped", details=details)
    if completed.code < 0:
        raise error(f"{completed.argv[0]} was killed by {describe_signal(-completed.code)}", details=details)
    if completed.code:
        raise error(f"{completed.argv[0]} failed with exit code {completed.code}", details=details)


def describe_signal(number: int) -> str:
    """Return the name of a signal, or its number where it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
