"""The DEB on a host with systemd: what an installation brings up, who owns it, and how it is hardened."""

from __future__ import annotations

import json

import pytest

from tests.vm.conftest import Before
from tests.vm.host import PROXY, ROLES, SHOW_STAT, UNITS, files_of, healthy, pid, status_of, version
from tests.vm.packages import Packages
from tests.vm.system import System

MODES = {
    "/opt/weed": "755 root:root",
    "/opt/weed/weed": "755 root:root",
    "/opt/weed/healthcheck.sh": "755 root:root",
    "/etc/default/weed": "755 root:root",
    "/etc/default/weed/weed.conf": "644 root:root",
    "/etc/default/weed/security.toml": "640 root:weed",
    "/etc/weed": "750 root:weed",
    "/var/log/weed": "750 weed:weed",
    "/var/log/weed/master-1.log": "640 weed:weed",
    "/var/lib/weed": "755 root:root",
    "/var/lib/weed/volume-2": "750 weed:weed",
    "/run/weed/filer-1": "750 weed:weed",
    "/etc/haproxy/conf.d/weed-s3.cfg": "644 root:root",
}


def test_an_installation_starts_two_of_each_without_a_word_from_anybody(installed: System) -> None:
    healthy(installed)  # on a starved machine the watchdog may just have started one again
    for unit in UNITS:
        installed.wait(f"systemctl is-active {unit}")
        assert installed.run(f"systemctl is-enabled {unit}").text == "enabled"
    assert installed.run("systemctl --failed --plain --no-legend").text == ""
    assert installed.run("systemctl is-active weed.target haproxy").text == "active\nactive"


def test_the_binary_on_the_path_is_the_release(installed: System, built: Packages) -> None:
    assert version(installed) == built.version
    assert f"VERSION={built.version}" in installed.read("/opt/weed/release")


def test_the_user_has_no_login_and_no_home_and_runs_everything(installed: System) -> None:
    name, _, number, _, _, home, shell = installed.run("getent passwd weed").text.split(":")
    assert (name, home, shell) == ("weed", "/nonexistent", "/usr/sbin/nologin")
    assert int(number) < 1000
    assert installed.run("getent shadow weed").text.split(":")[1].startswith(("!", "*"))
    users = installed.run("ps --no-headers -o user:20 -C weed,weed-launch").text.split()
    assert users == ["weed"] * 16, "a launcher and a server each"


@pytest.mark.parametrize(("path", "expected"), MODES.items())
def test_mode_and_owner(installed: System, path: str, expected: str) -> None:
    assert installed.run(f"stat --format '%a %U:%G' {path}").text == expected


def test_both_masters_have_the_same_leader(installed: System) -> None:
    masters = [f"http://127.0.0.1:{port}" for port in (9333, 9334)]
    for master in masters:  # a host that stands still for some seconds makes them elect again
        installed.wait(
            f"curl -sf {master}/cluster/healthz && curl -sf {master}/cluster/status | grep Leader", timeout=60
        )
    answers = [json.loads(installed.run(f"curl -sf {master}/cluster/status").text) for master in masters]
    assert len({answer["Leader"].split(".1")[0] for answer in answers}) == 1
    assert sum(bool(answer.get("IsLeader")) for answer in answers) == 1
    assert [status_of(installed, f"{master}/cluster/healthz") for master in masters] == [200, 200]


def test_haproxy_reads_the_generated_file_and_finds_both_servers(installed: System) -> None:
    installed.run("haproxy -c -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/conf.d")
    installed.wait(f"test $({SHOW_STAT} | grep -c '^weed_s3,s3-[12],.*,UP,') = 2", timeout=60)
    assert status_of(installed, f"{PROXY}/") == 200


def test_the_health_check_and_the_doctor_agree_that_all_is_well(installed: System) -> None:
    assert json.loads(installed.run("/opt/weed/healthcheck.sh --json").text)["state"] == "ok"
    findings = json.loads(installed.run("weed doctor --json", check=False).stdout)
    assert len(findings) > 10
    assert [finding for finding in findings if finding["severity"] == "error"] == []


