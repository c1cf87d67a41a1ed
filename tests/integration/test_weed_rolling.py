"""The rolling restart of a whole host under load, and where it stops. Health checks of what is up, down and hung."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from weedops import haproxy
from weedops.cluster import Cluster
from weedops.haproxy_runtime import runtime
from weedops.paths import read_installed

from tests.conftest import require_root, require_tool
from tests.integration.test_weed_haproxy import wait_up
from tests.integration.weed_host import Host, Load, host
from tests.waiting import until

ROLLING = "weed-rolling-restart"


@contextmanager
def behind_haproxy(weed: Path, *servers: str, **settings: str) -> Iterator[Host]:
    """Yield a host that runs, with HAProxy in front of its S3 servers."""
    program = require_tool("haproxy")
    require_root("only root may run weed-rolling-restart")
    with host(weed, **settings) as made:
        made.with_haproxy(program)
        haproxy.write(made.paths, made.settings, read_installed(made.paths))
        made.start()
        made.systemctl("start", "haproxy.service")
        wait_up(made, *servers)
        yield made


@pytest.fixture(scope="module")
def default(weed: Path) -> Iterator[Host]:
    """Two of each, as weed.conf comes, with HAProxy in front."""
    with behind_haproxy(weed, "s3-1", "s3-2") as made:
        yield made


def restarts(made: Host) -> list[str]:
    return [call.split()[1] for call in made.calls() if call.startswith("restart ")]


def leader(made: Host) -> str:
    def only() -> str:
        leaders = Cluster(made.settings, read_installed(made.paths), made.paths).leaders()
        return leaders[0].name if len(leaders) == 1 else ""

    return until(only, "no leader")


def test_everything_is_restarted_under_load_and_no_request_fails(default: Host) -> None:
    last = leader(default)
    before = len(restarts(default))
    with Load(default) as load:
        load.more(20)
        done = default.script(ROLLING)
        load.more(20)
    assert done.returncode == 0, done.stderr
    assert load.failed == []
    assert load.done > 500
    units = restarts(default)[before:]
    names = [unit.replace("weed-", "").replace("@", "-").replace(".service", "") for unit in units]
    first = "master-2" if last == "master-1" else "master-1"
    assert names == ["volume-1", "volume-2", "filer-1", "filer-2", "s3-1", "s3-2", first, last]
    assert "s3-1       out of HAProxy" in done.stdout
    assert "back in HAProxy" in done.stdout
    assert done.stdout.endswith("all restarted and healthy\n")


def test_a_dry_run_names_the_order_and_restarts_nothing(default: Host) -> None:
    before = restarts(default)
    done = default.script(ROLLING, "--dry-run", "--role", "s3", "volume-2")
    assert done.returncode == 0, done.stderr
    assert "to restart, in this order: volume-2 s3-1 s3-2" in done.stdout
    assert restarts(default) == before


def test_it_does_not_begin_while_another_one_of_the_role_is_sick(default: Host) -> None:
    before = restarts(default)
    default.systemctl("stop", "weed-filer@1.service")
    try:
        done = default.script(ROLLING, "filer-2")
    finally:
        default.systemctl("start", "weed-filer@1.service")
    assert done.returncode == 1
    assert "filer-2 cannot be spared: filer-1 is not healthy" in done.stderr
    assert restarts(default) == before


def test_it_does_not_begin_with_a_configuration_that_would_not_start(default: Host) -> None:
    broken = default.root / "etc/weed/filer-2.toml"
    broken.write_text("[leveldb2\n")
    before = restarts(default)
    try:
        done = default.script(ROLLING)
    finally:
        broken.unlink()
    assert done.returncode == 78
    assert "filer-2 would not start again" in done.stderr
    assert str(broken) in done.stderr
    assert restarts(default) == before


def test_it_stops_at_the_first_failure_and_what_it_says_goes_on(default: Host) -> None:
    server = default.root / "opt/weed/weed"
    good = server.readlink()
    server.unlink()
    server.write_text("#!/bin/sh\nexit 1\n")
    server.chmod(0o755)
    before = len(restarts(default))
    try:
        done = default.script(ROLLING, "s3", "--timeout", "5")
    finally:
        server.unlink()
        server.symlink_to(good)
    assert done.returncode == 1
    assert "s3-1 was not restarted" in done.stderr
    assert "journalctl -u weed-s3@1.service" in done.stderr
    assert done.stderr.rstrip().endswith("to continue: weed-rolling-restart s3-1 s3-2")
    assert restarts(default)[before:] == ["weed-s3@1.service"]
    assert default.s3("GET", "/")[0] == 200, "s3-2 goes on"
    resumed = default.script(ROLLING, "s3-1", "s3-2")
    assert resumed.returncode == 0, resumed.stderr
    wait_up(default, "s3-1", "s3-2")


def test_two_runs_at_once_are_refused(default: Host) -> None:
    import fcntl

    with (default.root / "run/weed-rolling-restart.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = default.script(ROLLING, "--dry-run")
    assert done.returncode == 1
    assert "another weed-rolling-restart is running" in done.stderr


def test_the_last_server_that_haproxy_uses_is_not_spared(default: Host) -> None:
    """The other one is healthy, and an administrator has taken it out of HAProxy."""
    proxy = runtime(default.paths, ["s3-1", "s3-2"])
    assert proxy is not None
    before = restarts(default)
    proxy.set_state("s3-2", "drain")
    try:
        done = default.script(ROLLING, "s3-1")
        own = default.script(ROLLING, "s3-2")
        assert not proxy.servers()["s3-2"].up, "what an administrator took out stays out"
    finally:
        proxy.set_state("s3-2", "ready")
    assert done.returncode == 1
    assert "s3-1 cannot be spared: HAProxy sends requests to no other S3 server (s3-2 is DRAIN)" in done.stderr
    assert f"set server weed_s3/s3-2 state ready' | socat stdio {proxy.path}" in done.stderr
    assert own.returncode == 0, own.stderr
    assert restarts(default)[len(before) :] == ["weed-s3@2.service"]
    wait_up(default, "s3-1", "s3-2")


def test_servers_that_cannot_be_drained_are_not_restarted(default: Host) -> None:
    config = default.root / "etc/haproxy/haproxy.cfg"
    text = config.read_text()
    config.write_text(text.replace("level admin", ""))
    try:
        done = default.script(ROLLING, "s3")
        assert done.returncode == 1
        assert "level admin" in done.stderr
        assert default.script(ROLLING, "s3", "--no-drain", "--dry-run").returncode == 0
    finally:
        config.write_text(text)


def test_the_only_one_of_a_role_is_restarted_only_when_that_is_accepted(weed: Path) -> None:
    with host(weed, MASTER_INSTANCES="1", VOLUME_INSTANCES="1", FILER_INSTANCES="0", S3_INSTANCES="0") as made:
        made.start()
        done = made.script(ROLLING, "volume")
        assert done.returncode == 1
        assert "--allow-interruption" in done.stderr
        assert "only master" in made.script(ROLLING, "master").stderr
        done = made.script(ROLLING, "--allow-interruption")
        assert done.returncode == 0, done.stderr
        assert restarts(made) == ["weed-volume@1.service", "weed-master@1.service"]


def test_health_of_what_is_up_down_and_hung(default: Host) -> None:
    done = default.script("healthcheck.sh")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("WEED OK - 8 of 8 instances are healthy | healthy=8;;;0;8")
    default.systemctl("stop", "weed-s3@2.service")
    pid = default.pid("weed-filer@1.service")
    os.kill(pid, signal.SIGSTOP)
    try:
        report = json.loads(default.script("healthcheck.sh", "--json", "--timeout", "10").stdout)
        assert default.script("healthcheck.sh", "s3-1").returncode == 0
        assert default.script("healthcheck.sh", "s3").returncode == 2
    finally:
        os.kill(pid, signal.SIGCONT)
        default.systemctl("start", "weed-s3@2.service")
    assert (report["state"], report["code"]) == ("critical", 2)
    bad = {one["name"]: one["detail"] for one in report["instances"] if one["state"] != "ok"}
    assert set(bad) == {"s3-2", "filer-1"}
    assert "Connection refused" in bad["s3-2"]
    assert re.search(r"no answer within (10|9\.\d) s", bad["filer-1"]), bad["filer-1"]


def test_a_master_without_a_leader_is_critical(weed: Path) -> None:
    with host(weed, MASTER_INSTANCES="3", VOLUME_INSTANCES="0", FILER_INSTANCES="0", S3_INSTANCES="0") as made:
        made.start()
        made.systemctl("stop", "weed-master@2.service")
        until_it_says(made, "master-1", 0, "WEED OK")  # two of three elect a leader, if it was the one that stopped
        made.systemctl("stop", "weed-master@3.service")
        until_it_says(made, "master-1", 2, "503: no leader is elected")


def until_it_says(made: Host, name: str, code: int, words: str) -> None:
    """Wait until the health check of an instance ends with `code` and says `words`."""
    said = ""

    def says() -> bool:
        nonlocal said
        done = made.script("healthcheck.sh", name)
        said = done.stdout
        return done.returncode == code and words in said

    until(says, lambda: said, pause=0.5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("s3-9",), "weed-s3@9 is not an instance of this host"),
        (("gateway",), "there is no role 'gateway'"),
        (("--timeout", "soon"), "must be a number of seconds"),
    ],
)
def test_a_wrong_question_is_unknown(default: Host, arguments: tuple[str, ...], says: str) -> None:
    done = default.script("healthcheck.sh", *arguments)
    assert done.returncode == 3
    assert says in done.stdout + done.stderr


def test_a_wrong_question_is_answered_in_json_where_that_was_asked_for(default: Host) -> None:
    done = default.script("healthcheck.sh", "--json", "s3-9")
    report = json.loads(done.stdout)
    assert (done.returncode, report["state"], report["code"]) == (3, "unknown", 3)
    assert "weed-s3@9 is not an instance of this host" in report["instances"][0]["detail"]


def test_an_unreadable_configuration_is_unknown(weed: Path) -> None:
    with host(weed) as made:
        (made.root / "etc/default/weed/weed.conf").write_text("MASTER_INSTANCE=2\n")
        done = made.script("healthcheck.sh", "--json")
        assert (done.returncode, json.loads(done.stdout)["state"]) == (3, "unknown")
        assert "did you mean MASTER_INSTANCES?" in done.stdout
