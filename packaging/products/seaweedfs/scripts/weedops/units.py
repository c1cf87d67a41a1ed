"""The units of the instances on this host: which are enabled, which run, and the drop-ins for their data."""

import os
import re
from typing import Dict, List, Set

from weedops.errors import OpsError
from weedops.generated import MARK
from weedops.paths import Paths
from weedops.programs import find_program, run
from weedops.settings import ROLES, Settings

TARGET = "weed.target"
OWN = "/var/lib/weed/"
"""Data below it needs no drop-in: the units have it as StateDirectory."""

DAY = 86400.0
SPANS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": DAY}

_UNIT = re.compile(r"weed-(" + "|".join(ROLES) + r")@[1-9][0-9]?\.service")


def booted(paths: Paths) -> bool:
    """Return whether systemd runs here (sd_booted(3)); in a chroot or a container it may not."""
    return os.path.isdir(paths.at("/run/systemd/system"))


def wanted(settings: Settings) -> List[str]:
    """Return the units that the settings ask for, in the order in which they start."""
    return [instance.unit for instance in settings.instances()]


def enabled(paths: Paths) -> Set[str]:
    """Return the units that are enabled: instances, and weed.target."""
    found: Set[str] = set()
    for role in ROLES:
        folder = os.path.join(paths.units, f"weed-{role}.target.wants")
        found.update(name for name in _names(folder) if _UNIT.fullmatch(name))
    if os.path.lexists(os.path.join(paths.units, "multi-user.target.wants", TARGET)):
        found.add(TARGET)
    return found


def states(paths: Paths) -> Dict[str, str]:
    """Return the state of each instance that systemd has loaded: active, activating, failed… Empty without systemd."""
    program = find_program(paths, "systemctl")
    if not program or not booted(paths):
        return {}
    patterns = [f"weed-{role}@*.service" for role in ROLES]
    done = run([program, "list-units", "--all", "--plain", "--no-legend", "--no-pager", *patterns])
    rows = [line.split() for line in done.out.splitlines()]
    return {row[0]: row[2] for row in rows if len(row) > 3 and _UNIT.fullmatch(row[0])}


def enable(paths: Paths, units: List[str]) -> None:
    """Enable `units`: by systemctl, or where it is not installed by the links that it would make."""
    if not _offline_or_on(paths, "enable", units):
        for unit in units:
            link = _link(paths, unit)
            os.makedirs(os.path.dirname(link), mode=0o755, exist_ok=True)
            if not os.path.lexists(link):
                os.symlink(_file(paths, unit), link)


def disable(paths: Paths, units: List[str]) -> None:
    """Disable `units`, running or not."""
    if not _offline_or_on(paths, "disable", units):
        for unit in units:
            if os.path.lexists(_link(paths, unit)):
                os.unlink(_link(paths, unit))


def systemctl(paths: Paths, *arguments: str, timeout: float = 600) -> None:
    """Run systemctl. Raises OpsError with its output if it fails."""
    program = find_program(paths, "systemctl")
    done = run([program, *arguments], timeout)
    if done.code:
        raise OpsError(f"systemctl {' '.join(arguments)}: {done.output or done.code}", "see: systemctl status 'weed-*'")


def longest_restart(program: str, unit: str) -> float:
    """Return how many seconds `unit` allows for a stop and a start, as `program`, systemctl, says; a day at most."""
    done = run([program, "show", "--property=TimeoutStopUSec,TimeoutStartUSec", unit])
    spans = [_seconds(line.partition("=")[2]) for line in done.out.splitlines() if "USec=" in line]
    return min(sum(spans), DAY) if done.code == 0 and len(spans) == 2 else DAY


def _seconds(text: str) -> float:
    """Return a time span of systemd (systemd.time(7)), "1min 30s" or "infinity", in seconds."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(\w+)", text)
    if not parts or any(unit not in SPANS for _, unit in parts):
        return DAY
    return sum(float(number) * SPANS[unit] for number, unit in parts)


def _offline_or_on(paths: Paths, verb: str, units: List[str]) -> bool:
    """Let systemctl do it, and return whether there is one. It works on files where no systemd runs."""
    program = find_program(Paths(), "systemctl")
    if not program or not units:
        return not units
    root = [] if paths.root == "/" else [f"--root={paths.root}"]
    done = run([program, *root, "--quiet", verb, *units], 120)
    if done.code:
        raise OpsError(
            f"systemctl {verb} {' '.join(units)}: {done.output}", "is one of them masked? systemctl unmask it"
        )
    return True


def _link(paths: Paths, unit: str) -> str:
    found = _UNIT.fullmatch(unit)
    target = f"weed-{found.group(1)}.target" if found else "multi-user.target"
    return os.path.join(paths.units, target + ".wants", unit)


def _file(paths: Paths, unit: str) -> str:
    """Return what the link of `unit` points to: the file of its template, as the host sees it."""
    name = re.sub(r"@[^.]*", "@", unit)
    for folder in ("/usr/lib/systemd/system", "/lib/systemd/system"):
        if os.path.exists(paths.at(os.path.join(folder, name))):
            return os.path.join(folder, name)
    raise OpsError(f"there is no unit {name}", "reinstall the package")


def _names(folder: str) -> List[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def drop_in(paths: Paths, role: str) -> str:
    """Return the path of the drop-in with the data paths of `role`."""
    return os.path.join(paths.units, f"weed-{role}@.service.d", "50-paths.conf")


def drop_ins(settings: Settings) -> Dict[str, str]:
    """Return what the drop-in of each role says, "" when it needs none."""
    texts = {}
    for role in ROLES:
        places = [path for path in settings.data(role) if not path.startswith(OWN)] if settings.count(role) else []
        lines = ["[Unit]", *(f"RequiresMountsFor={path}" for path in places)]
        lines += ["", "[Service]", *(f"ReadWritePaths=-{path}" for path in places)]
        texts[role] = "\n".join([MARK, *lines, ""]) if places else ""
    return texts
