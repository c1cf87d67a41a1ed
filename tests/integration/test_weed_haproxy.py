"""HAProxy with the generated configuration, before real S3 servers."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from weedops import haproxy
from weedops.errors import OpsError
from weedops.haproxy_runtime import runtime
from weedops.paths import read_installed

from tests.conftest import require_tool
from tests.integration.weed_host import Host, Load, host
from tests.waiting import elapse, until

S3 = ["s3-1", "s3-2"]


@pytest.fixture(scope="module")
def served(weed: Path) -> Iterator[Host]:
    program = require_tool("haproxy")
    with host(weed, MASTER_INSTANCES="1", VOLUME_INSTANCES="1", FILER_INSTANCES="1") as made:
        made.with_haproxy(program)
        written = haproxy.write(made.paths, made.settings, read_installed(made.paths))
        assert (written.changed, written.refused) == (True, "")
        made.start()
        made.systemctl("start", "haproxy.service")
        wait_up(made, *S3)
        assert made.s3("PUT", "/bucket")[0] == 200
        assert made.s3("PUT", "/bucket/key", b"content")[0] == 200
        yield made


def wait_up(made: Host, *names: str) -> None:
    def up() -> bool:
        try:
            proxy = runtime(made.paths, S3)
            return proxy is not None and all(proxy.servers()[name].up for name in names)
        except OpsError:
            return False

    until(up, f"HAProxy does not find {names} up")


def down(made: Host, name: str) -> None:
    """Wait until HAProxy has found out that a server is gone."""
    proxy = runtime(made.paths, S3)
    assert proxy
    until(lambda: not proxy.servers()[name].up, f"HAProxy still finds {name} well")


def served_by(made: Host, backend: str = "weed_s3") -> dict[str, int]:
    """Return how many good answers each server has given, from HAProxy's own statistics."""
    proxy = runtime(made.paths, S3)
    assert proxy
    lines = proxy.command(f"show stat {backend} 4 -1").splitlines()
    header = lines[0].lstrip("# ").split(",")
    rows = [dict(zip(header, line.split(","), strict=True)) for line in lines[1:]]
    return {row["svname"]: int(row["hrsp_2xx"]) for row in rows}


def test_requests_go_to_each_server_in_turn(served: Host) -> None:
    before = served_by(served)
    for _ in range(20):
        assert served.s3("GET", "/bucket/key") == (200, b"content")
    after = served_by(served)
    assert {name: after[name] - before[name] for name in S3} == {"s3-1": 10, "s3-2": 10}


def test_a_killed_server_loses_no_request(served: Host) -> None:
    with Load(served) as load:
        load.more(50)
        os.kill(served.pid("weed-s3@1.service"), signal.SIGKILL)
        down(served, "s3-1")
        load.more(51)
    assert load.failed == []
    served.systemctl("restart", "weed-s3@1.service")
    wait_up(served, *S3)


def test_a_hung_server_is_taken_out_and_what_waits_for_it_goes_on_when_it_is_ended(served: Host) -> None:
    proxy = runtime(served.paths, S3)
    assert proxy
    hung = served.pid("weed-s3@1.service")
    os.kill(hung, signal.SIGSTOP)
    with ThreadPoolExecutor(4) as pool:
        try:
            asked = [pool.submit(served.s3, "GET", "/bucket/key") for _ in range(4)]
            down(served, "s3-1")
            assert served.s3("GET", "/bucket/key") == (200, b"content")
            assert not all(one.done() for one in asked)
        finally:
            os.kill(hung, signal.SIGKILL)  # what the watchdog comes to
        assert [one.result() for one in asked] == [(200, b"content")] * 4
    served.systemctl("restart", "weed-s3@1.service")
    wait_up(served, *S3)


def test_a_drained_server_gets_nothing_until_it_is_ready_again(served: Host) -> None:
    proxy = runtime(served.paths, S3)
    assert proxy
    try:
        assert proxy.drain("s3-1", 5) == 0
        before = served_by(served)
        for _ in range(6):
            assert served.s3("GET", "/bucket/key")[0] == 200
        assert served_by(served)["s3-1"] == before["s3-1"]
    finally:
        assert proxy.restore("s3-1", 10)
    for _ in range(6):
        served.s3("GET", "/bucket/key")
    assert served_by(served)["s3-1"] > before["s3-1"]


