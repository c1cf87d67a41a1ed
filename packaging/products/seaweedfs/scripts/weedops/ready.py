"""The supervisor of one instance: tells systemd how it is, and takes its log lines to the file and the journal.

It is the unit's main process, the only one that systemd listens to (NotifyAccess=main), and weed is its child. It
passes signals on to weed, and ends as weed ended.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Callable, Dict, List, Mapping

from weedops.errors import AccessError, ConfigError
from weedops.probe import GOOD, Health

CRITICAL, ERROR, WARNING, INFO = 2, 3, 4, 6
"""Priorities of syslog (RFC 5424, section 6.2.1), which systemd reads from `<n>` before a line (sd-daemon(3))."""

GLOG = re.compile(rb"([IWEF])\d{4} \d\d:\d\d:\d\d")
LETTERS = {b"I": INFO, b"W": WARNING, b"E": ERROR, b"F": CRITICAL}
CRASH = (b"panic:", b"fatal error:", b"SIGABRT:", b"SIGQUIT:", b"SIGSEGV:")
UNREAD = b"Skipping optional configuration"
"""What weed 4.00 and newer logs when it continues without a configuration file (weed/util/config.go)."""

LINE = 16384
"""Longest line in bytes; journald takes 48 KiB."""

ABORT_WAIT = 20.0
"""Seconds that weed has to log its goroutines when it is aborted; less than TimeoutAbortSec of the units."""

FIRST_WAIT = 0.25
LONGEST_WAIT = 10.0
SEND_WAIT = 2.0
"""Seconds that systemd has to take a message when its queue is full."""

EXTENSION = 60
"""Seconds: by how much a start that answers is extended, each time."""


class Notifier:
    """The datagram socket of sd_notify(3). Without one, it says nothing."""

    def __init__(self, address: str) -> None:
        self.address = "\0" + address[1:] if address[:1] == "@" else address

    def send(self, *lines: str) -> None:
        """Send `lines` as one message. The server continues if systemd cannot be reached."""
        if not self.address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(SEND_WAIT)
                channel.sendto("\n".join(lines).encode(), self.address)
        except OSError as error:
            sys.stderr.write(f"<{WARNING}>systemd cannot be told: {error}\n")
            sys.stderr.flush()


class Log:
    """Where weed's lines go: `path`, appended to so that copytruncate works, and standard output, the journal."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.file = _opened(path)
        self.priority = INFO
        self.full = False

    def line(self, text: bytes) -> None:
        """Write one line without its end."""
        self.priority = priority(text, self.priority)
        self._append(text + b"\n")
        _write(1, b"<%d>%s\n" % (self.priority, text))

    def say(self, level: int, text: str) -> None:
        """Write a line of our own, in the form of glog."""
        letter = {CRITICAL: "F", ERROR: "E", WARNING: "W"}.get(level, "I")
        stamp = time.strftime("%m%d %H:%M:%S")
        self._append(f"{letter}{stamp}.000000 weed-launch] {text}\n".encode())
        _write(1, f"<{level}>{text}\n".encode())

    def _append(self, text: bytes) -> None:
        try:
            self._reopen_if_moved()
            os.write(self.file, text)
            self.full = False
        except OSError as error:
            if not self.full:
                _write(1, f"<{ERROR}>{self.path}: {error.strerror}: lines go to the journal only\n".encode())
            self.full = True

    def _reopen_if_moved(self) -> None:
        try:
            same = os.stat(self.path).st_ino == os.fstat(self.file).st_ino
        except FileNotFoundError:
            same = False
        if not same:
            os.close(self.file)
            self.file = _opened(self.path)


def _opened(path: str) -> int:
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        if os.fstat(file).st_uid == os.geteuid():
            os.fchmod(file, 0o640)  # whatever the umask made of it
    except OSError as error:
        raise AccessError(f"{path} cannot be written: {error.strerror}", f"chown weed:weed {path} and its folder")
    return file


def _write(descriptor: int, text: bytes) -> None:
    try:
        os.write(descriptor, text)
    except OSError:
        return  # the journal is gone: the file has the line


def priority(line: bytes, before: int) -> int:
    """Return the priority of `line`; one that is not glog's, as in a stack trace, has that of the line before."""
    found = GLOG.match(line)
    if found:
        return LETTERS[found.group(1)]
    return CRITICAL if line.startswith(CRASH) else before


