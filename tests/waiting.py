"""How tests wait: for an event, with a generous bound. Nothing else in the tests sleeps, and a test holds that.

A bound is there to end a test that would hang. It is never what a test measures, so it is long: a busy machine may take
a minute for what takes a moment on an idle one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 180.0
"""Seconds after which what has not happened is not going to happen, on a slow and busy machine too."""

Found = TypeVar("Found")


def until(
    check: Callable[[], Found], what: str | Callable[[], str], *, bound: float = PATIENCE, pause: float = 0.05
) -> Found:
    """Call `check` until it returns something true, and return that.

    Raises AssertionError after `bound` seconds, with `what`: what was waited for, or what tells how things stand then.
    """
    deadline = time.monotonic() + bound
    while not (found := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {bound:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(pause)
    return found


def elapse(seconds: float, why: str) -> None:
    """Let time pass where that is what is tested; `why` names what must happen, or must not happen, meanwhile."""
    assert why
    time.sleep(seconds)


def lasting(mark: str) -> str:
    """Return a shell command that lasts longer than any test, and is found among processes by `mark`, a number."""
    return f"sleep {float(mark)}"


def shell_until(condition: str) -> str:
    """Return a shell command that lasts until `condition` succeeds."""
    return f"until {condition}; do sleep 0.05; done"


def shell_within(script: str, seconds: float, pause: float = 1.0) -> str:
    """Return a bash script that runs `script` until it succeeds, for `seconds` at most; it ends as the last run did."""
    loop = f"end=$((SECONDS + {seconds:.0f})); while :; do\n( {script}\n) >/tmp/wait.out 2>&1\ncode=$?; "
    loop += f"[ $code = 0 ] && break; [ $SECONDS -ge $end ] && break; sleep {pause}; done; "
    return loop + "cat /tmp/wait.out; exit $code"


def shell_pause(seconds: float, why: str) -> str:
    """Return a shell command that lasts `seconds`, because something else must happen meanwhile: `why` names it."""
    assert why
    return f"sleep {seconds}"
