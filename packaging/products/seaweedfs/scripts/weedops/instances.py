"""`weed-instances`: makes this host run exactly the instances that weed.conf asks for."""

import argparse
import json
import os
import sys
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set

from weedops import apparmor, datadirs, generated, units
from weedops.errors import AccessError, OpsError
from weedops.paths import Installed, Paths, read_installed
from weedops.probe import GOOD, probe
from weedops.settings import Instance, Settings, read_settings

ASK = 2.0
"""Seconds that an instance has to answer `list`."""


class Step(NamedTuple):
    """One change: what it is in words, and what makes it."""

    text: str
    act: Callable[[], None]


class Host(NamedTuple):
    """What the steps work on."""

    paths: Paths
    settings: Settings
    installed: Installed
    start: bool


def steps(host: Host) -> List[Step]:
    """Return what has to change, in order; nothing when the host is as it should be."""
    made = [*_stops(host), *_folders(host), *_drop_ins(host), *_confines(host)]
    # HAProxy last: what it complains of ends the run, and by then every instance has been started.
    return [*made, *_enables(host), *_starts(host), *_proxy(host)]


def _stops(host: Host) -> List[Step]:
    paths, wanted = host.paths, set(units.wanted(host.settings))
    states = units.states(paths) if host.start else {}
    made = []
    for verb, which in (("stop", ("active", "activating", "reloading")), ("reset-failed", ("failed",))):
        extra = sorted(unit for unit, state in states.items() if state in which and unit not in wanted)
        if extra:
            made.append(
                Step(f"{verb} {' '.join(extra)} (the data stays)", _bound(units.systemctl, paths, verb, *extra))
            )
    extra = sorted(units.enabled(paths) - wanted - ({units.TARGET} if wanted else set()))
    if extra:
        made.append(Step(f"disable {' '.join(extra)}", _bound(units.disable, paths, extra)))
    return made


def _folders(host: Host) -> List[Step]:
    made = []
    for folder in datadirs.missing(host.paths, host.settings):
        text = f"hand over {folder.path} to weed" if folder.exists else f"make {folder.path} (weed:weed, 0750)"
        made.append(Step(text, _bound(datadirs.make, host.paths, folder)))
    return made


def _generates(path: str, text: str) -> List[Step]:
    """Return the step, if any, that makes a generated file say `text`."""
    before = generated.present(path)
    if before == text:
        return []
    verb = "change" if before and text else "write" if text else "remove"
    return [Step(f"{verb} {path}", _bound(generated.write, path, text))]


def _drop_ins(host: Host) -> List[Step]:
    made = []
    for role, text in units.drop_ins(host.settings).items():
        made += _generates(units.drop_in(host.paths, role), text)
    if made and units.booted(host.paths):
        made.append(Step("let systemd read its units again", _bound(units.systemctl, host.paths, "daemon-reload")))
    return made


def _confines(host: Host) -> List[Step]:
    made = _generates(apparmor.tunables(host.paths), apparmor.text(host.paths, host.settings))
    if made and apparmor.enabled(host.paths):
        made.append(Step("load the AppArmor profile again", _bound(apparmor.reload, host.paths)))
    return made


def _enables(host: Host) -> List[Step]:
    have = units.enabled(host.paths)
    wanted = units.wanted(host.settings)
    lacking = [unit for unit in ([units.TARGET] if wanted else []) + wanted if unit not in have]
    return [Step(f"enable {' '.join(lacking)}", _bound(units.enable, host.paths, lacking))] if lacking else []


def _proxy(host: Host) -> List[Step]:
    from weedops import haproxy

    path = host.paths.haproxy
    try:
        text = haproxy.text(host.settings, host.installed, host.paths, haproxy.version(host.paths))
    except OpsError as error:
        return [Step(f"write {path}", _bound(_raise, error))]
    if _text(path) == text:
        return []

    def act() -> None:
        written = haproxy.write(host.paths, host.settings, host.installed)
        for note in written.notes:
            sys.stdout.write(f"  {note}\n")
        if written.refused:
            raise OpsError(f"HAProxy refuses the configuration for S3: {written.refused}", "the old one stays in place")

    return [Step(f"{'write' if text else 'remove'} {path}", act)]


def _raise(error: OpsError) -> None:
    raise error


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _starts(host: Host) -> List[Step]:
    if not host.start or not units.booted(host.paths):
        return []
    running = {unit for unit, state in units.states(host.paths).items() if state in ("active", "activating")}
    lacking = [unit for unit in units.wanted(host.settings) if unit not in running]
    if not lacking:
        return []
    text = f"start {' '.join(lacking)}"
    # weed.target first: stopping it stops them all. Not waiting: masters are ready only once enough of them are.
    return [Step(text, _bound(units.systemctl, host.paths, "--no-block", "start", units.TARGET, *lacking))]


