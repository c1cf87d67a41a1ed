"""`weed-rolling-restart`: every instance anew, one after the other, while the others serve.

Volume servers first, then filers, then S3 servers (taken out of HAProxy before), then masters, the leader last. Before
each one, the others of its role must be healthy; after it, it must be, and the masters must know it again.
"""

import argparse
import contextlib
import fcntl
import os
import signal
import sys
import time
from typing import Callable, Iterator, List, NamedTuple, Optional, Set, Tuple

from weedops.cluster import Cluster
from weedops.errors import AccessError, ConfigError, OpsError
from weedops.haproxy_runtime import Runtime, runtime
from weedops.healthcheck import choose, seconds
from weedops.launch import plan
from weedops.paths import Paths, read_installed
from weedops.probe import GOOD, Health, ask
from weedops.programs import find_program, run
from weedops.settings import ROLES, Instance, read_settings

ORDER = ("volume", "filer", "s3", "master")
"""What holds data first, so that what depends on it sees it gone and back before its own turn comes."""

RESTART_SECONDS = 600
"""For `systemctl restart`: the units' TimeoutStopSec and TimeoutStartSec together are shorter."""
POLL_SECONDS = 0.5
HOLD_DRAIN_SECONDS = 20
"""How long requests may wait for those that run, of the minute that HAProxy holds them."""
STEADY = 2
"""How often in a row an answer must be good."""


class Limits(NamedTuple):
    """How long to wait, in seconds, and what is allowed."""

    health: float
    drain: float
    pause: float
    interruption: bool


