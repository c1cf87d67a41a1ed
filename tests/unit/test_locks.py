"""The lock: who waits for whom, and what happens to a lock file that somebody unlinks."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import anyio
import pytest

from pipeline.host import locks


def test_one_has_it_and_others_are_refused_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "made" / "lock"
    descriptor = locks.take(path)
    assert locks.try_take(path) is None
    assert locks.try_take(path, shared=True) is None
    with pytest.raises(BlockingIOError):
        locks.take(path, wait=False)
    os.close(descriptor)
    again = locks.try_take(path)
    assert again is not None
    os.close(again)


def test_those_who_share_it_keep_others_out(tmp_path: Path) -> None:
    both = [locks.take(tmp_path / "lock", shared=True) for _ in range(2)]
    assert locks.try_take(tmp_path / "lock") is None
    for descriptor in both:
        os.close(descriptor)


def test_a_lock_file_that_was_unlinked_is_not_taken_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between open and flock, its holder unlinks it, and another one makes a new file of that name."""
    path, real = tmp_path / "lock", fcntl.flock
    others: list[int] = []

    def flock(descriptor: int, mode: int) -> None:
        if not others:
            others.append(os.open(path, os.O_RDONLY))
            path.unlink()
            path.touch()
        real(descriptor, mode)

    monkeypatch.setattr(fcntl, "flock", flock)
    descriptor = locks.take(path)
    assert os.fstat(descriptor).st_ino == path.stat().st_ino
    for each in (descriptor, *others):
        os.close(each)


def test_a_task_waits_for_another_one_and_is_told_once(tmp_path: Path) -> None:
    path, told, order = tmp_path / "lock", anyio.Event(), []

    async def second() -> None:
        async with locks.locked(path, waiting=told.set):
            order.append("second")

    async def both() -> None:
        async with anyio.create_task_group() as group, locks.locked(path, waiting=lambda: pytest.fail("nobody has it")):
            group.start_soon(second)
            with anyio.fail_after(60):
                await told.wait()
            order.append("first")

    anyio.run(both)
    assert order == ["first", "second"]


def test_a_task_that_waits_can_be_cancelled(tmp_path: Path) -> None:
    descriptor = locks.take(tmp_path / "lock")

    async def give_up() -> None:
        with anyio.CancelScope() as scope:
            async with locks.locked(tmp_path / "lock", waiting=scope.cancel):
                pytest.fail("another one has it")
        assert scope.cancelled_caught

    anyio.run(give_up)
    os.close(descriptor)
