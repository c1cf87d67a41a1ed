"""Trying again: what is tried, how often, and what is logged."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest
import stamina

from pipeline.errors import ImageError
from pipeline.host import retry


@pytest.fixture(autouse=True)
def hasty() -> Iterator[None]:
    with stamina.set_testing(True, attempts=retry.ATTEMPTS):
        yield


def tried(*failures: Exception) -> int:
    """Fail with each of `failures` in turn, then succeed; return at which attempt."""
    left = list(failures)

    async def work() -> int:
        async for attempt in retry.attempts((OSError, ImageError)):
            with attempt:
                if left:
                    raise left.pop(0)
                return attempt.num
        raise AssertionError("the last attempt returns or raises")

    return anyio.run(work)


def test_what_passes_is_tried_again_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger=retry.__name__)
    advised = ImageError("no answer", details="503", resolution="wait")
    assert tried(OSError("busy"), advised) == 3
    assert [record.message for record in caplog.records] == [
        "attempt 1 failed, next in 0.0 s: busy",
        "attempt 2 failed, next in 0.0 s: no answer: 503",
    ]


def test_the_last_failure_and_every_other_kind_are_raised(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(OSError, match="4"):
        tried(*(OSError(str(number)) for number in range(1, 9)))
    with pytest.raises(ValueError, match="other"):
        tried(ValueError("other"))
