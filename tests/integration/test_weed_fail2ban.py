"""fail2ban: who guesses S3 keys is found in what a real HAProxy writes about a real S3 server, and nobody else is."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from weedops import haproxy
from weedops.paths import read_installed

from tests.conftest import require_tool
from tests.integration.s3_signature import signed
from tests.integration.weed_host import PRODUCT, Host, host
from tests.waiting import until

KEY, SECRET = "AKIDEXAMPLE", "a-secret-of-the-tests"
IDENTITIES = {
    "identities": [
        {"name": "app", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]},
        {"name": "reader", "credentials": [{"accessKey": "READER", "secretKey": SECRET}], "actions": ["Read:other"]},
    ]
}
PREFIX = "Nov 21 12:14:14 machine haproxy[14389]: "


@dataclass(frozen=True)
class Logs:
    """What was written while every kind of request was made."""

    host: Host
    statuses: dict[str, int]
    haproxy: list[str]
    weed: str


@pytest.fixture(scope="module")
def logs(weed: Path) -> Iterator[Logs]:
    program = require_tool("haproxy")
    with host(weed, MASTER_INSTANCES="1", VOLUME_INSTANCES="0", FILER_INSTANCES="1", S3_INSTANCES="1") as made:
        identities = made.root / "etc/weed/s3.json"
        identities.write_text(json.dumps(IDENTITIES))
        identities.chmod(0o640)
        made.with_haproxy(program)
        assert haproxy.write(made.paths, made.settings, read_installed(made.paths)).refused == ""
        made.start()
        made.systemctl("start", "haproxy.service")
        statuses = ask_everything(made)
        # Preparing the bucket leaves lines of its own, so it is the reads that are counted.
        until(
            lambda: len(reads(made)) >= len(statuses),
            lambda: f"HAProxy has written only {reads(made)} about {statuses}",
        )
        (log,) = (made.root / "var/log/weed").glob("s3-*.log")
        # The launcher writes it when it comes to it.
        until(lambda: "AKIDGUESSED" in log.read_text(), lambda: log.read_text()[-2000:])
        yield Logs(made, statuses, reads(made), log.read_text())


def reads(made: Host) -> list[str]:
    """Return HAProxy's whole lines about reads, as the journal shows them."""
    text = (made.root / "run/units/haproxy.service.log").read_text()
    lines = text[: text.rfind("\n") + 1].splitlines()
    found = [line for line in lines if re.match(r"<\d>127\.0\.0\.1:\d+ \[", line) and '"GET /' in line]
    return [PREFIX + line.partition(">")[2] for line in found]


def ask_everything(made: Host) -> dict[str, int]:
    """Make good and bad requests through HAProxy and return the status of each."""
    address = f"127.0.0.1:{made.proxy}"
    until(lambda: created(made, address), lambda: made.log("haproxy.service"))
    asked = {
        "right": signed("GET", address, "/bucket", KEY, SECRET),
        "wrong secret": signed("GET", address, "/bucket", KEY, "guessed"),
        "unknown key": signed("GET", address, "/bucket", "AKIDGUESSED", SECRET),
        "no key": {},
        "not allowed": signed("GET", address, "/bucket", "READER", SECRET),
        "missing object": signed("GET", address, "/bucket/403", KEY, SECRET),
    }
    paths = {"missing object": "/bucket/403"}
    return {name: made.s3("GET", paths.get(name, "/bucket"), headers=given)[0] for name, given in asked.items()}


def created(made: Host, address: str) -> bool:
    """Make the bucket as soon as HAProxy listens and knows a server."""
    try:
        return made.s3("PUT", "/bucket", headers=signed("PUT", address, "/bucket", KEY, SECRET))[0] == 200
    except ConnectionError:
        return False


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration that fail2ban's package brings, with ours in it, as after an installation."""
    require_tool("fail2ban-client")
    folder = tmp_path_factory.mktemp("fail2ban") / "etc"
    shutil.copytree("/etc/fail2ban", folder)
    for name in ("filter.d", "jail.d"):
        shutil.copy(PRODUCT / f"fail2ban/{name}/weed-s3.conf", folder / name)
    return folder


