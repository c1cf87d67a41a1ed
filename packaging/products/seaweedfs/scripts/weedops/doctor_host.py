"""The doctor on the host: user, ports, disks, limits, clock, and what confines programs there."""

import os
from typing import Iterator, List, Set, Tuple

from weedops.errors import ConfigError, OpsError, PortError
from weedops.findings import ERROR, INSTALL, NOTE, OK, WARNING, Finding, Host, account, read
from weedops.options import read_options
from weedops.ports import Holder, check_ports, holders, listeners
from weedops.programs import find_program, run

NOFILE = 1048576
"""LimitNOFILE of the units."""
LOW_SHARE, LOW_INODES = 0.10, 0.05
"""Shares of free space and of free inodes below which there is a warning."""
FULL_BYTES = 1 << 30
"""Free space below which writes stop: SeaweedFS makes volumes read-only when a disk is nearly full."""
VOLATILE = ("tmpfs", "ramfs", "overlay")


def user(host: Host) -> Iterator[Finding]:
    """The service user."""
    fields = next(
        (line.split(":") for line in read(host.paths.at("/etc/passwd")).splitlines() if line[:5] == "weed:"), []
    )
    if len(fields) < 7:
        if account(host.paths):
            yield Finding("user", OK, "user weed comes from a directory service")
        elif host.before == INSTALL:
            yield Finding("user", OK, "the user weed does not exist yet: the package makes it")
        else:
            fix = "systemd-sysusers, or reinstall the package"
            yield Finding("user-missing", ERROR, "the user weed does not exist", host.paths.at("/etc/passwd"), fix)
        return
    uid, shell = int(fields[2]), fields[6]
    if uid == 0:
        fix = "userdel weed, then reinstall the package"
        yield Finding("user-root", ERROR, "the user weed is root", host.paths.at("/etc/passwd"), fix)
    elif not shell.endswith(("/nologin", "/false")):
        fix = "usermod --shell /usr/sbin/nologin weed"
        yield Finding("user-login", WARNING, f"the user weed can log in ({shell})", host.paths.at("/etc/passwd"), fix)
    else:
        yield Finding("user", OK, f"user weed is {uid}, without login")


def ports(host: Host) -> Iterator[Finding]:
    """Each port that an instance needs: free, its own, or somebody else's."""
    low, high = _ephemeral(host)
    free = 0
    for instance in host.settings.instances():
        try:
            options = read_options(host.paths, instance)
        except OpsError:
            options = {}  # `starts` says what is wrong with the file
        for wanted in listeners(instance, host.settings, options):
            where = f"{instance.name}: {wanted.host}:{wanted.port} ({wanted.purpose})"
            try:
                check_ports([wanted])
                free += 1
            except (ConfigError, PortError) as error:
                held = holders(wanted.port)
                if held and all(_own(host, instance.unit, holder) for holder in held):
                    free += 1
                    continue
                yield Finding("port-in-use", ERROR, error.brief.splitlines()[0], where, error.resolution)
            if low <= wanted.port <= high:
                fix = (
                    f"sysctl net.ipv4.ip_local_reserved_ports={wanted.port} (keep those already in it), or another port"
                )
                yield Finding("port-ephemeral", WARNING, "an outgoing connection may take this port", where, fix)
    yield Finding("ports", OK, f"{free} ports are free or held by their own instance")


def _own(host: Host, unit: str, holder: Holder) -> bool:
    """Return whether a holder is the server of the instance; without root /proc tells no more than its user."""
    if not holder.pid:
        return holder.user == "weed" and not host.root
    if holder.unit == unit:
        return True
    try:
        program = os.readlink(f"/proc/{holder.pid}/exe")
    except OSError:
        return False
    return not holder.unit.endswith(".service") and program == os.path.realpath(host.paths.binary)


def _ephemeral(host: Host) -> Tuple[int, int]:
    words = read(host.paths.at("/proc/sys/net/ipv4/ip_local_port_range")).split()
    return (int(words[0]), int(words[1])) if len(words) == 2 else (1, 0)


def _mount(path: str) -> Tuple[str, str, List[str]]:
    """Return mount point, type and options of the file system that `path` is or will be in."""
    best = ("/", "", [""])
    real = os.path.realpath(path)
    for line in read("/proc/self/mounts").splitlines():
        _, point, kind, options = line.split()[:4]
        point = point.replace("\\040", " ")
        if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) >= len(best[0]):
            best = (point, kind, options.split(","))
    return best


