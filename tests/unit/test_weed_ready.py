"""The supervisor: what it tells systemd, and what it makes of log lines. The processes and sockets are real."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from weedops import ready
from weedops.errors import AccessError, ConfigError
from weedops.probe import Health
from weedops.ready import Log, Notifier, Supervisor, priority, watchdog_seconds

from tests.waiting import until

GOOD = Health("good", "answers 200", 200)
WAITING = Health("waiting", "answers 503: no leader is elected", 503)
SILENT = Health("silent", "no answer", 0)


class Systemd:
    """The receiving end of sd_notify."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        lines: list[str] = []
        while True:
            try:
                lines += self.socket.recv(65536).decode().splitlines()
            except BlockingIOError:
                return lines


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    receiver = Systemd(tmp_path)
    with receiver.socket:
        yield receiver


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Give the process its signal handlers back: the supervisor's are this process' while it runs here."""
    before = {number: signal.getsignal(number) for number in (1, 2, 6, 15)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def supervisor(
    tmp_path: Path, systemd: Systemd, ask: Callable[[float], Health] = lambda _: GOOD, watchdog: float = 0
) -> Supervisor:
    return Supervisor(ask, Notifier(systemd.path), Log(str(tmp_path / "x.log")), watchdog)


def test_ready_comes_with_the_first_good_answer_only(tmp_path: Path, systemd: Systemd) -> None:
    one = supervisor(tmp_path, systemd)
    one.tell(SILENT)
    assert systemd.heard() == ["STATUS=starting: silent: no answer"]
    one.tell(WAITING)
    assert systemd.heard() == ["EXTEND_TIMEOUT_USEC=60000000", f"STATUS=starting: waiting: {WAITING.detail}"]
    one.tell(GOOD)
    assert systemd.heard() == ["READY=1", "WATCHDOG=1", "STATUS=good: answers 200"]
    one.tell(GOOD)
    assert systemd.heard() == ["WATCHDOG=1"]


def test_the_watchdog_hears_of_every_answer_and_of_nothing_else(tmp_path: Path, systemd: Systemd) -> None:
    one = supervisor(tmp_path, systemd)
    one.tell(GOOD)
    systemd.heard()
    one.tell(WAITING)
    assert systemd.heard() == ["WATCHDOG=1", f"STATUS=waiting: {WAITING.detail}"]
    one.tell(Health("bad", "answers 500", 500))
    assert "WATCHDOG=1" in systemd.heard()
    one.tell(SILENT)
    assert systemd.heard() == ["STATUS=silent: no answer"]


def test_without_a_socket_nothing_is_sent() -> None:
    Notifier("").send("READY=1")


def test_an_abstract_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0weed-test-{os.getpid()}")
        Notifier(f"@weed-test-{os.getpid()}").send("READY=1", "STATUS=x")
        assert receiver.recv(100) == b"READY=1\nSTATUS=x"


def test_a_systemd_that_is_gone_stops_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Notifier(str(tmp_path / "nobody")).send("WATCHDOG=1")
    assert capfd.readouterr().err.startswith("<4>systemd cannot be told:")


def test_a_systemd_that_does_not_listen_delays_nothing_for_long(
    systemd: Systemd, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready, "SEND_WAIT", 0.1)
    notifier = Notifier(systemd.path)
    length = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
    for _ in range(length + 2):
        notifier.send("WATCHDOG=1")
    assert capfd.readouterr().err.startswith("<4>systemd cannot be told: timed out")
    assert systemd.heard() != []


@pytest.mark.parametrize(
    ("line", "before", "expected"),
    [
        (b"I1121 12:00:00.000000 master.go:1 hello", 6, 6),
        (b"W1121 12:00:00.000000 master.go:1 hello", 6, 4),
        (b"E1121 12:00:00.000000 master.go:1 hello", 6, 3),
        (b"F1121 12:00:00.000000 master.go:1 hello", 6, 2),
        (b"I1121 12:00:00.000000 master.go:1 hello", 3, 6),
        (b"panic: runtime error", 6, 2),
        (b"goroutine 1 [running]:", 2, 2),
        (b"Everything is fine", 6, 6),
    ],
)
def test_a_line_has_the_priority_of_its_letter(line: bytes, before: int, expected: int) -> None:
    assert priority(line, before) == expected


def test_lines_go_to_the_file_and_with_their_priority_to_the_journal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = Log(str(tmp_path / "x.log"))
    log.line(b"E1121 12:00:00.000000 a.go:1 broken")
    log.say(ready.WARNING, "careful")
    assert capfd.readouterr().out == "<3>E1121 12:00:00.000000 a.go:1 broken\n<4>careful\n"
    first, second = (tmp_path / "x.log").read_text().splitlines()
    assert first == "E1121 12:00:00.000000 a.go:1 broken"
    assert second.startswith("W")
    assert second.endswith("weed-launch] careful")


def test_the_file_has_its_mode_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        Log(str(tmp_path / "x.log"))
    finally:
        os.umask(before)
    assert (tmp_path / "x.log").stat().st_mode & 0o777 == 0o640


def test_the_file_survives_both_ways_of_rotation(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    log = Log(str(path))
    log.line(b"one")
    os.truncate(path, 0)
    log.line(b"two")
    assert path.read_bytes() == b"two\n"
    path.rename(tmp_path / "x.log.1")
    log.line(b"three")
    assert path.read_bytes() == b"three\n"


def test_a_link_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.log").symlink_to("/dev/null")
    with pytest.raises(AccessError, match="cannot be written"):
        Log(str(tmp_path / "x.log"))


def test_a_full_disk_is_said_once(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    log = Log(str(tmp_path / "x.log"))
    log.path = "/dev/full"
    log.line(b"one")
    log.line(b"two")
    said = capfd.readouterr().out
    assert said.count("No space left on device: lines go to the journal only") == 1
    assert said.endswith("<6>two\n")


def test_a_line_without_an_end_and_one_that_is_far_too_long(
    tmp_path: Path, systemd: Systemd, capfd: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    one = supervisor(tmp_path, systemd)
    pump = threading.Thread(target=one.pump, args=(reading,))
    pump.start()
    os.write(writing, b"a" * 40000 + b"\nlast")
    os.close(writing)
    pump.join()
    os.close(reading)
    lines = (tmp_path / "x.log").read_bytes().splitlines()
    assert lines[-1] == b"last"
    assert max(map(len, lines)) <= ready.LINE
    assert capfd.readouterr().out.endswith("<6>last\n")


def run(one: Supervisor, code: str) -> int:
    """Run a Python program in the place of weed; signals are the main thread's, as pytest's is."""
    return one.run([sys.executable, "-c", code], {"PATH": "/usr/bin:/bin"}, "/")


def test_exit_codes_are_handed_on(tmp_path: Path, systemd: Systemd) -> None:
    assert run(supervisor(tmp_path, systemd), "raise SystemExit(255)") == 255


def test_an_end_that_nobody_asked_for_is_a_failure(tmp_path: Path, systemd: Systemd) -> None:
    assert run(supervisor(tmp_path, systemd), "print('usage')") == 1
    assert "as older releases do when they fail" in (tmp_path / "x.log").read_text()


def test_the_signal_that_ended_weed_is_handed_on(tmp_path: Path, systemd: Systemd) -> None:
    assert run(supervisor(tmp_path, systemd), "import os; os.kill(os.getpid(), 9)") == -9


def test_a_program_that_cannot_be_executed_is_said_to_be_one(tmp_path: Path, systemd: Systemd) -> None:
    (tmp_path / "weed").write_bytes(b"\x7fELF of another machine")
    (tmp_path / "weed").chmod(0o755)
    with pytest.raises(ConfigError, match=r"weed cannot be executed: Exec format error"):
        supervisor(tmp_path, systemd).run([str(tmp_path / "weed")], {}, "/")


def test_a_weed_that_starts_without_its_configuration_is_stopped(tmp_path: Path, systemd: Systemd) -> None:
    line = "W1121 12:00:00.000000 c.go:1 Skipping optional configuration"
    code = f"import signal; print({line!r}, flush=True); signal.pause()"
    assert run(supervisor(tmp_path, systemd, lambda _: SILENT), code) == -15
    assert "without that file it would not do what the file demands" in (tmp_path / "x.log").read_text()


def test_sigterm_is_handed_on_and_an_end_after_it_is_no_failure(tmp_path: Path, systemd: Systemd) -> None:
    # A signal that comes just before signal.pause() would be noted and never handled; one that is blocked is kept.
    code = (
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {15}); print('up', flush=True); signal.sigwait({15})"
    )
    one = supervisor(tmp_path, systemd)

    def stop() -> None:
        until(lambda: "up" in (tmp_path / "x.log").read_text(), "it does not begin")
        os.kill(os.getpid(), 15)

    stopper = threading.Thread(target=stop)
    stopper.start()
    assert run(one, code) == 0
    stopper.join()
    assert "STOPPING=1" in systemd.heard()


@pytest.mark.parametrize(("text", "seconds"), [("60000000", 60), ("", 0), ("x", 0)])
def test_the_interval_of_the_watchdog(text: str, seconds: float) -> None:
    assert watchdog_seconds({"WATCHDOG_USEC": text}) == seconds
    assert watchdog_seconds({}) == 0
