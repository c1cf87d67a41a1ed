"""Not a program: how a program starts, with its parameters checked and as a value.

A program has a frozen dataclass `Parameters` (see `document.py`). A stage constructs it, `stages/program.py` writes it
as the JSON file of a step, and `run_program` reads it inside of that step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar

from pipeline.programs import common, document

T = TypeVar("T", bound=document.Dataclass)


def run_program(main: Callable[[T], None], kind: type[T]) -> NoReturn:
    """Run `main` with the parameters of `kind` in the file that argv names, and exit: 0, or 1 after `error: ...`."""
    common.run_program(lambda given: main(document.parse(kind, dict(given), "the parameters of this program")))
