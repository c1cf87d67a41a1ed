"""Documents that programs of steps have written, read on this machine, with errors for people."""

from __future__ import annotations

from typing import TypeVar

from pipeline.errors import PipelineError, StepFailedError
from pipeline.programs import document

T = TypeVar("T", bound=document.Dataclass)


def read_document(kind: type[T], text: str, *, where: str, error: type[PipelineError] = StepFailedError) -> T:
    """Return the document `text`; `where` names it. Raises `error`, which says what is wrong with it and where."""
    try:
        return document.loads(kind, text, where)
    except document.WrongDocument as wrong:
        raise error(
            f"{wrong}", resolution=f"make {where} again with this version of the pipeline; another one wrote it"
        ) from None