class Rolling(NamedTuple):
    """One run. `say` writes a line for the operator."""

    cluster: Cluster
    systemctl: str
    proxy: Optional[Runtime]
    limits: Limits
    say: Callable[[str], None]

    def health(self, instance: Instance) -> Health:
        """Ask `instance` once."""
        return ask(self.cluster.target(instance), 3.0)

    def order(self, instances: List[Instance]) -> List[Instance]:
        """Return `instances` in the order in which they are restarted: in a role the sick first, the leader last."""
        leaders = {leader.name for leader in self.cluster.leaders()}
        well = {one.name for one in instances if self.health(one).state == GOOD}
        return sorted(
            instances, key=lambda one: (ORDER.index(one.role), one.name in well, one.name in leaders, one.number)
        )

    def check(self, instance: Instance) -> str:
        """Raise OpsError when `instance` cannot be spared now; return what the operator should know, "" if nothing."""
        others = [one for one in self.cluster.settings.instances(instance.role) if one.name != instance.name]
        for other in others:
            health = self.health(other)
            if health.state != GOOD:
                raise OpsError(
                    f"{instance.name} cannot be spared: {other.name} is not healthy ({health.detail})",
                    f"mend {other.name} first: journalctl -u {other.unit}",
                )
        if instance.role == "master":
            return self._quorum(instance)
        if not others and not self.limits.interruption:
            raise OpsError(
                f"{instance.name} is the only one of its role, so its work stops while it restarts",
                "accept that with --allow-interruption, or run two",
            )
        return "" if others else "the only one: requests wait or fail until it is back"

    def _quorum(self, instance: Instance) -> str:
        """Judge what the masters can do without `instance`."""
        settings = self.cluster.settings
        needed, left = len(settings.seats) // 2 + 1, self.cluster.answering(instance.name)
        if left >= needed:
            return ""
        if left < len(settings.masters) - 1:
            raise OpsError(
                f"{instance.name} cannot be spared: {left} other masters answer, {needed} are needed for a leader",
                "bring the other masters back first: healthcheck.sh master",
            )
        if len(settings.masters) == 1 and not self.limits.interruption:
            raise OpsError(
                f"{instance.name} is the only master: writes wait while it restarts",
                "accept that with --allow-interruption, or run three masters",
            )
        return f"{left} of {len(settings.seats)} seats stay: if no leader is left, writes wait until it is back"

    def restart(self, instance: Instance) -> None:
        """Restart `instance` and wait until it serves again. Raises OpsError at the first thing that goes wrong."""
        note = self.check(instance)
        if note:
            self.say(f"{instance.name:<10} {note}")
        start = time.monotonic()
        held = self._holds(instance)
        try:
            self._spare(instance, held)
            before = self.cluster.expected()
            done = run([self.systemctl, "restart", instance.unit], RESTART_SECONDS)
            if done.code:
                raise OpsError(
                    f"{instance.name} was not restarted: {done.said or f'systemctl ended with {done.code}'}",
                    f"journalctl -u {instance.unit} says why",
                )
            self._wait(instance, before)
        finally:
            back = self._restore(instance, held)
        self.say(f"{instance.name:<10} restarted, healthy after {time.monotonic() - start:.1f} s{back}")

    def _holds(self, instance: Instance) -> bool:
        """Return whether requests wait in HAProxy meanwhile: a new leader knows no volumes for some seconds."""
        return self.proxy is not None and instance.name in {leader.name for leader in self.cluster.leaders()}

    def _spare(self, instance: Instance, held: bool) -> None:
        """Keep new requests from what is about to go, and wait for those that run."""
        if not self.proxy:
            return
        left = 0
        if instance.role == "s3":
            left = self.proxy.drain(instance.name, self.limits.drain)
            self.say(f"{instance.name:<10} out of HAProxy")
        elif held:
            left = self.proxy.hold(min(self.limits.drain, HOLD_DRAIN_SECONDS))
            self.say(f"{instance.name:<10} leads: requests wait in HAProxy until there is another leader")
        if left:
            self.say(f"{instance.name:<10} {left} requests are still running, and may fail")

    def _restore(self, instance: Instance, held: bool) -> str:
        """Let HAProxy use the server again, whatever happened: its own check keeps out one that is not healthy."""
        if held and self.proxy:
            self.proxy.release()
        if instance.role != "s3" or not self.proxy:
            return ""
        broken = sys.exc_info()[0] is not None
        if self.proxy.restore(instance.name, 0 if broken else self.limits.health):
            return ", back in HAProxy"
        if not broken:
            raise OpsError(
                f"{instance.name} is healthy, and HAProxy does not find it so",
                "echo 'show servers state' | socat stdio <HAProxy's stats socket>; see: journalctl -u haproxy",
            )
        return ""

    def _wait(self, instance: Instance, volumes: Set[int]) -> None:
        deadline = time.monotonic() + self.limits.health
        good = 0
        while True:
            missing = self._missing(instance, volumes)
            good = 0 if missing else good + 1
            if good == STEADY:
                return
            if time.monotonic() > deadline:
                raise OpsError(
                    f"{instance.name} did not become healthy within {self.limits.health:g} s: {missing}",
                    f"journalctl -u {instance.unit} says why",
                )
            time.sleep(POLL_SECONDS)

    def _missing(self, instance: Instance, volumes: Set[int]) -> str:
        """Return what is missing until `instance` does its work again, "" for nothing."""
        health = self.health(instance)
        if health.state != GOOD:
            return health.detail
        if instance.role not in ("master", "volume") or not self.cluster.settings.count("master"):
            return ""
        if not self.cluster.agreed():
            return "the masters have no leader yet"
        away = sorted(volumes - (self.cluster.registered() or set()))
        return f"the leader does not know the volume servers on {', '.join(map(str, away))} yet" if away else ""


def check_plans(paths: Paths, instances: List[Instance]) -> None:
    """Raise OpsError when one of `instances` could not start again with the configuration as it is now."""
    for instance in instances:
        try:
            plan(paths, instance.role, str(instance.number), {})
        except OpsError as error:
            raise ConfigError(
                f"{instance.name} would not start again: {error.brief}", error.resolution or "weed doctor says more"
            )


