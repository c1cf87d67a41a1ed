"""A rolling restart that is ended in the middle, and one whose other servers are on other hosts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from weedops.haproxy_runtime import Runtime, runtime

from tests.conftest import require_root, require_tool
from tests.integration.test_weed_haproxy import S3, wait_up
from tests.integration.test_weed_rolling import ROLLING, behind_haproxy, leader, restarts
from tests.integration.weed_host import Host, host
from tests.waiting import lasting, until

SLOW = '#!/bin/sh\n[ "$1" = restart ] && exec {lasts}\nexec {python} {root}/usr/bin/systemctl.py "$@"\n'
"""A systemctl whose restart takes longer than anybody waits, and touches nothing."""


@pytest.fixture(scope="module")
def served(weed: Path) -> Iterator[Host]:
    with behind_haproxy(weed, *S3, MASTER_INSTANCES="1", VOLUME_INSTANCES="1", FILER_INSTANCES="1") as made:
        yield made


@contextmanager
def in_the_middle(made: Host, says: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Begin a rolling restart and wait until it `says` something; its restart does not end then."""
    systemctl = made.root / "usr/bin/systemctl"
    before = systemctl.read_text()
    systemctl.write_text(SLOW.format(python=sys.executable, root=made.root, lasts=lasting("316.7421")))
    # As from a terminal: started with nohup or in the background, as CI may be, signals are ignored, and rightly so.
    argv = [require_tool("env"), "--default-signal=HUP,INT,TERM", sys.executable, "-IB"]
    argv += [f"{made.root}/opt/weed/libexec/{ROLLING}", "--root", str(made.root), *arguments]
    try:
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as run:
            assert run.stdout
            assert any(says in line for line in run.stdout)
            yield run
    finally:
        systemctl.write_text(before)


def proxy_of(made: Host) -> Runtime:
    found = runtime(made.paths, S3)
    assert found
    return found


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_lost_session_leaves_every_s3_server_in_haproxy(served: Host, number: signal.Signals) -> None:
    with in_the_middle(served, "s3-1       out of HAProxy", "s3") as run:
        assert not proxy_of(served).servers()["s3-1"].up
        run.send_signal(number)
        _, said = run.communicate(timeout=30)
    assert run.returncode == 1
    assert "stopped at s3-1" in said
    assert said.endswith("to continue: weed-rolling-restart s3-1 s3-2\n")
    wait_up(served, *S3)
    assert proxy_of(served).taken_out() == []


def test_a_lost_session_ends_the_waiting_of_requests(served: Host) -> None:
    name = leader(served)
    with in_the_middle(served, "requests wait in HAProxy", "--allow-interruption", name) as run:
        assert not proxy_of(served).servers("weed_s3_wait")["hold"].asleep
        run.send_signal(signal.SIGHUP)
        _, said = run.communicate(timeout=30)
    assert f"to continue: weed-rolling-restart {name}" in said
    assert proxy_of(served).servers("weed_s3_wait")["hold"].asleep
    wait_up(served, *S3)
    assert served.s3("GET", "/")[0] == 200


def test_what_a_killed_run_has_left_is_undone_and_what_an_administrator_drained_is_not(served: Host) -> None:
    proxy = proxy_of(served)
    proxy.set_state("s3-2", "drain")
    try:
        with in_the_middle(served, "requests wait in HAProxy", "--allow-interruption", leader(served)) as run:
            os.killpg(run.pid, signal.SIGKILL)
        assert not proxy.servers()["s3-1"].up
        done = served.script(ROLLING, "--allow-interruption", "filer-1")
        assert done.returncode == 0, done.stderr
        assert "s3-1       back in HAProxy: a run that was stopped had taken it out" in done.stdout
        assert "s3-2 " not in done.stdout
        assert proxy.servers("weed_s3_wait")["hold"].asleep
        wait_up(served, "s3-1")
        done = served.script(ROLLING, "s3-2")
        assert done.returncode == 0, done.stderr
        assert "s3-2       out of HAProxy, as it was before, and stays out" in done.stdout
        assert proxy.servers()["s3-2"].status == "DRAIN"
    finally:
        proxy.set_state("s3-2", "ready")
    wait_up(served, *S3)


def test_servers_of_other_hosts_do_for_those_of_this_one(weed: Path) -> None:
    """Two hosts, each with one volume server and one filer, as in the example three-hosts."""
    require_root("only root may run weed-rolling-restart")
    one = {"VOLUME_INSTANCES": "1", "FILER_INSTANCES": "1", "S3_INSTANCES": "0"}
    with host(weed, MASTER_INSTANCES="1", **one) as first:
        first.start()
        masters = ",".join(first.settings.masters)
        with host(weed, MASTER_INSTANCES="0", MASTER_PEERS=masters, **one) as second:
            second.start()
            assert "--allow-interruption" in first.script(ROLLING, "filer").stderr, "it does not know the other one"
            conf = first.root / "etc/default/weed/weed.conf"
            conf.write_text(conf.read_text() + f"FILER_PEERS={second.settings.filers[0]}\n")
            for here in (first, second):
                names = ("volume", "filer") if here is first else ("volume",)
                done = here.script(ROLLING, *names)
                assert done.returncode == 0, done.stderr
            assert restarts(first) == ["weed-volume@1.service", "weed-filer@1.service"]
            second.systemctl("stop", "weed-filer@1.service")
            assert "filer-1 is the only one" in first.script(ROLLING, "filer").stderr
            pid = second.pid("weed-volume@1.service")
            until_refused(first, "a volume server of another host is not healthy", stopped=pid)
            second.systemctl("stop", "weed-volume@1.service")
            until_refused(first, "the only one")


def until_refused(made: Host, words: str, stopped: int = 0) -> None:
    """Wait until a restart of the volume servers is refused with `words`; a process is `stopped` while it is asked."""
    said = ""

    def refused() -> bool:
        nonlocal said
        if stopped:
            os.kill(stopped, signal.SIGSTOP)
        try:
            said = made.script(ROLLING, "--dry-run", "volume").stderr
        finally:
            if stopped:
                os.kill(stopped, signal.SIGCONT)
        return words in said

    # Stopped for over five seconds, as on a busy machine, the leader forgets a server: between two questions it beats.
    until(refused, lambda: said, pause=2 if stopped else 0.5)
