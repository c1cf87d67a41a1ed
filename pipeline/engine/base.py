"""What every engine promises, and what it reports while it works."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeVar

from pipeline.model.step import Step
from pipeline.model.tree import Tree

Where_co = TypeVar("Where_co", covariant=True)
"""Where the files of a tree are: a `pathlib.Path` of the local engine, a `dagger.Directory` of the other."""


class Secret:
    """The value of a secret, which never shows itself: not in `repr`, not in `str`, not in a pickle."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value
        _values.add(value)

    def reveal(self) -> bytes:
        """Return the value. Only the code that hands it to a sandbox calls this."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> Any:
        raise TypeError("a secret is not written anywhere")


_values: set[bytes] = set()


def secret_values() -> frozenset[bytes]:
    """Return the values of all secrets that this process has been given, which no log may show."""
    return frozenset(_values)


class What(Enum):
    """What happened to a step."""

    STARTED = "started"
    CACHED = "cached"
    FINISHED = "finished"
    FAILED = "failed"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to one step. `seconds` is the wall time of a finished or failed step."""

    what: What
    step: Step
    seconds: float = 0.0
    text: str = ""


Observer = Callable[[Event], None]


def ignore(_: Event) -> None:
    """Observe nothing."""


class Engine(Protocol[Where_co]):
    """The whole surface that a stage or the command line needs."""

    async def evaluate(
        self, tree: Tree, *, given: Mapping[str, Any] | None = None, secrets: Mapping[str, Any] | None = None
    ) -> Where_co:
        """Carry out what `tree` needs and return where its files are.

        `given` and `secrets` are by name: directories and values in the engine's own currency
        (`pathlib.Path` and `Secret` locally, `dagger.Directory` and `dagger.Secret` on Dagger).

        Raises StepFailedError when a program fails, EngineError when the engine cannot work.
        """
        ...
