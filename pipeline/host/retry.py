"""Trying again: what fails for a moment is tried a few times, with growing pauses, and each time is logged."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from stamina import Attempt
    from stamina.instrumentation import RetryDetails

ATTEMPTS = 4
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
"""Seconds; each pause is about twice the one before."""

logger = logging.getLogger(__name__)


def attempts(on: type[Exception] | tuple[type[Exception], ...]) -> AsyncIterator[Attempt]:
    """Yield context managers, in each of which the work is tried; one that ends without `on` is the last.

    Raises what the last of ATTEMPTS raises, and everything but `on` at once.
    """
    import stamina  # takes longer to import than most commands need
    from stamina.instrumentation import set_on_retry_hooks

    set_on_retry_hooks([_log])  # its own log to places of which this project knows nothing
    context = stamina.retry_context(
        on=on, attempts=ATTEMPTS, timeout=None, wait_initial=FIRST_PAUSE, wait_max=LONGEST_PAUSE
    )
    return aiter(context)


def _log(details: RetryDetails) -> None:
    cause = details.caused_by
    why = f"{cause.brief}: {cause.details}" if isinstance(cause, PipelineError) else str(cause)
    logger.info("attempt %d failed, next in %.1f s: %s", details.retry_num, details.wait_for, why)
