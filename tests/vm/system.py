"""What a test asks of a host with a real systemd, be it a machine of its own or a root in namespaces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from tests.waiting import shell_within

COMMAND = 120.0
"""Seconds that a command may take unless told otherwise."""

REPLY = 60.0
"""Seconds that a host may take beyond a command's own time before it counts as hung."""


class MachineError(AssertionError):
    """The host died, hung, rebooted unasked, or did not carry out what it was told."""


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended. `code` is negative for a signal, None when it took too long."""

    script: str
    code: int | None
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        """Standard output without its last line end."""
        return self.stdout.rstrip("\n")

    def __str__(self) -> str:
        how = "took too long" if self.code is None else f"ended with {self.code}"
        parts = [f"{self.script.strip()}\n{how}", self.stdout[-6000:].strip(), self.stderr[-6000:].strip()]
        return "\n".join(part for part in parts if part)


class System(ABC):
    """A host on which a test runs commands as root."""

    @abstractmethod
    def attempt(self, script: str, timeout: float, given: bytes) -> Done:
        """Run a bash script as root and return how it ended."""

    @abstractmethod
    def evidence(self) -> str:
        """Return what a person needs to see why something failed."""

    def run(self, script: str, *, timeout: float = COMMAND, given: bytes = b"", check: bool = True) -> Done:
        """Run a bash script as root and return how it ended. Raises MachineError; with `check`, for a bad end too."""
        done = self.attempt(script, timeout, given)
        if check and done.code != 0:
            raise MachineError(f"{done}\n\n{self.evidence()}")
        return done

    def wait(self, script: str, *, timeout: float = COMMAND, pause: float = 1.0) -> Done:
        """Run a script again and again until it succeeds. Raises MachineError with its last words after `timeout`."""
        done = self.run(shell_within(script, timeout, pause), timeout=timeout + REPLY, check=False)
        if done.code != 0:
            raise MachineError(
                f"not within {timeout:.0f} s: {Done(script, done.code, done.stdout, '')}\n\n{self.evidence()}"
            )
        return done

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """Write a file."""
        self.run(f"install -D -m {mode} /dev/stdin '{path}'", given=text.encode())

    def read(self, path: str) -> str:
        """Return the text of a file."""
        return self.run(f"cat '{path}'").stdout
