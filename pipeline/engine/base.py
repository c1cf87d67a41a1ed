"""What every engine promises, and what it reports while it works."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeVar

from pipeline.errors import EngineError
from pipeline.model.step import Caching, Step
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
    PREBUILT = "prebuilt"
    """The step did not run: its output was made elsewhere, and given to the engine."""


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


def environment(step: Step, today: str) -> dict[str, str]:
    """Return the whole environment that the program of `step` sees; `today` is the date that the engine was told.

    Raises EngineError for a step that runs once a day when it was told none.
    """
    if step.caching is Caching.DAILY and not today:
        raise EngineError(
            f'step "{step.title}" runs once a day, and the engine was not told the date',
            resolution="give the engine the date, as in 2026-01-31",
        )
    return step.environment(today)


class Engine(Protocol[Where_co]):
    """The whole surface that a stage or the command line needs."""

    async def evaluate(
        self,
        tree: Tree,
        *,
        given: Mapping[str, Any] | None = None,
        secrets: Mapping[str, Any] | None = None,
        prebuilt: Mapping[str, Tree] | None = None,
    ) -> Where_co:
        """Carry out what `tree` needs and return where its files are.

        `given` and `secrets` are by name: directories and values in the engine's own currency
        (`pathlib.Path` and `Secret` locally, `dagger.Directory` and `dagger.Secret` on Dagger). `prebuilt` are trees
        that stand for the outputs of steps, by the digests of these: such a step does not run, all others have the
        digests that they have anyway, and nothing that depends on one is kept for runs without it.

        Raises StepFailedError when a program fails, EngineError when the engine cannot work.
        """
        ...
