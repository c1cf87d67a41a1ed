"""The machines themselves: a test that uses one can fail, in every way in which a machine can."""

from __future__ import annotations

import re

import pytest

from tests.vm.guest.agent import SEAL
from tests.vm.machine import BOOT, Machine
from tests.vm.system import MachineError
from tests.waiting import lasting


def test_a_commands_exit_code_and_streams_are_kept(plain: Machine) -> None:
    done = plain.run("echo out; echo err >&2; cat; exit 7", given=b"given\n", check=False)
    assert (done.code, done.stdout, done.stderr) == (7, "out\ngiven\n", "err\n")
    assert plain.run("kill -TERM $$", check=False).code == -15
    assert plain.run("cat", given=bytes(range(32, 127)) * 10_000).stdout == bytes(range(32, 127)).decode() * 10_000


def test_a_failed_command_raises_with_the_ends_of_journal_and_console(plain: Machine) -> None:
    with pytest.raises(
        MachineError, match=re.compile("ended with 3.*the journal's end:.*marked.*console's end", re.DOTALL)
    ):
        plain.run("logger marked; journalctl --sync; exit 3")


def test_a_command_that_hangs_is_stopped_and_what_it_leaves_behind_does_not_matter(plain: Machine) -> None:
    assert plain.run(lasting("317.7421"), timeout=1, check=False).code is None
    assert plain.run(f"{lasting('317.7421')} & echo $!").code == 0


def test_waiting_ends_with_the_last_words(plain: Machine) -> None:
    plain.run("systemd-run --quiet --on-active=2 --timer-property=AccuracySec=1ms touch /tmp/there")
    plain.wait("test -e /tmp/there", timeout=60)
    with pytest.raises(MachineError, match="not within 2 s"):
        plain.wait("echo not yet; false", timeout=2)


def test_the_machine_has_systemd_as_its_first_process_and_no_network(plain: Machine) -> None:
    assert plain.run("cat /proc/1/comm").text == "systemd"
    assert plain.run("systemctl is-system-running --wait", check=False, timeout=BOOT).text == "running"
    assert plain.run("ls /sys/class/net").text == "lo"


def test_files_outlive_a_reboot_and_memory_does_not(plain: Machine) -> None:
    plain.write("/var/lib/kept", "kept\n")
    plain.write("/run/lost", "lost\n")
    before = plain.run("cat /proc/sys/kernel/random/boot_id").text
    plain.reboot()
    assert plain.read("/var/lib/kept") == "kept\n"
    assert plain.run("test -e /run/lost", check=False).code == 1
    assert plain.boots == [before, plain.run("cat /proc/sys/kernel/random/boot_id").text]


def test_only_the_machine_that_did_every_step_passes(plain: Machine) -> None:
    plain.attest()
    plain.run(f"cp {SEAL} /root/seal; echo success > {SEAL}")
    with pytest.raises(MachineError, match="did not carry out all"):
        plain.attest()


def test_a_machine_that_panics_fails_the_step_and_all_later_ones(plain: Machine) -> None:
    with pytest.raises(MachineError, match=r"Kernel panic|rebooted unasked"):
        plain.run(f"echo c > /proc/sysrq-trigger; {lasting('317.7421')}")
    with pytest.raises(MachineError, match="an earlier step broke this machine"):
        plain.run("true")
    with pytest.raises(MachineError, match="an earlier step broke this machine"):
        plain.finish()
