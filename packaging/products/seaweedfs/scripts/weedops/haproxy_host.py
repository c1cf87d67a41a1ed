"""The HAProxy of this host: which files its unit reads, its runtime socket, and reloading it."""

import os
import re
import shlex
from typing import Dict, List, NamedTuple

from weedops.paths import Paths
from weedops.programs import find_program, is_active, run

CONFIG = "/etc/haproxy/haproxy.cfg"
UNIT = "haproxy.service"

UNIT_FOLDERS = ("/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/system", "/etc/systemd/system")
"""Later ones win (systemd.unit(5))."""


class StatsSocket(NamedTuple):
    """One `stats socket` of the configuration; only with level admin can it drain a server."""

    path: str
    level: str


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _files(folder: str, ending: str) -> List[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [os.path.join(folder, name) for name in names if name.endswith(ending) and not name.startswith(".")]


def _unit_lines(paths: Paths) -> List[str]:
    """Return the lines of the unit and its drop-ins, continued ones joined. Raises OSError for one that is not ours."""
    units = [paths.at(os.path.join(folder, UNIT)) for folder in UNIT_FOLDERS]
    present = [path for path in units if os.path.exists(path)]
    text = _read(present[-1]) if present else ""
    for folder in UNIT_FOLDERS:
        for path in _files(paths.at(os.path.join(folder, UNIT + ".d")), ".conf"):
            text += "\n" + _read(path)
    return text.replace("\\\n", " ").splitlines()


def arguments(paths: Paths) -> List[str]:
    """Return the command line that the unit of HAProxy starts, variables filled in; [] without a unit."""
    variables: Dict[str, str] = {}
    files: Dict[str, str] = {}
    start = ""
    for line in _unit_lines(paths):
        key, _, value = line.strip().partition("=")
        if key == "Environment":
            variables.update(word.partition("=")[::2] for word in shlex.split(value))
        elif key == "EnvironmentFile":
            files.update(_assignments(_read(paths.at(value.lstrip("-")))))
        elif key == "ExecStart":
            start = value
    variables.update(files)
    for name, value in variables.items():
        start = re.sub(rf"\$({name}\b|{{{name}}})", lambda _, text=value: text, start)  # type: ignore[misc]
    return start.split()


def _assignments(text: str) -> Dict[str, str]:
    pairs = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith(("#", ";")):
            pairs[key.strip()] = value.strip().strip("\"'")
    return pairs


def reads_snippet(paths: Paths) -> bool:
    """Return whether the unit of HAProxy reads our file."""
    words = arguments(paths)
    given = [words[at + 1].rstrip("/") for at, word in enumerate(words[:-1]) if word == "-f"]
    snippet = paths.haproxy[len(paths.root.rstrip("/")) :]
    return any(place in (snippet, os.path.dirname(snippet)) for place in given)


def how_to_read(paths: Paths) -> str:
    """Return what to do so that the unit of HAProxy reads our file."""
    if os.path.exists(paths.at("/etc/default/haproxy")):
        present = _assignments("\n".join(_unit_values(paths, "Environment"))).get("EXTRAOPTS", "")
        present = _assignments(_read(paths.at("/etc/default/haproxy"))).get("EXTRAOPTS", present)
        options = f"{present} -f /etc/haproxy/conf.d".strip()
        return f'write EXTRAOPTS="{options}" into /etc/default/haproxy, then: systemctl restart haproxy'
    return (
        "systemctl edit haproxy, write [Service], an empty ExecStart= and the ExecStart of the unit with "
        "`-f /etc/haproxy/conf.d` after the first -f, then: systemctl restart haproxy"
    )


def _unit_values(paths: Paths, key: str) -> List[str]:
    found: List[str] = []
    for line in _unit_lines(paths):
        name, _, value = line.strip().partition("=")
        if name == key:
            found += shlex.split(value)
    return found


def companions(paths: Paths) -> List[str]:
    """Return the other files that are read together with ours."""
    return [path for path in _files(os.path.dirname(paths.haproxy), ".cfg") if path != paths.haproxy]


def stats_sockets(paths: Paths) -> List[StatsSocket]:
    """Return the runtime sockets on this host that the configuration opens, those of level admin first."""
    found = []
    for path in [paths.at(CONFIG), *companions(paths)]:
        for line in _read(path).splitlines():
            words = line.split("#")[0].split()
            if words[:2] == ["stats", "socket"] and len(words) > 2:
                place = re.sub("^unix@", "", words[2])
                level = words[words.index("level") + 1] if "level" in words[:-1] else "operator"
                if place.startswith("/"):
                    found.append(StatsSocket(paths.at(place), level))
    return sorted(found, key=lambda socket: socket.level != "admin")


def reload_haproxy(paths: Paths) -> List[str]:
    """Reload HAProxy if it is installed and active, and return what the operator should know."""
    if not find_program(paths, "haproxy"):
        return []
    if not reads_snippet(paths):
        return [f"HAProxy does not read {os.path.dirname(paths.haproxy)} yet: {how_to_read(paths)}"]
    if not is_active(paths, UNIT):
        return []
    done = run([find_program(paths, "systemctl"), "reload", UNIT])
    if done.code:
        return [f"HAProxy was not reloaded ({done.output or done.code}): journalctl -u haproxy says why"]
    return ["HAProxy was reloaded"]