class Supervisor:
    """One weed process: health on one thread, log lines and signals on the other."""

    def __init__(self, ask: Callable[[float], Health], notifier: Notifier, log: Log, watchdog: float) -> None:
        """`ask` takes a timeout in seconds; `watchdog` is in seconds, 0 when the unit has none."""
        self.ask = ask
        self.notifier = notifier
        self.log = log
        self.longest = min(LONGEST_WAIT, watchdog / 4) if watchdog else LONGEST_WAIT
        self.ready = False
        self.status = ""
        self.stopping = threading.Event()

    def run(self, argv: List[str], environment: Dict[str, str], folder: str) -> int:
        """Run weed to its end and return its exit status; minus the number of the signal that ended it.

        Raises ConfigError when weed cannot be executed.
        """
        reading, writing = os.pipe()
        try:
            self.weed = subprocess.Popen(
                argv, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=writing, stderr=writing
            )
        except OSError as error:
            raise ConfigError(
                f"{argv[0]} cannot be executed: {error.strerror}",
                "is the package for this architecture? fapolicyd and noexec mounts refuse programs, too",
            )
        os.close(writing)
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._stop)
            signal.signal(signal.SIGHUP, self._reload)
            signal.signal(signal.SIGABRT, self._abort)
            threading.Thread(target=self.watch, daemon=True).start()
            self.pump(reading)
        finally:
            if self.weed.poll() is None:
                self.weed.terminate()
            status = self.weed.wait()
        return self._judged(status)

    def _judged(self, status: int) -> int:
        if status == 0 and not self.stopping.is_set():
            self.log.say(ERROR, "weed ended by itself with status 0, as older releases do when they fail")
            status = 1
        self.stopping.set()
        return status

    def _stop(self, *_: object) -> None:
        first = not self.stopping.is_set()
        self.stopping.set()
        self.weed.send_signal(signal.SIGTERM)
        self.weed.send_signal(signal.SIGCONT)  # one that is stopped would not see it
        if first:
            self.notifier.send("STOPPING=1", "STATUS=stopping: finishing requests and closing what is open")

    def _reload(self, *_: object) -> None:
        self.weed.send_signal(signal.SIGHUP)

    def _abort(self, *_: object) -> None:
        """Systemd's watchdog: make weed log what it is doing and end, or kill it."""
        self.stopping.set()
        self.weed.send_signal(signal.SIGABRT)
        self.weed.send_signal(signal.SIGCONT)
        killer = threading.Timer(ABORT_WAIT, self.weed.kill)
        killer.daemon = True
        killer.start()

    def watch(self) -> None:
        """Ask for health until the end, and tell systemd."""
        wait = FIRST_WAIT
        while not self.stopping.is_set():
            health = self.ask(max(1.0, self.longest))
            if self.stopping.is_set():
                return
            self.tell(health)
            wait = min(wait * 1.5, self.longest if self.ready and health.alive else 1.0)
            self.stopping.wait(wait)

    def tell(self, health: Health) -> None:
        """Send what follows from one answer: READY at the first good one, WATCHDOG only for an answer."""
        lines: List[str] = []
        if not self.ready and health.state == GOOD:
            self.ready = True
            lines.append("READY=1")
            self.log.say(INFO, f"ready: {health.detail}")
        elif not self.ready and health.alive:
            lines.append(f"EXTEND_TIMEOUT_USEC={EXTENSION * 1000000}")
        if self.ready and health.alive:
            lines.append("WATCHDOG=1")
        status = ("" if self.ready else "starting: ") + f"{health.state}: {health.detail}"
        if status != self.status:
            lines.append("STATUS=" + status)
            if self.ready and health.state != GOOD:
                self.log.say(WARNING, status)
            self.status = status
        if lines:
            self.notifier.send(*lines)

    def pump(self, pipe: int) -> None:
        """Take lines from `pipe` until its other end is closed."""
        rest = b""
        while True:
            data = os.read(pipe, 65536)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self.take(line)
            if len(rest) > LINE or (rest and not data):
                self.take(rest)
                rest = b""
            if not data:
                return

    def take(self, line: bytes) -> None:
        """Write one line; stop a weed that starts without a file it should have read."""
        self.log.line(line[:LINE])
        if UNREAD in line and not self.ready:
            self.log.say(CRITICAL, "stopped: without that file it would not do what the file demands")
            self.weed.terminate()


def watchdog_seconds(environment: Mapping[str, str]) -> float:
    """Return how often systemd wants to hear of the service, 0 if it does not (sd_watchdog_enabled(3))."""
    text = environment.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdigit() else 0.0
