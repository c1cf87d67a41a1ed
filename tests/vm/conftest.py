"""Machines, one for each kind of host, each started once and used by its tests in the order they are written in."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from tests.conftest import require_tool
from tests.vm import host, packages
from tests.vm.container import Container
from tests.vm.image import Base, base_image
from tests.vm.machine import Machine
from tests.vm.system import MachineError, System


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


@pytest.fixture(scope="session")
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> packages.Packages:
    """The packages under test."""
    for tool in ("bwrap", "mmdebstrap", "gpg"):
        require_tool(tool)
    example = partial(request.getfixturevalue, "dist")
    return packages.build(tmp_path_factory.mktemp("packages"), example, older=request.config.getoption("--all"))


def with_haproxy(machine: System) -> None:
    """Make HAProxy read conf.d, as the doctor says how to."""
    machine.write("/etc/default/haproxy", 'EXTRAOPTS="-f /etc/haproxy/conf.d"\n')
    machine.run("mkdir -p /etc/haproxy/conf.d; systemctl restart haproxy")


@pytest.fixture(scope="session")
def deb(
    request: pytest.FixtureRequest, base: Base, built: packages.Packages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """A Debian host with HAProxy, which reads conf.d as an administrator makes it do.

    With `--all` it is a booted machine, with AppArmor; everyday it is a root in namespaces, which starts in a second.
    """
    folder = tmp_path_factory.mktemp("deb")
    payload = {"packages": built.place(tmp_path_factory.mktemp("deb-packages"))}
    host = Machine if request.config.getoption("--all") else Container
    with host(base, payload, folder=folder) as made:
        with_haproxy(made)
        yield made


@pytest.fixture(scope="session")
def rpm(base: Base, built: packages.Packages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A host that enforces SELinux, with rpm and HAProxy. The policy has the name that Oracle Linux gives it."""
    folder = tmp_path_factory.mktemp("rpm")
    payload = {"packages": built.place(tmp_path_factory.mktemp("rpm-packages"))}
    with Machine(base, payload, folder=folder, security="selinux") as machine:
        machine.run("ln -s default /etc/selinux/targeted; ln -s default /var/lib/selinux/targeted")
        with_haproxy(machine)
        yield machine


@dataclass(frozen=True)
class Before:
    """What a host held before a package came."""

    files: frozenset[str]


@pytest.fixture(scope="session")
def before(deb: System) -> Before:
    """What was on the Debian host before."""
    return Before(frozenset(host.files_of(deb, *host.SYSTEM_FOLDERS)))


@pytest.fixture(scope="session")
def installed(deb: System, before: Before, built: packages.Packages) -> System:
    """The Debian host with the package: installed as it comes, healthy, then given keys for S3."""
    host.apt_install(deb, f"current/{built.product}_*_amd64.deb")
    host.healthy(deb)
    return deb


@pytest.fixture(scope="session")
def serving(installed: System) -> System:
    """The same host with keys for S3, and a bucket."""
    host.with_room(installed)
    host.with_keys(installed)
    host.aws(installed, f"s3 mb s3://{host.BUCKET}")
    return installed


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the ends of console and journal with a failed test, unless the error holds them already."""
    report = yield
    if report.when == "call" and report.failed and call.excinfo and not call.excinfo.errisinstance(MachineError):
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, System):
                report.sections.append(("machine", value.evidence()))
    return report