def run_all(rolling: Rolling, instances: List[Instance]) -> Tuple[List[Instance], Optional[OpsError]]:
    """Restart `instances` in order; return what is left to do and why it stopped."""
    left = rolling.order(instances)
    while left:
        try:
            rolling.restart(left[0])
        except OpsError as error:
            return left, error
        except KeyboardInterrupt:
            return left, OpsError(f"stopped at {left[0].name}", f"see: healthcheck.sh {left[0].name}")
        # Who leads may have changed: among masters the order is found anew.
        left = rolling.order(left[1:])
        if left:
            time.sleep(rolling.limits.pause)
    return [], None


@contextlib.contextmanager
def lock(paths: Paths) -> Iterator[None]:
    """Hold the lock that keeps two runs apart. Raises OpsError when another one has it."""
    path = paths.at("/run/weed-rolling-restart.lock")
    with open(path, "a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OpsError("another weed-rolling-restart is at work", f"wait for it; `fuser {path}` names it")
        yield


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="weed-rolling-restart",
        description="Restart the instances of this host one after the other while the others serve. It stops at the"
        " first failure and says how to go on.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="master-1, or a role for all of it (default: everything)"
    )
    parser.add_argument("--role", action="append", choices=ROLES, default=[], help="the same as naming a role")
    parser.add_argument("--dry-run", action="store_true", help="check, print the order, restart nothing")
    parser.add_argument("--timeout", type=seconds, default=180.0, metavar="S", help="to become healthy (default: 180)")
    parser.add_argument("--drain", type=seconds, default=60.0, metavar="S", help="for requests to end (default: 60)")
    parser.add_argument("--pause", type=seconds, default=1.0, metavar="S", help="between two instances (default: 1)")
    parser.add_argument("--no-drain", action="store_true", help="do not take S3 servers out of HAProxy before")
    parser.add_argument("--allow-interruption", action="store_true", help="restart the only instance of a role, too")
    parser.add_argument("--root", default="/", help=argparse.SUPPRESS)
    return parser


def prepare(asked: argparse.Namespace) -> Tuple[Rolling, List[Instance]]:
    """Return the run and its instances, with everything checked that can be before. Raises OpsError."""
    paths = Paths(asked.root)
    if os.geteuid() != 0:
        raise AccessError("only root can restart units and speak to HAProxy", "sudo weed-rolling-restart")
    settings = read_settings(paths)
    instances = choose(settings, asked.names + asked.role)
    check_plans(paths, instances)
    systemctl = find_program(paths, "systemctl")
    if not systemctl or not os.path.isdir(paths.at("/run/systemd/system")):
        raise OpsError("systemd does not run here", "run it on the host, not in a chroot")
    serving = settings.instances("s3") if any(one.role in ("s3", "master") for one in instances) else []
    proxied = [] if asked.no_drain else [one.name for one in serving]
    limits = Limits(asked.timeout, asked.drain, asked.pause, asked.allow_interruption)
    cluster = Cluster(settings, read_installed(paths), paths)
    return Rolling(cluster, systemctl, runtime(paths, proxied), limits, _say), instances


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command line and return the exit code."""
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        rolling, instances = prepare(asked)
        with lock(rolling.cluster.paths):
            order = rolling.order(instances)
            _say(f"to restart, in this order: {' '.join(one.name for one in order)}")
            for one in order if asked.dry_run else ():
                _say(f"{one.name:<10} {rolling.check(one) or 'can be spared'}")
            left, failure = (order, None) if asked.dry_run else run_all(rolling, instances)
    except OpsError as error:
        sys.stderr.write(f"weed-rolling-restart: {error}\n")
        return error.code
    return finish(left, failure, asked.dry_run)


def finish(left: List[Instance], error: Optional[OpsError], dry: bool) -> int:
    """Tell how it ended, and return the exit code."""
    if error:
        names = " ".join(one.name for one in left)
        sys.stderr.write(f"weed-rolling-restart: {error}\n  to go on: weed-rolling-restart {names}\n")
        return 1
    _say("nothing was restarted" if dry else "all restarted and healthy")
    return 0