def test_draining_waits_for_a_request_that_runs(served: Host) -> None:
    with socket.create_connection(("127.0.0.1", served.proxy)) as slow:
        # More than one buffer, so that HAProxy sends it on before it has all.
        slow.sendall(b"PUT /bucket/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 40000\r\n\r\n" + b"x" * 30000)
        proxy = runtime(served.paths, S3)
        assert proxy
        busy = until(lambda: [name for name in S3 if proxy.servers()[name].sessions], "no server has the request")
        assert len(busy) == 1
        try:
            assert proxy.drain(busy[0], 1) == 1
            slow.sendall(b"x" * 10000)
            assert slow.recv(4096).startswith(b"HTTP/1.1 200")
            assert proxy.drain(busy[0], 5) == 0
        finally:
            assert proxy.restore(busy[0], 10)


def answered(made: Host) -> list[dict[str, int]]:
    """Return how many good answers each server has given, in both ways that requests can take."""
    return [served_by(made, backend) for backend in ("weed_s3", "weed_s3_wait")]


def test_requests_that_are_held_wait_and_then_go_on(served: Host) -> None:
    proxy = runtime(served.paths, S3)
    assert proxy
    with Load(served) as load:
        load.more(10)
        try:
            assert proxy.hold(10) == 0
            before = answered(served)
            elapse(4, "nothing is answered")
            assert answered(served) == before, "nothing is answered while requests are held"
        finally:
            proxy.release()
        load.more(10)
    assert answered(served) != before  # leaving Load waits for the requests that were held
    assert load.failed == []
    assert load.slowest > 4, "requests were held"
    assert proxy.servers("weed_s3_wait")["hold"].status == "MAINT"


def test_no_server_is_an_answer_that_s3_clients_understand(served: Host) -> None:
    proxy = runtime(served.paths, S3)
    assert proxy
    for name in S3:
        proxy.set_state(name, "maint")
    try:
        status, body = served.s3("GET", "/bucket/key")
        assert (status, b"<Code>ServiceUnavailable</Code>" in body) == (503, True)
    finally:
        for name in S3:
            proxy.set_state(name, "ready")
        wait_up(served, *S3)


def test_the_log_names_client_and_status_and_no_signature(served: Host) -> None:
    assert served.s3("GET", "/bucket/missing?X-Amz-Signature=secret")[0] == 404
    line = until(
        lambda: next((one for one in served.log("haproxy.service").splitlines() if "/bucket/missing" in one), ""),
        "HAProxy has not written of the request",
    )
    assert line.startswith("<6>127.0.0.1:")
    assert " weed_s3_in weed_s3/s3-" in line
    assert " 404 " in line
    assert line.rstrip().endswith('"GET /bucket/missing HTTP/1.1"')
    assert "secret" not in line


def test_a_client_over_its_rate_is_told_to_slow_down(weed: Path) -> None:
    program = require_tool("haproxy")
    with host(weed, MASTER_INSTANCES="1", VOLUME_INSTANCES="0", FILER_INSTANCES="1", S3_RATE_LIMIT="1") as made:
        made.with_haproxy(program)
        haproxy.write(made.paths, made.settings, read_installed(made.paths))
        made.start()
        made.systemctl("start", "haproxy.service")
        wait_up(made, *S3)
        for _ in range(5):
            start = time.monotonic()
            answers = [made.s3("GET", "/") for _ in range(15)]
            if time.monotonic() - start < 9:
                break
            elapse(21, "HAProxy forgets these")
        else:
            pytest.fail("fifteen requests take longer than the ten seconds in which ten are allowed")
        assert [status for status, _ in answers] == [200] * 10 + [503] * 5
        assert b"<Code>SlowDown</Code>" in answers[-1][1]


def test_a_configuration_that_haproxy_refuses_leaves_the_old_one(served: Host) -> None:
    snippet = served.root / "etc/haproxy/conf.d/weed-s3.cfg"
    before = snippet.read_text()
    conf = served.root / "etc/default/weed/weed.conf"
    text = conf.read_text()
    conf.write_text(text + "S3_PROXY_TLS_CERT=/nowhere/cert.pem\n")
    try:
        written = haproxy.write(served.paths, served.settings, read_installed(served.paths))
    finally:
        conf.write_text(text)
    assert not written.changed
    assert "/nowhere/cert.pem" in written.refused
    assert snippet.read_text() == before
    assert [path.name for path in snippet.parent.iterdir()] == ["weed-s3.cfg"]
