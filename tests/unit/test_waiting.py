"""Tests wait for events: only `tests/waiting.py` may sleep."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.waiting import shell_within, until

TESTS = Path(__file__).parents[1]
HELPER = TESTS / "waiting.py"
ELSEWHERE = ("tests/vm/guest",)
"""Programs that run in a machine of their own, where the helper is not."""

SLEEP = re.compile(r"\bsleep\s*\(|\bsleep [0-9$.{]|import sleep|sleep as ")


def sleeps(text: str) -> list[str]:
    """Return the lines of a test file that sleep, in Python or in a script for a shell."""
    return [line.strip() for line in text.splitlines() if SLEEP.search(line)]


@pytest.mark.parametrize(
    "line",
    [
        "time.sleep(1)",
        "    await anyio.sleep(0.1)",
        'run("sleep 3; kill $pid")',
        'run(f"sleep {seconds}")',
        "from time import sleep",
        "run('until test -e x; do sleep .1; done')",
    ],
)
def test_every_way_to_sleep_is_found(line: str) -> None:
    assert sleeps(line)


def test_nothing_but_the_helper_sleeps() -> None:
    here = [path for path in TESTS.rglob("*.py") if path not in (HELPER, Path(__file__))]
    files = [path for path in here if not str(path.relative_to(TESTS.parent)).startswith(ELSEWHERE)]
    assert len(files) > 100
    found = {str(path.relative_to(TESTS)): lines for path in files if (lines := sleeps(path.read_text("utf-8")))}
    assert found == {}, "wait for an event with tests/waiting.py"


def test_what_does_not_happen_fails_with_what_was_waited_for() -> None:
    asked: list[int] = []
    with pytest.raises(AssertionError, match=r"not within 0.01 s: the answer \(asked: True\)"):
        until(lambda: asked.append(1), lambda: f"the answer (asked: {bool(asked)})", bound=0.01, pause=0.001)
    assert until(lambda: "there", "it") == "there"


def test_a_script_is_tried_again_until_it_succeeds() -> None:
    assert shell_within("test -e /there", 20).startswith("end=$((SECONDS + 20))")