def matched(config: Path, lines: list[str], tmp_path: Path) -> list[str]:
    """Return the lines that the filter takes for a refusal."""
    log = tmp_path / "lines.log"
    log.write_text("".join(f"{line}\n" for line in lines))
    argv = [require_tool("fail2ban-regex"), "-c", str(config), "--print-all-matched", "--print-no-missed"]
    done = subprocess.run(
        [*argv, str(log), str(config / "filter.d/weed-s3.conf")], capture_output=True, text=True, check=False
    )
    assert "Results" in done.stdout, done.stdout + done.stderr
    return re.findall(r"^\|  (.+)$", done.stdout.partition("Matched line(s):")[2], re.MULTILINE)


def test_refused_requests_are_found_and_no_others(logs: Logs, config: Path, tmp_path: Path) -> None:
    refused = [name for name, status in logs.statuses.items() if status == 403]
    assert refused == ["wrong secret", "unknown key", "no key", "not allowed"]
    assert logs.statuses["right"] == 200
    assert logs.statuses["missing object"] == 404
    found = matched(config, logs.haproxy, tmp_path)
    assert len(found) == len(refused)
    assert all(" 403 " in line for line in found)


def test_weed_itself_never_names_the_client(logs: Logs) -> None:
    """Why HAProxy's log is read: if this fails, weed's own log would do, and would see direct requests as well."""
    assert "InvalidAccessKeyId: attempted key" in logs.weed
    assert "AKIDGUESSED" in logs.weed
    assert not re.search(r"(remote|client|from)\S*\s*=?\s*127\.0\.0\.1", logs.weed)


def test_what_a_client_sends_cannot_pass_for_a_refusal_of_another(logs: Logs, config: Path, tmp_path: Path) -> None:
    line = next(one for one in logs.haproxy if " 404 " in one)
    request = line.rpartition('"GET ')[0]
    forged = ["192.0.2.9:1 [21/Nov/2026:12:14:14.655] weed_s3_in weed_s3/s3-1 0/0/0/1/1 403 9 ---- ", "/x 403 9 ---- "]
    assert matched(config, [f'{request}"GET /{text} HTTP/1.1"' for text in forged], tmp_path) == []


def test_addresses_of_both_kinds_and_haproxys_own_answers(config: Path, tmp_path: Path) -> None:
    stamp = "[21/Nov/2026:12:14:14.655]"
    tail = '1/1/0/0/0 0/0 "GET / HTTP/1.1"'
    lines = [
        f"{PREFIX}2001:db8::7:33317 {stamp} weed_s3_in~ weed_s3/s3-12 0/0/0/1/1 403 306 ---- {tail}",
        f"{PREFIX}192.0.2.9:33317 {stamp} weed_s3_in weed_s3_in/<NOSRV> 0/-1/-1/-1/0 403 192 PR-- {tail}",
        f"{PREFIX}192.0.2.9:33317 {stamp} other_in other/s3-1 0/0/0/1/1 403 306 ---- {tail}",
    ]
    assert matched(config, lines, tmp_path) == lines[:1]


def test_the_jail_is_off_until_it_is_switched_on(config: Path) -> None:
    assert not jail(config)


def test_the_jail_reads_the_journal_of_haproxy_and_closes_its_port_and_those_of_the_servers(config: Path) -> None:
    local = config / "jail.d/weed-s3.local"
    local.write_text("[weed-s3]\nenabled = true\n")
    try:
        commands = jail(config)
    finally:
        local.unlink()
    assert ["add", "weed-s3", "systemd"] in commands
    assert ["set", "weed-s3", "addjournalmatch", "_SYSTEMD_UNIT=haproxy.service"] in commands
    assert ["set", "weed-s3", "maxretry", 30] in commands
    # One by one: firewall-cmd of Oracle Linux takes no range with a colon.
    assert ["8300", "8333", "8334"] in [ports.split(",") for ports in re.findall(r"'port', '([^']*)'", str(commands))]


def jail(config: Path) -> list[list[object]]:
    """Return what fail2ban would tell its server about the jail."""
    program = require_tool("fail2ban-client")
    done = subprocess.run([program, "-c", str(config), "-d"], capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if "'weed-s3'" in line]
    found = [ast.literal_eval(line) for line in lines]
    return [command for command in found if isinstance(command, list)]
