"""Running one step in its sandbox."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.engine import failure as wording
from pipeline.engine.base import Secret, environment
from pipeline.engine.local.log import StepLog
from pipeline.engine.local.redact import SHORT, forms
from pipeline.engine.local.sandbox import Bind, Sandbox, make_scratch
from pipeline.engine.network import NetworkSettings
from pipeline.errors import EngineError, StepFailedError
from pipeline.host import process
from pipeline.host.content import SpecialFileError, normalise
from pipeline.model.step import ExitCode, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A step with everything that it needs on this machine."""

    step: Step
    root: Path
    out: Path
    scratch: Path
    inputs: tuple[tuple[str, Path], ...] = ()
    layers: tuple[tuple[str, Path], ...] = ()
    caches: tuple[tuple[str, Path], ...] = ()
    secrets: Mapping[str, Secret]
    network: NetworkSettings
    today: str

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of the program. Bubblewrap adds PWD."""
        settings = self.network.environment if self.step.network else {}
        return {**settings, **environment(self.step, self.today)}

    def sandbox(self) -> Sandbox:
        """Return the sandbox, without secrets. A step that gets secrets has its private directories in memory."""
        in_memory = bool(self.step.secrets)
        if not in_memory:
            make_scratch(self.scratch)
        files = self.network.files if self.step.network else []
        binds = [
            *(Bind(source=path, mount=mount) for mount, path in self.layers),
            *(Bind(source=path, mount=mount, writable=True) for mount, path in self.caches),
            *(Bind(source=path, mount=mount) for path, mount in files),
        ]
        return Sandbox(
            root=self.root,
            out=self.out,
            scratch=None if in_memory else self.scratch,
            inputs=self.inputs,
            binds=tuple(binds),
            network=self.step.network,
        )


async def run_job(job: Job, log: StepLog) -> tuple[int, float]:
    """Run the program to its end, and return its exit code and how many seconds it took.

    Raises StepFailedError when it takes too long, and EngineError when the sandbox cannot be made.
    """
    step = job.step
    check_exposure(job)
    started = time.monotonic()
    with _descriptors(job) as (sandbox, status):
        argv = sandbox.arguments(step.argv, status.writer)
        done = await process.run(
            argv,
            env=job.environment,
            timeout=step.timeout,
            sink=log.write,
            pass_fds=(status.writer, *(descriptor for _, descriptor in sandbox.secrets)),
            check=False,
            kill=status.kill,
        )
        log.finish()
        code = status.exit_code()
    if done.timed_out:
        raise _failed(step, log, wording.took_longer(step.timeout))
    if code is None:
        code = _explain_sandbox(done, log)
    return code, time.monotonic() - started


async def run_shell(job: Job, argv: tuple[str, ...]) -> int:
    """Run `argv` on this terminal in the sandbox of a step, and return its exit code."""
    with _descriptors(job) as (sandbox, status):
        command = replace(sandbox, terminal=True).arguments(argv, status.writer)
        descriptors = (status.writer, *(descriptor for _, descriptor in sandbox.secrets))
        variables = {**job.environment, "TERM": os.environ.get("TERM", "dumb")}
        return await process.run_interactive(command, env=variables, pass_fds=descriptors)


def check_exposure(job: Job) -> None:
    """Raise EngineError when a secret's value is in the command line or the environment of the step."""
    exposed = [*job.step.argv, *job.environment.values()]
    for name, secret in job.secrets.items():
        value = secret.reveal().strip().decode("utf-8", "surrogateescape")
        if value and any(value in text for text in exposed):
            raise wording.exposed(job.step, name)


def check_output(job: Job) -> None:
    """Raise StepFailedError when the program left the value of a secret in its output."""
    for name, secret in job.secrets.items():
        value = secret.reveal()
        for folder, _, names in os.walk(job.out):
            for file in (Path(folder) / each for each in names):
                if file.is_file() and not file.is_symlink() and _gives_away(file, value):
                    raise wording.left_secret(job.step, name, str(file.relative_to(job.out)))


def _failed(step: Step, log: StepLog, what: str) -> StepFailedError:
    return wording.failed(step, what, output=log.tail(wording.TAIL_LINES).splitlines(), log=str(log.path))


