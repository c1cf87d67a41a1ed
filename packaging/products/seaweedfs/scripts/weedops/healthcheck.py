"""`healthcheck.sh [NAME…]`: is an instance healthy, or all of them? For monitors.

Exit codes as monitoring plugins have them (Monitoring Plugins Development Guidelines): 0 ok, 1 warning, 2 critical,
3 unknown.
"""

import argparse
import json
import re
import sys
import time
from typing import List, NamedTuple, Optional

from weedops.errors import OpsError, UsageError
from weedops.paths import Installed, Paths, read_installed
from weedops.probe import GOOD, Health, aim, ask
from weedops.settings import Instance, Settings, read_settings

OK, WARNING, CRITICAL, UNKNOWN = range(4)
WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")

LOCKED = 423
"""A leader that holds its topology locked is busy: asked again until the time is up, and then a warning."""
PAUSE_SECONDS = 0.25


class Verdict(NamedTuple):
    """The health of one instance. `seconds` is how long the answer took."""

    name: str
    code: int
    detail: str
    seconds: float


def health_of(instance: Instance, installed: Installed, settings: Settings, paths: Paths, timeout: float) -> Verdict:
    """Ask `instance` for at most `timeout` seconds and rate its answer."""
    start = time.monotonic()
    target = aim(instance, installed, settings, paths)
    while True:
        left = timeout - (time.monotonic() - start)
        health = ask(target, max(round(left, 1), PAUSE_SECONDS))
        if health.status != LOCKED or left <= PAUSE_SECONDS:
            return Verdict(instance.name, _code(health), health.detail, round(time.monotonic() - start, 3))
        time.sleep(PAUSE_SECONDS)


def _code(health: Health) -> int:
    if health.state == GOOD:
        return OK
    return WARNING if health.status == LOCKED else CRITICAL


def choose(settings: Settings, names: List[str]) -> List[Instance]:
    """Return the instances called `names` (`master-1`, or a role for all of it), or all. Raises UsageError."""
    chosen: List[Instance] = []
    for name in names:
        role, dash, number = name.partition("-")
        if dash:
            chosen.append(settings.find(role, number))
        else:
            settings.find(role, "1")
            chosen += settings.instances(role)
    return list(dict.fromkeys(chosen)) if names else settings.instances()


def overall(verdicts: List[Verdict]) -> int:
    """Return the code for all: the worst, where critical is worse than unknown and that worse than a warning."""
    codes = {verdict.code for verdict in verdicts}
    return next((code for code in (CRITICAL, UNKNOWN, WARNING) if code in codes), OK)


def report(verdicts: List[Verdict]) -> str:
    """Return the text for a monitor: a line with the sum and its figures, then a line for each instance."""
    good = sum(verdict.code == OK for verdict in verdicts)
    slowest = max([verdict.seconds for verdict in verdicts] or [0.0])
    head = f"WEED {WORDS[overall(verdicts)]} - {good} of {len(verdicts)} instances are healthy"
    bad = [verdict.name for verdict in verdicts if verdict.code != OK]
    head += f", not {', '.join(bad)}" if bad else ""
    lines = [f"{head} | healthy={good};;;0;{len(verdicts)} slowest={slowest}s"]
    lines += [f"{verdict.name:<12}{WORDS[verdict.code]:<10}{verdict.detail}" for verdict in verdicts]
    return "\n".join(lines)


def as_json(verdicts: List[Verdict]) -> str:
    """Return the same as JSON."""
    instances = [
        {"name": v.name, "state": WORDS[v.code].lower(), "detail": v.detail, "seconds": v.seconds} for v in verdicts
    ]
    code = overall(verdicts)
    return json.dumps({"state": WORDS[code].lower(), "code": code, "instances": instances}, indent=2)


def seconds(text: str) -> float:
    """Return a number of seconds from the command line. Raises ArgumentTypeError."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) or not 0 < float(text) <= 3600:
        raise argparse.ArgumentTypeError(f"must be a number of seconds from 0 to 3600, got {text!r}")
    return float(text)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> "None":  # type: ignore[override]
        self.exit(UNKNOWN, f"WEED UNKNOWN - {message}\n{self.format_usage()}")


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command line and return the exit code."""
    parser = _Parser(
        prog="healthcheck.sh",
        description="Ask instances for their health. Exit code: 0 ok, 1 warning, 2 critical, 3 unknown.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="master-1, or a role for all of it (default: everything)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--timeout", type=seconds, default=5.0, metavar="SECONDS", help="for each instance (default: 5)"
    )
    parser.add_argument("--root", default="/", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    paths = Paths(asked.root)
    try:
        settings = read_settings(paths)
        installed = read_installed(paths)
        verdicts = [health_of(one, installed, settings, paths, asked.timeout) for one in choose(settings, asked.names)]
    except OpsError as error:
        if isinstance(error, UsageError) and not asked.json:
            sys.stdout.write(f"WEED UNKNOWN - {error}\n")
            return UNKNOWN
        verdicts = [Verdict("host", UNKNOWN, str(error), 0.0)]
    sys.stdout.write((as_json(verdicts) if asked.json else report(verdicts)) + "\n")
    return overall(verdicts)
