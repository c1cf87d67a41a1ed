"""The restart of one instance: can it be spared, out of HAProxy, restarted, healthy again, back in HAProxy."""

import sys
import time
from typing import Callable, List, NamedTuple, Optional, Set

from weedops import units
from weedops.cluster import Cluster
from weedops.errors import OpsError
from weedops.haproxy import BACKEND
from weedops.haproxy_runtime import Runtime
from weedops.probe import GOOD, Health, ask
from weedops.programs import run
from weedops.settings import Instance

ORDER = ("volume", "filer", "s3", "master")
"""What holds data first, so that what depends on it sees it gone and back before its own turn comes."""

ASK_SECONDS = 3.0
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
        """Ask `instance`; once more when no answer came, because a busy host may lose one."""
        found = ask(self.cluster.target(instance), ASK_SECONDS)
        return found if found.alive else ask(self.cluster.target(instance), ASK_SECONDS)

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
                    f"fix {other.name} first: journalctl -u {other.unit}",
                )
        if instance.role == "master":
            return self._quorum(instance)
        if instance.role == "s3" and others:
            self._served(instance)
        if self._elsewhere(instance, bool(others)) or others:
            full = instance.role == "volume" and self.cluster.room(instance) == 0
            return "the other volume servers have no room for another volume: writes may fail until it is back" * full
        if not self.limits.interruption:
            raise OpsError(
                f"{instance.name} is the only one of its role that is healthy, so its work stops while it restarts",
                "accept that with --allow-interruption, or run two",
            )
        return "the only one: requests wait or fail until it is back"

    def _served(self, instance: Instance) -> None:
        """Raise OpsError when HAProxy would have no S3 server left, healthy as the others may be."""
        servers = self.proxy.servers() if self.proxy else {}
        others = {name: server for name, server in servers.items() if name != instance.name}
        if not others or not servers[instance.name].up or any(server.up for server in others.values()):
            return
        if self.proxy and not self.limits.interruption:
            out = min(others)
            raise OpsError(
                f"{instance.name} cannot be spared: HAProxy sends requests to no other S3 server"
                f" ({out} is {others[out].status})",
                f"if somebody took it out: echo 'set server {BACKEND}/{out} state ready' | socat stdio"
                f" {self.proxy.path}; or accept with --allow-interruption that requests fail",
            )

    def _elsewhere(self, instance: Instance, others: bool) -> bool:
        """Return whether other hosts have healthy servers of this role. `others` says whether this host has.

        One filer does for another. A volume server has data that another one may lack, so each has to be healthy.
        """
        if others and instance.role != "volume":
            return False
        asked = [(target, ask(target, ASK_SECONDS)) for target in self.cluster.elsewhere(instance.role)]
        sick = [health.detail for _, health in asked if health.state != GOOD]
        if sick and instance.role == "volume" and not self.limits.interruption:
            raise OpsError(
                f"{instance.name} cannot be spared: a volume server of another host is not healthy ({sick[0]})",
                "fix that one first, or accept with --allow-interruption that some data is unavailable",
            )
        return len(asked) > len(sick)

    def _quorum(self, instance: Instance) -> str:
        """Check what the masters can do without `instance`."""
        settings = self.cluster.settings
        needed, left = self._needed(), self.cluster.answering(instance.name)
        if left >= needed:
            return ""
        if left < len(settings.masters) - 1:
            raise OpsError(
                f"{instance.name} cannot be spared: {left} other masters answer, {needed} are needed for a leader",
                "start the other masters first: healthcheck.sh master",
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
            self._systemctl(instance)
            self._wait(instance, before)
        finally:
            back = self._restore(instance, held)
        self.say(f"{instance.name:<10} restarted, healthy after {time.monotonic() - start:.1f} s{back}")

    def _systemctl(self, instance: Instance) -> None:
        """Restart the unit. What it allows for a stop and a start may pass, and --timeout: a start can be extended."""
        longest = units.longest_restart(self.systemctl, instance.unit) + self.limits.health
        try:
            done = run([self.systemctl, "restart", instance.unit], longest)
        except OpsError as error:
            raise OpsError(error.brief, f"it may still be starting: systemctl status {instance.unit}")
        if done.code:
            raise OpsError(
                f"{instance.name} was not restarted: {done.output or f'systemctl ended with {done.code}'}",
                f"journalctl -u {instance.unit} says why",
            )

    def _holds(self, instance: Instance) -> bool:
        """Return whether requests wait in HAProxy during the restart.

        They do while the leader restarts, because a new one knows no volumes for some seconds, and while too few
        masters are left: a leader alone steps down after ten seconds (electionTimeout).
        """
        if self.proxy is None or instance.role != "master":
            return False
        return self._leads(instance) or self.cluster.answering(instance.name) < self._needed()

    def _leads(self, instance: Instance) -> bool:
        return instance.name in {leader.name for leader in self.cluster.leaders()}

    def _needed(self) -> int:
        """Return how many masters have to answer for one of them to lead."""
        return len(self.cluster.settings.seats) // 2 + 1

    def _spare(self, instance: Instance, held: bool) -> None:
        """Keep new requests from what is about to go, and wait for those that run."""
        if not self.proxy:
            return
        left = 0
        if instance.role == "s3":
            left = self.proxy.drain(instance.name, self.limits.drain)
            ours = instance.name in self.proxy.taken_out()
            self.say(f"{instance.name:<10} out of HAProxy{'' if ours else ', as it was before, and stays out'}")
        elif held:
            left = self.proxy.hold(min(self.limits.drain, HOLD_DRAIN_SECONDS))
            why = "leads: " if self._leads(instance) else ""
            self.say(f"{instance.name:<10} {why}requests wait in HAProxy until the masters have a leader")
        if left:
            self.say(f"{instance.name:<10} {left} requests are still running, and may fail")

    def _restore(self, instance: Instance, held: bool) -> str:
        """Let HAProxy use the server again, whatever happened: its own check keeps out one that is not healthy."""
        if held and self.proxy:
            self.proxy.release()
        if instance.role != "s3" or not self.proxy or instance.name not in self.proxy.taken_out():
            return ""
        broken = sys.exc_info()[0] is not None
        if self.proxy.restore(instance.name, 0 if broken else self.limits.health):
            return ", back in HAProxy"
        if not broken:
            raise OpsError(
                f"{instance.name} is healthy, but HAProxy does not see that",
                "echo 'show servers state' | socat stdio <HAProxy's stats socket>; see: journalctl -u haproxy",
            )
        return ""

    def undo(self) -> None:
        """Put back into HAProxy what was taken out and is out still."""
        for name in self.proxy.undo() if self.proxy else ():
            self.say(f"{name:<10} back in HAProxy: a run that was stopped had taken it out")

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
