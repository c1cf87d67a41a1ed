"""The launcher with a real server: the example's, or with WEED_BINARY=… any other weed.

Each instance is an ordinary process of this machine; what systemd would be told goes to a socket of the test.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from weedops import fips

from tests import ports
from tests.conftest import require_tool
from tests.unit.weed_host import PRODUCT, Host
from tests.waiting import elapse, until

LAUNCH = PRODUCT / "scripts/weed-launch"
PATIENCE = 90.0
"""Seconds for an election on a busy machine."""
WATCHDOG = 4.0
NOBODY = 65534


def test_weed_on_the_path_is_the_server_with_a_doctor_added(tmp_path: Path) -> None:
    for name, word in (("weed", "server"), ("libexec/weed-doctor", "doctor")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f'#!/bin/sh\necho {word} "$@"\n')
        (tmp_path / name).chmod(0o755)

    def said(*arguments: str) -> str:
        inside = ("--ro-bind", "/", "/", "--tmpfs", "/opt", "--ro-bind", str(tmp_path), "/opt/weed", "--dev", "/dev")
        argv = [require_tool("bwrap"), *inside, str(PRODUCT / "scripts/weed"), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    assert said("doctor", "--json") == "doctor --json\n"
    assert said("volume", "-dir=a b", "doctor") == "server volume -dir=a b doctor\n"
    assert said() == "server\n"


class Running:
    """One launcher, what it has said, and what it has told systemd."""

    def __init__(self, machine: Machine, role: str, number: int, **variables: str) -> None:
        self.machine = machine
        self.name = f"{role}-{number}"
        self.told: list[str] = []
        address = machine.host.root / f"notify-{self.name}"
        address.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(address))
        self.socket.setblocking(False)
        env = {"PATH": "/usr/bin:/bin", "NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": str(int(WATCHDOG * 1e6))}
        with (machine.host.root / f"{self.name}.journal").open("wb") as journal:
            self.process = subprocess.Popen(
                [LAUNCH, "--root", machine.host.root, role, str(number)],
                stdin=subprocess.DEVNULL,
                stdout=journal,
                stderr=journal,
                env={**env, **variables},
            )

    def listen(self) -> list[str]:
        """Return what systemd was told since the last time."""
        lines: list[str] = []
        while True:
            try:
                lines += self.socket.recv(65536).decode().splitlines()
            except BlockingIOError:
                self.told += lines
                return lines

    def until(self, what: str) -> None:
        """Wait until systemd has been told `what`."""

        def told() -> bool:
            for one in self.machine.running:  # what nobody reads fills the socket, and stops who writes to it
                one.listen()
            assert self.process.poll() is None, f"{self.name} ended:\n{self.journal()[-3000:]}"
            return what in self.told

        until(told, lambda: f"{self.name}: no {what} in {self.told[-5:]}\n{self.journal()[-3000:]}")

    def journal(self) -> str:
        return (self.machine.host.root / f"{self.name}.journal").read_text(errors="replace")

    def log(self) -> Path:
        return self.machine.host.root / f"var/log/weed/{self.name}.log"

    def weed(self) -> int:
        """Return the process id of weed, the launcher's only child."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        (child,) = children
        return int(child)

    def end(self) -> int:
        """Stop it as systemd does and return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(60)


class Machine:
    """A host in a short path, for the sake of local sockets, with ports of its own."""

    def __init__(self, root: Path, weed: Path, base: int) -> None:
        said = subprocess.run([weed, "version"], capture_output=True, text=True, check=True).stdout.split()
        product = "seaweedfs" if "WEED_BINARY" in os.environ else "example"
        self.host = Host(root, said[2], product)
        (root / "opt/weed/weed").symlink_to(weed)
        self.host.folders()
        self.base = base
        self.running: list[Running] = []
        self.conf()

    def conf(self, **values: str) -> None:
        roles = ("MASTER", "VOLUME", "FILER", "S3")
        ports = {f"{role}_PORT": str(self.base + 2 * at + (at > 0)) for at, role in enumerate(roles)}
        self.host.conf(**{**ports, **{f"{role}_METRICS_PORT": "0" for role in roles}, **values})

    def port(self, role: str, number: int = 1) -> int:
        return self.base + {"master": 0, "volume": 3, "filer": 5, "s3": 7}[role] + number - 1

    def start(self, role: str, number: int = 1, **variables: str) -> Running:
        one = Running(self, role, number, **variables)
        self.running.append(one)
        return one

    def refused(self, role: str, *arguments: str, user: int | None = None) -> tuple[int, str]:
        """Run a launcher that must not start anything; return its exit code and what it said."""
        argv = [LAUNCH, "--root", self.host.root, *arguments, role, "1"]
        as_user = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, env={}, **as_user)  # type: ignore[call-overload]
        return done.returncode, done.stderr

    def stop(self) -> None:
        for one in reversed(self.running):
            if one.process.poll() is None:
                one.process.terminate()
        for one in self.running:
            try:
                one.process.wait(40)
            except subprocess.TimeoutExpired:
                os.kill(one.weed(), signal.SIGKILL)
                one.process.wait(10)
            one.socket.close()


@pytest.fixture(scope="session")
def weed(request: pytest.FixtureRequest) -> Path:
    given = os.environ.get("WEED_BINARY")
    return Path(given) if given else request.getfixturevalue("dist") / "example-1.2.3-linux-amd64"


@pytest.fixture
def machine(weed: Path) -> Iterator[Machine]:
    root = Path(tempfile.mkdtemp(prefix="launch-"))
    root.chmod(0o755)
    with ports.block() as base:
        made = Machine(root, weed, base)
        yield made
        made.stop()
    shutil.rmtree(root)


def get(port: int, path: str, method: str = "GET", body: bytes = b"") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_two_masters_elect_a_leader_and_both_are_ready(machine: Machine) -> None:
    first, second = machine.start("master", 1), machine.start("master", 2)
    first.until("READY=1")
    second.until("READY=1")
    assert any(line.startswith("STATUS=good: http://127.0.0.1") for line in first.told + second.told)
    leaders = {json.loads(get(machine.port("master", n), "/cluster/status")[1])["Leader"] for n in (1, 2)}
    assert len(leaders) == 1
    assert first.end() == second.end() == 0
    first.listen()
    assert "STOPPING=1" in first.told


def test_a_master_without_a_quorum_is_alive_and_not_ready(machine: Machine) -> None:
    alone = machine.start("master", 1)
    alone.until("EXTEND_TIMEOUT_USEC=60000000")
    until(lambda: any("no leader is elected" in line for line in (*alone.told, *alone.listen())), "it says nothing")
    assert "READY=1" not in alone.told
    assert alone.end() == 0


@pytest.fixture
def master(machine: Machine) -> Running:
    machine.conf(MASTER_INSTANCES="1")
    one = machine.start("master", 1)
    one.until("READY=1")
    return one


def test_the_log_is_complete_in_both_places(master: Running) -> None:
    assert master.end() == 0
    journal = master.journal().splitlines()
    assert len(journal) > 2
    assert all(line[:3] in ("<2>", "<3>", "<4>", "<6>") for line in journal), journal
    assert any(line.startswith("<6>I") for line in journal)
    ours = [line for line in master.log().read_text().splitlines() if "weed-launch]" not in line]
    assert ours == [line[3:] for line in journal if not re.match(r"<\d>(ready|silent|systemd)", line)]
    assert master.log().stat().st_mode & 0o777 == 0o640


def test_the_watchdog_is_fed_until_the_server_hangs(master: Running) -> None:
    master.listen()
    until(lambda: "WATCHDOG=1" in master.listen(), "the watchdog is not fed")
    weed = master.weed()
    os.kill(weed, signal.SIGSTOP)
    said = master.told
    before = len(said)
    until(lambda: any("silent: no answer within" in line for line in master.listen()), "the hang goes unnoticed")
    elapse(WATCHDOG + 1, "the watchdog is not fed")
    master.listen()
    assert said[before:].count("WATCHDOG=1") <= 1, "one question may have been answered before"
    silent = next(at for at, line in enumerate(said) if "silent: no answer within" in line)
    assert "WATCHDOG=1" not in said[silent:]
    master.process.send_signal(signal.SIGABRT)  # what systemd does then
    assert master.process.wait(30) != 0
    assert not Path(f"/proc/{weed}").exists()
    assert "goroutine" in master.log().read_text()  # what it was doing


def test_a_server_that_goes_on_after_a_pause_is_fed_again(master: Running) -> None:
    os.kill(master.weed(), signal.SIGSTOP)
    elapse(WATCHDOG, "the server answers nothing")
    os.kill(master.weed(), signal.SIGCONT)
    master.listen()
    until(lambda: "WATCHDOG=1" in master.listen(), "no ping after the pause")


def test_a_stopped_server_can_still_be_stopped_in_order(master: Running) -> None:
    os.kill(master.weed(), signal.SIGSTOP)
    assert master.end() == 0


def test_a_server_that_is_killed_ends_the_launcher_in_the_same_way(master: Running) -> None:
    os.kill(master.weed(), signal.SIGKILL)
    assert master.process.wait(20) == -signal.SIGKILL


def test_the_holder_of_a_port_is_named(machine: Machine, master: Running) -> None:
    code, said = machine.refused("master")
    assert code == 69
    http_port = machine.port("master")
    assert f"127.0.0.1:{http_port} (http) is held by weed (pid {master.weed()}" in said.replace(
        "example-1.2.3-l", "weed"
    )
    assert f"127.0.0.1:{http_port + 10000} (grpc) is held by" in said


def test_variables_of_the_environment_change_nothing(machine: Machine) -> None:
    machine.conf(MASTER_INSTANCES="1")
    trap = {"PORT": "1", "IP": "192.0.2.1", "MDIR": "/nowhere", "OPTIONS": "/nowhere", "PEERS": "x", "CONFIG_DIR": "/x"}
    one = machine.start("master", 1, **trap, WEED_JWT_SIGNING_KEY="from-a-drop-in", GODEBUG="x=1")
    one.until("READY=1")
    seen = Path(f"/proc/{one.weed()}/environ").read_text().split("\0")
    names = {entry.partition("=")[0] for entry in seen if entry}
    assert names == {"PATH", "HOME", "TMPDIR", "GODEBUG", "WEED_JWT_SIGNING_KEY"}
    assert "GODEBUG=multipathtcp=0" in seen


def test_a_reload_reaches_the_server(master: Running) -> None:
    assert master.machine.refused("master", "--check") == (0, "")
    master.process.send_signal(signal.SIGHUP)
    if "WEED_BINARY" in os.environ:
        elapse(1, "the server does not end")
    else:
        until(lambda: "reload" in master.log().read_text(), "no word of the reload")
    assert master.process.poll() is None


def test_an_object_goes_through_all_four_roles(machine: Machine) -> None:
    machine.conf(**{f"{role}_INSTANCES": "1" for role in ("MASTER", "VOLUME", "FILER", "S3")})
    servers = [machine.start(role) for role in ("master", "volume", "filer", "s3")]
    for one in servers:
        one.until("READY=1")
    assert "everyone who reaches the port may read and write everything" in servers[3].log().read_text()
    port = machine.port("s3")
    until(lambda: get(port, "/bucket-of-test", "PUT")[0] == 200, "no bucket")
    until(lambda: get(port, "/bucket-of-test/a", "PUT", b"content")[0] == 200, "no object")
    assert get(port, "/bucket-of-test/a") == (200, b"content")
    stored = machine.host.root / "var/lib/weed/filer-1"
    assert [path.name for path in stored.iterdir()] in (["filerstore"], ["filerldb2"])
    assert [one.end() for one in reversed(servers)] == [0, 0, 0, 0]
    leftover = [path.name for path in Path("/tmp").glob(f"seaweedfs-*-{port}*.sock")]
    assert leftover == []


def test_a_configuration_that_the_service_cannot_read_stops_the_start(machine: Machine) -> None:
    path = machine.host.write("etc/weed/security.toml", "", 0o600)
    (machine.host.root / "opt/weed/weed").unlink()
    machine.host.write("opt/weed/weed", "", 0o755)
    if os.geteuid() == 0:
        code, said = machine.refused("master", user=NOBODY)
    else:
        path.chmod(0)
        code, said = machine.refused("master")
    assert code == 77
    assert f"{path} cannot be read by" in said
    assert "weed would start without it" in said


@pytest.mark.parametrize(
    ("files", "values", "code", "says"),
    [
        ({"etc/weed/master-1.toml": "a"}, {}, 78, 'master-1.toml: Expected "=" after a key'),
        ({"etc/weed/master.options": "mdri=/x"}, {}, 78, "did you mean mdir?"),
        ({"etc/weed/master-1.options": "mdir=/x"}, {}, 78, "MASTER_DATA_DIR of weed.conf sets it"),
        ({}, {"FIPS_ENABLED": "true"}, 78, "is the standard build of"),
        ({}, {"MASTER_INSTANCES": "0"}, 64, "is not an instance of this host"),
        ({}, {"MASTER_DATA_DIR": "/srv/master-%i"}, 77, "does not exist"),
    ],
)
def test_what_cannot_work_is_refused(
    machine: Machine, files: dict[str, str], values: dict[str, str], code: int, says: str
) -> None:
    machine.conf(**values)
    for name, text in files.items():
        machine.host.write(name, text)
    got, said = machine.refused("master")
    assert (got, says in said) == (code, True), said
    assert said.startswith("weed-master@1: ")
    assert "Traceback" not in said


def test_an_option_reaches_the_server(machine: Machine) -> None:
    machine.host.write("etc/weed/master.options", "garbageThreshold=0.2\n")
    machine.conf(MASTER_INSTANCES="1")
    one = machine.start("master")
    one.until("READY=1")
    assert "-garbageThreshold=0.2" in Path(f"/proc/{one.weed()}/cmdline").read_text().split("\0")


def test_a_fips_host_runs_the_fips_binary(machine: Machine, dist: Path) -> None:
    binary = dist / "example-1.2.3-linux-amd64-fips"
    (machine.host.root / "opt/weed/weed").unlink()
    (machine.host.root / "opt/weed/weed").symlink_to(binary)
    machine.host.write("opt/weed/release", "PRODUCT=example\nVERSION=1.2.3\nVARIANT=fips\nCOMMIT=abc\n")
    machine.conf(MASTER_INSTANCES="1", FIPS_ENABLED="true")
    one = machine.start("master")
    one.until("READY=1")
    module = fips.module(str(binary))
    assert module in ("go", "boringcrypto")
    assert fips.module(str(dist / "example-1.2.3-linux-amd64")) == ""
    environ = Path(f"/proc/{one.weed()}/environ").read_text().split("\0")
    (godebug,) = (entry for entry in environ if entry.startswith("GODEBUG="))
    assert ("fips140=on" in godebug) == (module == "go")
