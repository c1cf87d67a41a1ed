"""The ports an instance needs: which they are, whether they are free, and who holds those that are not."""

import contextlib
import errno
import os
import pwd
import socket
from typing import Dict, Iterator, List, NamedTuple, Set, Tuple

from weedops.errors import ConfigError, PortError
from weedops.settings import Instance, Settings

LOCAL = ("localhost", "", "0.0.0.0", "127.0.0.1", "::", "[::]", "::1", "[::1]")
"""Addresses for which weed opens no second listener on localhost (SeaweedFS, weed/util/net_timeout.go)."""

EXTRA = ("port.public", "port.readonly", "port.https", "port.iceberg", "port.lance", "debug.port")
"""Flags of an options file that open further ports."""

TIME_WAIT = "06"


class Listener(NamedTuple):
    """One socket that weed will open."""

    purpose: str
    host: str
    port: int


class Holder(NamedTuple):
    """Who has a port: `pid` is 0 when /proc does not tell it to this user."""

    pid: int
    program: str
    unit: str
    user: str

    def __str__(self) -> str:
        if not self.pid:
            return f"a process of user {self.user}" if self.user else "a process that cannot be seen from here"
        return f"{self.program} (pid {self.pid}{', ' + self.unit if self.unit else ''}, user {self.user})"


def listeners(instance: Instance, settings: Settings, options: Dict[str, str]) -> List[Listener]:
    """Return every socket that `instance` opens, those of its options file too."""
    bind = settings.bind
    ports = dict(instance.ports)
    ports.update({name: int(options[name]) for name in EXTRA if options.get(name, "0").isdigit() and name in options})
    if "debug.port" in ports and options.get("debug", "false") != "true":
        del ports["debug.port"]
    wanted = []
    for purpose, port in ports.items():
        if port:
            wanted.append(Listener(purpose, bind, port))
            if bind not in LOCAL and purpose != "metrics":
                wanted.append(Listener(purpose + " on localhost", "127.0.0.1", port))
    return wanted


def check_ports(wanted: List[Listener]) -> None:
    """Raise PortError naming every port of `wanted` that is taken and who holds it; ConfigError below 1024."""
    taken = []
    for listener in wanted:
        problem = _problem(listener)
        if problem:
            taken.append(f"{listener.host}:{listener.port} ({listener.purpose}) {problem}")
    if taken:
        raise PortError("\n".join(taken), "stop what holds it, or choose another port in /etc/default/weed/weed.conf")


def _problem(listener: Listener) -> str:
    """Return why `listener` cannot be opened, "" if it can."""
    try:
        found = socket.getaddrinfo(listener.host.strip("[]") or None, listener.port, type=socket.SOCK_STREAM)
    except OSError as error:
        return f"cannot be resolved: {error.strerror}"
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as test:
        test.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            test.bind(address)
            test.listen(1)
        except OSError as error:
            return _explained(listener, error)
    return ""


def _explained(listener: Listener, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        held = holders(listener.port)
        names = " and ".join(map(str, held)) or "a process that cannot be seen from here"
        # The launcher sees no process of another user: its unit has ProtectProc=invisible.
        named = f"; `sudo ss -ltnp 'sport = :{listener.port}'` names it"
        return f"is held by {names}{'' if held and all(one.pid for one in held) else named}"
    if error.errno == errno.EADDRNOTAVAIL:
        return "is not an address of this host (yet): see ADDRESS and BIND_ADDRESS"
    if error.errno == errno.EACCES:
        raise ConfigError(
            f"port {listener.port} ({listener.purpose}) needs a privilege that the units drop",
            "choose one from 1024 on in /etc/default/weed/weed.conf",
        )
    return f"cannot be listened on: {error.strerror}"


def holders(port: int, proc: str = "/proc") -> List[Holder]:
    """Return who has a socket on local `port`, listeners first; as much as `proc` shows to this user."""
    sockets = _sockets(port, proc)
    owners = _owners(set(sockets), proc)
    found: Dict[int, Holder] = {}
    hidden: List[Holder] = []
    for inode, uid in sockets.items():
        pid = owners.get(inode)
        if pid is None:
            hidden.append(Holder(0, "", "", _name(uid)))
        elif pid not in found:
            found[pid] = Holder(pid, _program(pid, proc), unit_of(pid, proc), _name(uid))
    return list(found.values()) or hidden[:1]


def _sockets(port: int, proc: str) -> Dict[str, int]:
    """Return the user id by inode of each TCP socket whose local port is `port`; listening ones first."""
    rows: List[Tuple[bool, str, int]] = []
    for table in ("tcp", "tcp6"):
        for line in _lines(os.path.join(proc, "net", table))[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port and fields[3] != TIME_WAIT:
                rows.append((fields[3] != "0A", fields[9], int(fields[7])))
    return {inode: uid for _, inode, uid in sorted(rows)}


def _owners(inodes: Set[str], proc: str) -> Dict[str, int]:
    """Return the process by inode, of those that this user may look into."""
    owners: Dict[str, int] = {}
    names = {f"socket:[{inode}]": inode for inode in inodes}
    for entry in filter(str.isdigit, os.listdir(proc)) if names else ():
        for link in _descriptors(os.path.join(proc, entry, "fd")):
            if link in names:
                owners.setdefault(names[link], int(entry))
    return owners


def _descriptors(folder: str) -> Iterator[str]:
    """Yield what a process has open; nothing of another user's. A file that it closes during this hides no other."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                yield os.readlink(os.path.join(folder, name))


def _lines(path: str) -> List[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _program(pid: int, proc: str) -> str:
    return "".join(_lines(os.path.join(proc, str(pid), "comm"))[:1]) or "?"


def unit_of(pid: int, proc: str = "/proc") -> str:
    """Return the systemd unit of a process, "" if it is in none."""
    for line in _lines(os.path.join(proc, str(pid), "cgroup")):
        names = [part for part in line.split("/") if part.endswith((".service", ".scope"))]
        if names:
            return names[-1]
    return ""


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
