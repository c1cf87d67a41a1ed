"""What every test shares: a home, the order of tests, and what a test does without something that it needs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from pipeline.run.request import today

HOME = "PIPELINE_TEST_HOME"
"""The variable that names the home of all tests: roots, scanners, compiled steps, keys. It stays warm between runs."""

DAGGER_HOST = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"
"""The variable that names a running Dagger engine. Without it, no test is made for one."""

SECRETS = ("PIPELINE_SIGNING_KEY", "PIPELINE_SIGNING_PASSPHRASE")

FIRST = "test_the_release_holds_everything_the_requirement_names"
"""The test that makes the release which others read. It goes first, with whatever needs no release beside it."""

ALONE = ("tests/integration/test_release.py", "tests/integration/test_dagger_queries.py")
"""Files whose tests may run on both workers: what they share is the release."""


def _isolate() -> None:
    """Keep tests away from the user's home, store and keys; workers and children inherit it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(os.environ.setdefault(HOME, str(cache / "pipeline-tests"))).absolute()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / "gnupg").mkdir(mode=0o700, exist_ok=True)
    os.environ["PIPELINE_HOME"] = str(home)
    os.environ["GNUPGHOME"] = str(home / "gnupg")
    os.environ.setdefault("PIPELINE_TEST_DAY", today())
    for name in SECRETS:
        os.environ.pop(name, None)


_isolate()  # before any other module of the tests is read


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "also run what is heavy: more booted machines, second releases, peers that must be compiled"
    parser.addoption("--all", action="store_true", help=text)


def pytest_report_header() -> str:
    """Say which engines the contract tests run over."""
    if os.environ.get(DAGGER_HOST):
        return "engines under test: the embedded engine and Dagger"
    return f"engines under test: the embedded engine alone; set {DAGGER_HOST} to add Dagger"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is heavy, and order the rest so that two workers keep each other from waiting."""
    if not config.getoption("--all"):
        heavy = [item for item in items if item.get_closest_marker("heavy")]
        if heavy:
            config.hook.pytest_deselected(items=heavy)
            items[:] = [item for item in items if not item.get_closest_marker("heavy")]
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    names = getattr(item, "fixturenames", ())
    if item.name == FIRST:
        return 0
    return 2 if {"dist", "weed", "built"} & set(names) else 1


class Grouped(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives the tests of a file to one worker. (`--dist loadgroup` of xdist 3.8 has no effect under pytest 9.2.)"""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file in ALONE:
            return nodeid
        return "tests/vm/test_deb" if file.startswith("tests/vm/test_deb") else file  # one machine for all of these


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return Grouped(config, log)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run see."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def dist(shared: Path) -> Path:
    """The example's release. Who comes first makes it; who comes meanwhile waits for it."""
    for tool in ("bwrap", "mmdebstrap", "gpg"):
        require_tool(tool)
    from tests.integration.released import RELEASE, pipeline, succeeded

    folder = shared / "dist"
    with (shared / "dist.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "1.2.3").exists():
            assert succeeded(pipeline(*RELEASE, "--dist", str(folder))).strip() == str(folder / "1.2.3")
    return folder / "1.2.3"


def require_tool(name: str) -> str:
    """Return the path of the program `name`; without it, skip on a laptop and fail where `CI` is set."""
    return shutil.which(name) or lacking(f"{name} is not installed")


def require_root(why: str) -> None:
    """Skip on a laptop whose user is not root, and fail there where `CI` is set."""
    if os.geteuid() != 0:
        lacking(why)


def lacking(what: str) -> NoReturn:
    """Skip a test on a laptop for want of something, and fail it where `CI` is set."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and with CI set no test may be skipped for that")
    pytest.skip(what)


def running(mark: str) -> list[str]:
    """Return the command lines on this machine that contain `mark`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            text = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if mark in text:
                found.append(text)
    return found
