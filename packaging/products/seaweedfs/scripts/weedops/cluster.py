"""What the masters report about the cluster: who leads, how many answer, which volume servers report."""

import http.client
import json
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

from weedops.paths import Installed, Paths
from weedops.probe import Target, aim, ask
from weedops.settings import Instance, Settings

ANSWER_SECONDS = 3.0


class Cluster(NamedTuple):
    """The cluster that this host is part of."""

    settings: Settings
    installed: Installed
    paths: Paths

    def target(self, instance: Instance) -> Target:
        """Return how to ask `instance`."""
        return aim(instance, self.installed, self.settings, self.paths)

    def leaders(self) -> List[Instance]:
        """Return the masters of this host that say that they lead."""
        masters = self.settings.instances("master")
        return [master for master in masters if (_json(self.target(master), "/cluster/status") or {}).get("IsLeader")]

    def agreed(self) -> bool:
        """Return whether every master of this host knows a leader."""
        return all(ask(self.target(m), ANSWER_SECONDS).status == 200 for m in self.settings.instances("master"))

    def answering(self, but: str) -> int:
        """Return how many masters answer at all, on this host and on others, without the instance named `but`."""
        own = [self.target(m) for m in self.settings.instances("master") if m.name != but]
        return sum(ask(target, ANSWER_SECONDS).alive for target in own + self._peers())

    def _peers(self) -> List[Target]:
        masters = self.settings.instances("master")
        model = self.target(masters[0] if masters else self.settings.at("master", 1))
        return [
            model._replace(host=host, port=port) for host, port in map(_place, self.settings.masters[len(masters) :])
        ]

    def _nodes(self) -> Optional[List[Dict[str, Any]]]:
        """Return what the leader knows of each volume server that reports to it; None when no master says."""
        own = [self.target(master) for master in self.settings.instances("master")]
        for target in own + self._peers():
            status = _json(target, "/dir/status")
            if status and "Topology" in status:
                centers = status["Topology"].get("DataCenters") or []
                racks = [rack for center in centers for rack in center.get("Racks") or []]
                return [node for rack in racks for node in rack.get("DataNodes") or []]
        return None

    def _volumes(self) -> Optional[List[Tuple[str, int]]]:
        """Return where the volume servers are that report to the leader; None when no master says."""
        nodes = self._nodes()
        return None if nodes is None else [_place(node["Url"]) for node in nodes]

    def room(self, but: Instance) -> Optional[int]:
        """Return how many more volumes the volume servers without `but` can take; None when nobody says."""
        own = (self.settings.address.strip("[]"), but.port)
        others = [node for node in self._nodes() or [] if _place(node["Url"]) != own]
        if not others or any("Max" not in node or "Volumes" not in node for node in others):
            return None
        return sum(max(0, int(node["Max"]) - int(node["Volumes"])) for node in others)

    def registered(self) -> Optional[Set[int]]:
        """Return the ports of the volume servers of this host that report to the leader; None when nobody says."""
        known = self._volumes()
        return None if known is None else {port for host, port in known if host == self.settings.address.strip("[]")}

    def elsewhere(self, role: str) -> List[Target]:
        """Return how to ask the servers of `role` on other hosts: FILER_PEERS, or the volume servers of the leader."""
        known: List[Tuple[str, int]] = []
        if role == "filer":
            known = [_place(filer) for filer in self.settings.filers]
        elif role == "volume":
            known = self._volumes() or []
        address, model = self.settings.address.strip("[]"), self.target(self.settings.at(role, 1))
        own = {(address, instance.port) for instance in self.settings.instances(role)}
        return [model._replace(host=host, port=port) for host, port in known if (host, port) not in own]

    def expected(self) -> Set[int]:
        """Return the ports of the volume servers of this host that answer."""
        volumes = self.settings.instances("volume")
        return {volume.port for volume in volumes if ask(self.target(volume), ANSWER_SECONDS).alive}


def _place(text: str) -> Tuple[str, int]:
    """Return host and port of `host:port`; an IPv6 address without its brackets."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _json(target: Target, path: str) -> Optional[Dict[str, Any]]:
    """Return the JSON object at `path`, None when there is none."""
    where = (target.host, target.port)
    connection: http.client.HTTPConnection
    if target.secure:
        connection = http.client.HTTPSConnection(*where, timeout=ANSWER_SECONDS, context=target.context)
    else:
        connection = http.client.HTTPConnection(*where, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path, headers={"Accept": "application/json", "Connection": "close"})
        found = json.loads(connection.getresponse().read().decode("utf-8", "replace"))
        return found if isinstance(found, dict) else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
