"""Taking an S3 server out of HAProxy and back in, over HAProxy's runtime socket (its management guide, section 9.3)."""

import csv
import os
import socket
import time
from typing import Dict, List, NamedTuple, Optional, Set

from weedops.errors import OpsError
from weedops.haproxy import BACKEND, HOLD, WAITING
from weedops.haproxy_host import CONFIG, UNIT, how_to_read, reads_snippet, stats_sockets
from weedops.paths import Paths
from weedops.programs import find_program, is_active

ANSWER_SECONDS = 5.0
POLL_SECONDS = 0.2

MARK = "/run/weed-rolling-restart.drained"
FORCED = 0x01 | 0x08
"""Of srv_admin_state in `show servers state`: maintenance and drain that somebody asked for on the runtime socket."""


class Server(NamedTuple):
    """How HAProxy sees one server: its status ("UP", "DRAIN", "DOWN 1/2"…) and the requests it is working on."""

    status: str
    sessions: int

    @property
    def asleep(self) -> bool:
        """Whether it is in maintenance."""
        return self.status.startswith("MAINT")

    @property
    def up(self) -> bool:
        """Whether it gets requests."""
        return self.status.startswith("UP")


class Runtime(NamedTuple):
    """A runtime socket of level admin.

    `mark` is a file with the names of the servers that were taken out here. Those that an administrator had taken out
    before are not among them: they stay out. It outlives a run that was killed, and `undo` then knows what to do.
    """

    path: str
    mark: str

    def command(self, text: str) -> str:
        """Return the answer to one command. Raises OpsError when the socket cannot be used."""
        answer = b""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(ANSWER_SECONDS)
                connection.connect(self.path)
                connection.sendall(text.encode() + b"\n")
                while True:
                    part = connection.recv(65536)
                    if not part:
                        return answer.decode("utf-8", "replace").strip()
                    answer += part
        except OSError as error:
            raise OpsError(f"HAProxy's socket {self.path}: {error.strerror or error}", "see: systemctl status haproxy")

    def servers(self, backend: str = BACKEND) -> Dict[str, Server]:
        """Return the S3 servers by name; {} when HAProxy does not have our backend."""
        rows = csv.DictReader(self.command(f"show stat {backend} 4 -1").lstrip("# ").splitlines())
        return {row["svname"]: Server(row["status"], int(row["scur"] or 0)) for row in rows if row.get("svname")}

    def set_state(self, name: str, state: str, backend: str = BACKEND) -> None:
        """Give a server the state `drain`, `ready` or `maint`. Raises OpsError when HAProxy refuses."""
        output = self.command(f"set server {backend}/{name} state {state}")
        if output:
            raise OpsError(
                f"HAProxy does not {state} {backend}/{name}: {output}",
                f"give its `stats socket` the level admin in {CONFIG}, then: systemctl reload haproxy",
            )

    def drain(self, name: str, seconds: float) -> int:
        """Send no more requests to a server, wait for those it has, and return how many are left after `seconds`."""
        self._take_out([name])
        return self._ended([name], seconds)

    def taken_out(self) -> List[str]:
        """Return the servers that were taken out here and are not back yet."""
        try:
            with open(self.mark, encoding="utf-8") as file:
                return file.read().split()
        except FileNotFoundError:
            return []

    def _take_out(self, names: List[str]) -> None:
        forced, before = self._forced(), self.taken_out()
        ours = before + [name for name in names if name not in forced and name not in before]
        with open(self.mark, "w", encoding="utf-8") as file:
            file.write("".join(f"{name}\n" for name in ours))
        for name in names:
            if name in ours:
                self.set_state(name, "drain")

    def _forced(self) -> Set[str]:
        """Return the servers that are drained or in maintenance by somebody's command."""
        rows = [line.split() for line in self.command(f"show servers state {BACKEND}").splitlines()]
        return {row[3] for row in rows if len(row) > 6 and row[0].isdigit() and int(row[6]) & FORCED}

    def _ended(self, names: List[str], seconds: float) -> int:
        """Wait for the requests of `names` to end, and return how many are left after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            both = self.servers(), self.servers(WAITING)
            left = sum(servers[name].sessions for servers in both for name in names if name in servers)
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(POLL_SECONDS)

    def hold(self, seconds: float) -> int:
        """Let new requests wait in HAProxy, wait for those that run, and return how many are left after `seconds`."""
        names = list(self.servers())
        self.set_state(HOLD, "ready", WAITING)
        self._take_out(names)
        return self._ended(names, seconds)

    def release(self) -> None:
        """Release the requests that wait, and let no more wait."""
        self._put_back()
        self.set_state(HOLD, "maint", WAITING)

    def _put_back(self) -> None:
        known = self.servers()
        for name in self.taken_out():
            if name in known:
                self.set_state(name, "ready")
        if os.path.exists(self.mark):
            os.unlink(self.mark)

    def undo(self) -> List[str]:
        """Undo what a run that was killed has left, and return the servers that get requests again.

        Only servers in `mark` do. A restarted HAProxy has none of them drained, and putting them back changes nothing.
        """
        out = self.taken_out()
        hold = self.servers(WAITING).get(HOLD)
        if hold and not hold.asleep:
            self.release()
        else:
            self._put_back()
        return out

    def restore(self, name: str, seconds: float) -> bool:
        """Send requests to a server again, and return whether HAProxy finds it up within `seconds`."""
        self._put_back()
        deadline = time.monotonic() + seconds
        while not self.servers()[name].up:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True


def runtime(paths: Paths, names: List[str]) -> Optional[Runtime]:
    """Return the socket to drain the S3 servers `names` with, None when no HAProxy is in front of them.

    Raises OpsError when HAProxy runs with our file in place and they cannot be drained, saying what is missing.
    """
    if not names or not find_program(paths, "haproxy") or not os.path.exists(paths.haproxy):
        return None
    if not is_active(paths, UNIT):
        return None
    if not reads_snippet(paths):
        raise OpsError(f"HAProxy runs, and does not read {paths.haproxy}", how_to_read(paths))
    admin = [place for place in stats_sockets(paths) if place.level == "admin"]
    if not admin:
        raise OpsError(
            "HAProxy has no `stats socket` of level admin, so no server can be drained",
            f"add `level admin` to the `stats socket` line of {CONFIG}, then: systemctl reload haproxy",
        )
    found = Runtime(admin[0].path, paths.at(MARK))
    missing = sorted(set(names) - set(found.servers()))
    if missing:
        raise OpsError(f"HAProxy does not know {', '.join(missing)}", "weed-instances apply, systemctl reload haproxy")
    return found