def _above(path: str) -> str:
    """Return `path`, or the nearest folder above it that exists."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def disks(host: Host) -> Iterator[Finding]:
    """Space, inodes and mount options below data, logs and the program."""
    seen: Set[str] = set()
    places = [(instance.name, host.paths.at(path)) for instance in host.settings.instances() for path in instance.data]
    places += [("logs", host.paths.logs), ("the program", host.paths.at("/opt/weed"))]
    for name, place in places:
        point, kind, options = _mount(_above(place))
        if name == "the program" and "noexec" in options:
            fix = f"mount -o remount,exec {point}, and take noexec out of /etc/fstab"
            yield Finding("noexec", ERROR, f"{point} is mounted noexec: nothing below /opt/weed can run", place, fix)
        if "ro" in options:
            yield Finding("read-only", ERROR, f"{point} is mounted read-only ({name})", place, "mount it read-write")
        if kind in VOLATILE[:2] and name not in ("logs", "the program"):
            fix = "put the data on a disk: its key in weed.conf"
            yield Finding("data-volatile", WARNING, f"{point} is {kind}: a reboot loses the data", place, fix)
        if point not in seen:
            seen.add(point)
            yield from _room(point, place)


def _room(point: str, place: str) -> Iterator[Finding]:
    stat = os.statvfs(_above(place))
    free, size = stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize
    text = f"{point}: {free / 1e9:.1f} of {size / 1e9:.1f} GB are free"
    if free < FULL_BYTES:
        yield Finding("disk-full", ERROR, text, place, "make room or add a disk: volumes get read-only when it is full")
    elif free < LOW_SHARE * size:
        yield Finding("disk-low", WARNING, text, place, "make room or add a disk before it is full")
    else:
        yield Finding("disk", OK, text, place)
    if stat.f_files and stat.f_favail < LOW_INODES * stat.f_files:
        text = f"{point}: {stat.f_favail} of {stat.f_files} inodes are free"
        yield Finding("inodes-low", WARNING, text, place, "remove small files, or make a new file system with more")


def data(host: Host) -> Iterator[Finding]:
    """Owner and mode of the folders with data and logs."""
    owner = account(host.paths)
    if owner is None or host.before == INSTALL:
        return
    places = [(instance.name, host.paths.at(path)) for instance in host.settings.instances() for path in instance.data]
    for name, place in [*places, ("logs", host.paths.logs)]:
        try:
            status = os.stat(place)
        except FileNotFoundError:
            fix = "weed-instances apply makes it; mount its disk before, if it has one"
            yield Finding("data-missing", WARNING, f"the folder of {name} does not exist yet", place, fix)
            continue
        except PermissionError:
            yield Finding("unseen", NOTE, f"the folder of {name} cannot be seen", place, "run as root")
            continue
        fix = f"chown weed:weed {place}; chmod 0750 {place}"
        if not owner.may(status, 7):
            yield Finding("data-owner", ERROR, f"the user weed cannot write the folder of {name}", place, fix)
        elif status.st_mode & 0o002:
            yield Finding("data-open", ERROR, f"everybody may write the folder of {name}", place, fix)
        elif status.st_mode & 0o005 and name != "logs":
            yield Finding("data-readable", NOTE, f"everybody may look into the folder of {name}", place, fix)


def limits(host: Host) -> Iterator[Finding]:
    """Open files."""
    most = read(host.paths.at("/proc/sys/fs/nr_open")).strip()
    if most and int(most) < NOFILE:
        what = f"a process may open {most} files at most; the units ask for {NOFILE}"
        yield Finding(
            "nofile", WARNING, what, "/proc/sys/fs/nr_open", f"sysctl -w fs.nr_open={NOFILE}, and in sysctl.d"
        )
    else:
        yield Finding("nofile", OK, f"{NOFILE} open files are possible")


def clock(host: Host) -> Iterator[Finding]:
    """Whether the clock is kept: S3 refuses requests that are 15 minutes off, and tokens expire."""
    program = find_program(host.paths, "timedatectl")
    output = run([program, "show", "--property=NTPSynchronized", "--value"]).out if program else ""
    if output == "yes":
        yield Finding("clock", OK, "the clock is synchronised")
    elif output == "no":
        fix = "enable chrony or systemd-timesyncd; see: timedatectl"
        yield Finding("clock-unsynchronised", WARNING, "the clock is not synchronised; S3 signatures expire", "", fix)
    else:
        yield Finding("unseen", NOTE, "cannot find out whether the clock is synchronised", "", "see: timedatectl")