class _Status:
    """What bubblewrap reports about the program: its process id, and its exit code if it ran."""

    def __init__(self, reader: int, writer: int) -> None:
        self.writer = writer
        self._reader = reader
        self._text = b""

    def exit_code(self) -> int | None:
        code = self._find("exit-code")
        return code if code is None else int(code)

    def kill(self) -> None:
        """Kill the first process of the sandbox, and with it, by the kernel, every other one."""
        # It is the first process of a PID namespace, as seen from outside. With it the kernel kills every process of
        # that namespace, also those that have left their group or session (pid_namespaces(7)). Killing bubblewrap
        # alone would do so only once it has asked for its own death with its parent's.
        pid = self._find("child-pid")
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _find(self, name: str) -> int | None:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._reader, 4096):
                self._text += chunk
        for line in self._text.splitlines():
            with contextlib.suppress(ValueError):
                report = json.loads(line)
                if name in report:
                    return int(report[name])
        return None


@contextlib.contextmanager
def _descriptors(job: Job) -> Iterator[tuple[Sandbox, _Status]]:
    """Open what bubblewrap inherits: the status pipe, and each secret in memory that never touches a disk."""
    with contextlib.ExitStack() as stack:
        # Nonblocking: it is read when the process has ended or must be killed, and then there is either a report or
        # none.
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        stack.callback(os.close, reader)
        stack.callback(os.close, writer)
        secrets = []
        for name, secret in job.secrets.items():
            # A file in memory without a name (memfd_create(2)): no disk, no path that another process could open by
            # name.
            descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
            stack.callback(os.close, descriptor)
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(secret.reveal())
            # The duplicate shares its position, which is at the end now; bubblewrap reads from where it is.
            os.lseek(descriptor, 0, os.SEEK_SET)
            secrets.append((name, descriptor))
        yield replace(job.sandbox(), secrets=tuple(secrets)), _Status(reader, writer)


def _explain_sandbox(done: process.Completed, log: StepLog) -> int:
    """Return the exit code of a program that could not be started; raise EngineError if there was no sandbox."""
    output = log.tail(5)
    # bubblewrap itself ends with 1 then, as it does when there was no sandbox. Shells say 127 (POSIX, XCU 2.8.2).
    if "bwrap: execvp " in output:
        return 127
    if done.code < 0:
        return 128 - done.code
    raise EngineError(
        "bubblewrap could not make a sandbox",
        details=output,
        resolution="user namespaces must be allowed: on Ubuntu 23.10 and later "
        "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`, on hardened machines "
        "`sysctl user.max_user_namespaces=15000`, "
        "in a container `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`",
    )


def check_result(job: Job, log: StepLog, code: int) -> None:
    """Settle the output; raise StepFailedError unless `code` is a good end and everything promised is there."""
    step = job.step
    if step.exit_code is ExitCode.IS_DATA and code < wording.FIRST_FAILURE:
        (job.out / "exit-code").write_text(f"{code}\n", encoding="ascii")
    elif code:
        raise _failed(step, log, wording.ended_with(code))
    missing = [path for path in step.outputs if not os.path.lexists(job.out / path)]
    if missing:
        raise _failed(step, log, wording.did_not_make(missing))
    try:
        normalise(job.out, step.epoch)
    except SpecialFileError as error:
        raise _failed(step, log, f"left a {error.kind} in its output: /out/{error.path}") from error
    check_output(job)


def _gives_away(file: Path, value: bytes) -> bool:
    """Return whether a file holds a secret whole, in base64, or more than half of its lines.

    Fewer lines may be public: the armor of an OpenPGP private key begins with the lines of its public key.
    """
    found = _found(file, {form for form in forms(value) if len(form) >= SHORT})
    lines = {line for line in map(bytes.strip, value.splitlines()) if len(line) >= SHORT}
    if len(lines) > 1 and not found - lines:
        return len(found) > len(lines) / 2
    return bool(found)


def _found(file: Path, patterns: set[bytes]) -> set[bytes]:
    """Return those of `patterns` that a file holds, reading it in pieces that overlap by the longest of them."""
    longest = max(map(len, patterns), default=0)
    found: set[bytes] = set()
    held = b""
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            held = held[-longest:] + chunk
            found |= {pattern for pattern in patterns - found if pattern in held}
    return found