@pytest.mark.parametrize("role", ROLES)
def test_the_exposure_is_at_most_1_3(installed: System, role: str) -> None:
    said = installed.run(f"systemd-analyze security --no-pager --threshold=13 weed-{role}@1.service").text
    level = float(said.splitlines()[-1].rpartition(": ")[2].split()[0])
    assert 0 < level <= 1.3


@pytest.mark.parametrize("role", ROLES)
def test_every_instance_has_its_fields_in_the_journal_and_its_metrics(installed: System, role: str) -> None:
    for number in (1, 2):
        said = installed.run(f"journalctl --no-pager -o cat WEED_ROLE={role} WEED_INSTANCE={number}").text
        assert "ready" in said
        port = 9324 + ROLES.index(role) + 100 * (number - 1)
        assert "# TYPE" in installed.run(f"curl -sf http://127.0.0.1:{port}/metrics").text


def test_the_units_hold_their_promises_in_the_running_processes(installed: System) -> None:
    main = installed.run("systemctl show --value --property MainPID weed-s3@1").text
    status = dict(line.split(":\t", 1) for line in installed.read(f"/proc/{main}/status").splitlines() if ":\t" in line)
    assert (status["NoNewPrivs"], status["Seccomp"], status["CapBnd"]) == ("1", "2", "0" * 16)
    assert most_files(installed, main) == (1048576 if may_raise_limits(installed) else most_files(installed, "1"))


def most_files(host: System, process: str) -> int:
    """Return how many files a process may have open."""
    return int(host.run(f"grep 'Max open files' /proc/{process}/limits").text.split()[4])


def may_raise_limits(host: System) -> bool:
    """Return whether systemd has CAP_SYS_RESOURCE (24): not every machine that runs a container gives it away."""
    return bool(int(host.run("grep CapEff /proc/1/status").text.split()[1], 16) & 1 << 24)


def test_the_servers_listen_on_loopback_at_the_ports_of_the_guide_and_nowhere_else(installed: System) -> None:
    said = installed.run("ss --listening --tcp --numeric --no-header --processes").stdout
    rows = [(line.split()[3], line) for line in said.splitlines()]
    first = {"master": 9333, "volume": 8080, "filer": 8888, "s3": 8333}
    expected = {
        f"127.0.0.1:{port}"
        for kind, role in enumerate(ROLES)
        for number in (0, 1)
        for port in (first[role] + number, first[role] + number + 10000, 9324 + kind + 100 * number)
    }
    assert {address for address, line in rows if '"weed' in line} == expected
    assert {address for address, line in rows if '"haproxy"' in line} == {"127.0.0.1:8300"}


def test_a_server_starts_where_the_stig_has_noexec(installed: System) -> None:
    """OL08-00-040125, 040128, 040134 and 010590. /home it does not see at all."""
    places = "/tmp /var/tmp /var/log /home"
    installed.run(f"for p in {places}; do mount --bind $p $p && mount -o remount,bind,noexec $p || exit; done")
    installed.run("systemctl restart weed-s3@2", timeout=300)
    assert status_of(installed, "http://127.0.0.1:8334/healthz") == 200
    mounts = [line.split() for line in installed.read(f"/proc/{pid(installed, 's3-2')}/mountinfo").splitlines()]
    for place in ("/tmp", "/var/tmp", "/var/log", "/var/log/weed"):
        holders = [mount for mount in mounts if f"{place}/".startswith(f"{mount[4].rstrip('/')}/")]
        holder = max(enumerate(holders), key=lambda each: (len(each[1][4]), each[0]))[1]  # the last one lies on top
        assert "noexec" in holder[5], f"{place}: {holders}"
    installed.run(f"umount --lazy {places}; systemctl restart weed-s3@2", timeout=300)
    healthy(installed)


def test_nothing_lies_where_the_package_does_not_say(installed: System, before: Before, built: Packages) -> None:
    listed = set(installed.run(f"dpkg --listfiles {built.product}").text.splitlines())
    there = files_of(installed, "/opt", "/usr", "/etc/default", "/etc/weed") - before.files
    assert sorted(there - listed - {f"/usr{path}" for path in listed}) == []
