"""Machines, one for each kind of host, each started once and used by its tests in the order they are written in."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.vm.image import Base, base_image
from tests.vm.machine import Machine, MachineError


@pytest.fixture(scope="session")
def base() -> Base:
    """The disk that every machine starts from."""
    return base_image()


@pytest.fixture(scope="module")
def plain(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine without packages of ours, whose end no test relies on."""
    machine = Machine(base, {}, folder=tmp_path_factory.mktemp("plain"))
    machine.__enter__()
    yield machine
    machine.kill()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the ends of console and journal with a failed test, unless the error holds them already."""
    report = yield
    if report.when == "call" and report.failed and call.excinfo and not call.excinfo.errisinstance(MachineError):
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Machine):
                report.sections.append(("machine", value.evidence()))
    return report
