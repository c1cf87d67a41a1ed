"""The root with a systemd of its own: what it keeps of a command, what it cannot reach, and what it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm.container import Container
from tests.vm.image import Base
from tests.vm.system import MachineError
from tests.waiting import lasting


@pytest.fixture(scope="module")
def host(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with Container(base, {}, folder=tmp_path_factory.mktemp("container")) as made:
        yield made


def test_a_commands_exit_code_and_streams_are_kept(host: Container) -> None:
    done = host.run("echo out; echo err >&2; cat; exit 7", given=b"given\n", check=False)
    assert (done.code, done.stdout, done.stderr) == (7, "out\ngiven\n", "err\n")
    assert host.run(lasting("318.7421"), timeout=1, check=False).code is None


def test_a_failed_command_raises_with_the_journals_end(host: Container) -> None:
    with pytest.raises(MachineError, match=r"(?s)ended with 3.*the journal's end:.*marked"):
        host.run("logger marked; journalctl --sync; exit 3")


def test_systemd_is_its_first_process_and_it_has_no_network(host: Container) -> None:
    assert host.run("cat /proc/1/comm").text == "systemd"
    assert host.run("systemctl is-system-running --wait", check=False).text == "running"
    assert host.run("ls /sys/class/net").text == "lo"
    assert host.run("systemd-detect-virt --container", check=False).text == "container-other"


def test_it_can_change_nothing_of_this_machines_kernel_and_files(host: Container) -> None:
    before = Path("/proc/sys/vm/swappiness").read_text()
    assert host.run("echo 1 > /proc/sys/vm/swappiness", check=False).code != 0
    assert host.run("mkdir /sys/kernel/x", check=False).code != 0
    assert Path("/proc/sys/vm/swappiness").read_text() == before
    host.run("echo here > /etc/only-here")
    assert not Path("/etc/only-here").exists()


def test_nothing_of_it_is_left(base: Base, tmp_path: Path) -> None:
    with Container(base, {}, folder=tmp_path) as made:
        made.run("systemctl start haproxy; (exec setsid " + lasting("319.7421") + ") & disown")
        assert [path for path in made.group.rglob("cgroup.procs") if path.read_text()]
        first = made.first()
    assert not made.group.exists()
    assert not Path(f"/proc/{first}").exists()
    assert not any((tmp_path / "layer").iterdir())