def _bound(function: Callable[..., None], *arguments: object) -> Callable[[], None]:
    return lambda: function(*arguments)


def apply(host: Host, dry: bool) -> int:
    """Carry the steps out, or with `dry` only name them, and return how many there are."""
    planned = steps(host)
    for step in planned:
        sys.stdout.write(f"{'would ' if dry else ''}{step.text}\n")
        sys.stdout.flush()
        if not dry:
            try:
                step.act()
            except OSError as error:
                raise AccessError(f"{error.filename}: {error.strerror}", "run this as root")
    if not planned:
        sys.stdout.write("nothing to do: this host matches weed.conf\n")
    if host.start and not units.booted(host.paths):
        sys.stdout.write("systemd does not run here: the instances start when the machine does\n")
    return len(planned)


def wait_good(host: Host, seconds: float) -> List[str]:
    """Wait until every instance is good, at most `seconds`, and return what is wrong with those that are not."""
    end = time.monotonic() + seconds
    left = list(host.settings.instances())
    wrong: List[str] = []
    while left:
        answers = [(one, probe(one, host.installed, host.settings, ASK, host.paths)) for one in left]
        left = [one for one, health in answers if health.state != GOOD]
        wrong = [f"{one.unit}: {health.state}: {health.detail}" for one, health in answers if health.state != GOOD]
        if time.monotonic() > end:
            break
        time.sleep(0.5 if left else 0)
    return wrong


def row(host: Host, instance: Instance, states: Dict[str, str], on: Set[str]) -> Dict[str, Any]:
    """Return everything about one instance."""
    health = probe(instance, host.installed, host.settings, ASK, host.paths)
    return {
        "unit": instance.unit,
        "enabled": instance.unit in on,
        "state": states.get(instance.unit, "unknown" if not units.booted(host.paths) else "inactive"),
        "health": health.state,
        "detail": health.detail,
        "ports": instance.ports,
        "data": list(instance.data),
    }


def show(host: Host, as_json: bool) -> None:
    """Print the instances that weed.conf asks for, then those that run or are enabled in spite of it."""
    states, on = units.states(host.paths), units.enabled(host.paths)
    rows = [row(host, instance, states, on) for instance in host.settings.instances()]
    known = set(units.wanted(host.settings)) | {units.TARGET}
    extra = sorted(({unit for unit, state in states.items() if state != "inactive"} | on) - known)
    if as_json:
        sys.stdout.write(json.dumps({"instances": rows, "not in weed.conf": extra}, indent=2) + "\n")
        return
    line = "{:<26} {:<9} {:<12} {:<8} {}\n"
    sys.stdout.write(line.format("UNIT", "ENABLED", "STATE", "HEALTH", "PORTS"))
    for one in rows:
        ports = " ".join(f"{name}={port}" for name, port in one["ports"].items())
        enabled = "yes" if one["enabled"] else "no"
        sys.stdout.write(line.format(one["unit"], enabled, one["state"], one["health"], ports))
    for unit in extra:
        sys.stdout.write(f"{unit} is not in weed.conf: weed-instances apply stops it\n")


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command line and return the exit code."""
    asked = _parser().parse_args(arguments)
    paths = Paths(os.path.abspath(asked.root))
    os.umask(0o022)  # a hardened host's 077 would make folders that systemd's user manager and HAProxy cannot enter
    try:
        start = asked.command == "apply" and not asked.no_start
        host = Host(paths, read_settings(paths), read_installed(paths), start)
        if asked.command == "list":
            show(host, asked.json)
            return 0
        if paths.root == "/" and os.geteuid() != 0 and not asked.dry_run:
            raise AccessError("weed-instances apply changes units and folders, which only root may", "use sudo")
        apply(host, asked.dry_run)
        wrong = wait_good(host, asked.wait) if asked.wait and not asked.dry_run else []
        sys.stdout.write("".join(f"not good after {asked.wait:g} s: {one}\n" for one in wrong))
        return 1 if wrong else 0
    except OpsError as error:
        sys.stdout.flush()
        sys.stderr.write(f"weed-instances: {error}\n")
        return error.code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="weed-instances", description="Makes this host run exactly the instances that weed.conf asks for."
    )
    parser.add_argument("--root", default="/", help="work on the files of an image below this folder")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True
    change = commands.add_parser("apply", help="enable and start what weed.conf asks for, disable and stop the rest")
    change.add_argument("--dry-run", action="store_true", help="print what would be done, and do nothing")
    change.add_argument("--no-start", action="store_true", help="start and stop nothing")
    change.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="wait until all are good; 1 if not")
    listing = commands.add_parser("list", help="show the instances, their ports and how they are")
    listing.add_argument("--json", action="store_true", help="as JSON")
    return parser
