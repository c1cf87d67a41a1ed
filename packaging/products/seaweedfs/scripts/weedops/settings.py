"""`/etc/default/weed/weed.conf`: how many instances of each role, on which ports, with which data and peers."""

import difflib
import posixpath
import re
from typing import Dict, List, NamedTuple, Tuple

from weedops.errors import ConfigError, UsageError
from weedops.paths import Paths, read_pairs
from weedops.rules import rules_for, split

ROLES = ("master", "volume", "filer", "s3")
"""In the order in which they start; they stop in the other."""

GRPC = 10000
"""What weed adds to a port for its gRPC listener."""

METRICS_STEP = 100
"""How far apart the metrics ports of two instances of a role are."""

DEFAULTS = {
    "MASTER_INSTANCES": "2",
    "VOLUME_INSTANCES": "2",
    "FILER_INSTANCES": "2",
    "S3_INSTANCES": "2",
    "FIPS_ENABLED": "false",
    "ADDRESS": "127.0.0.1",
    "BIND_ADDRESS": "",
    "MASTER_PORT": "9333",
    "VOLUME_PORT": "8080",
    "FILER_PORT": "8888",
    "S3_PORT": "8333",
    "MASTER_METRICS_PORT": "9324",
    "VOLUME_METRICS_PORT": "9325",
    "FILER_METRICS_PORT": "9326",
    "S3_METRICS_PORT": "9327",
    "MASTER_PEERS": "",
    "FILER_PEERS": "",
    "MASTER_DATA_DIR": "/var/lib/weed/master-%i",
    "VOLUME_DATA_DIRS": "/var/lib/weed/volume-%i",
    "FILER_DATA_DIR": "/var/lib/weed/filer-%i",
    "VOLUME_MAX": "0",
    "VOLUME_SIZE_LIMIT_MB": "30000",
    "REPLICATION": "000",
    "DATA_CENTER": "",
    "RACK": "",
    "S3_PROXY_PORT": "8300",
    "S3_PROXY_ADDRESS": "",
    "S3_PROXY_TLS_CERT": "",
    "S3_RATE_LIMIT": "1000",
}
"""Every key of the file, and its default."""

HIDDEN = {
    "/home": "the servers do not see /home (ProtectHome=yes): choose a place such as /srv/weed",
    "/root": "the servers do not see /root (ProtectHome=yes): choose a place such as /srv/weed",
    "/run": "its files are lost at a reboot: choose a place such as /srv/weed",
    "/tmp": "the servers have a /tmp of their own, emptied when they stop: choose a place such as /srv/weed",
    "/var/tmp": "the servers have a /var/tmp of their own, emptied when they stop: choose a place such as /srv/weed",
    "/dev": "not a place for files",
    "/proc": "not a place for files",
    "/sys": "not a place for files",
    "/etc": "not a place for data: choose one such as /srv/weed",
    "/opt/weed": "it belongs to the package: choose a place such as /srv/weed",
}
"""Where no data can be, and why."""


class Instance(NamedTuple):
    """One server on this host. `number` counts from 1; ports are TCP; `metrics` is 0 when switched off."""

    role: str
    number: int
    port: int
    metrics: int
    data: Tuple[str, ...]

    @property
    def name(self) -> str:
        """`master-1`: the name of its files."""
        return f"{self.role}-{self.number}"

    @property
    def unit(self) -> str:
        """`weed-master@1.service`."""
        return f"weed-{self.role}@{self.number}.service"

    @property
    def grpc(self) -> int:
        """The port of its gRPC listener."""
        return self.port + GRPC

    @property
    def ports(self) -> Dict[str, int]:
        """All ports that it listens on, by what they are for."""
        ports = {"http": self.port, "grpc": self.grpc}
        if self.metrics:
            ports["metrics"] = self.metrics
        return ports


class Settings(NamedTuple):
    """The whole file, checked."""

    values: Dict[str, str]

    @property
    def address(self) -> str:
        """What others reach this host by."""
        return self.values["ADDRESS"]

    @property
    def bind(self) -> str:
        """What the servers listen on."""
        return self.values["BIND_ADDRESS"] or self.address

    @property
    def proxy(self) -> Tuple[str, int]:
        """Where HAProxy listens for S3. The port is 0 when it shall not, or when this host has no S3 servers."""
        address = self.values["S3_PROXY_ADDRESS"] or self.bind
        return address, int(self.values["S3_PROXY_PORT"]) if self.count("s3") else 0

    @property
    def fips(self) -> bool:
        """Whether only a FIPS binary may be started."""
        return self.values["FIPS_ENABLED"].lower() == "true"

    def count(self, role: str) -> int:
        """Return how many instances of `role` this host runs."""
        return int(self.values[role.upper() + "_INSTANCES"])

    def port(self, role: str) -> int:
        """Return the port of the first instance of `role`."""
        return int(self.values[role.upper() + "_PORT"])

    def instances(self, role: str = "") -> List[Instance]:
        """Return the instances of `role`, or all of them in the order in which they start."""
        roles = (role,) if role else ROLES
        return [self.at(name, number) for name in roles for number in range(1, self.count(name) + 1)]

    def at(self, role: str, number: int) -> Instance:
        """Return what instance `number` of `role` is, whether or not this host runs it."""
        metrics = int(self.values[role.upper() + "_METRICS_PORT"])
        return Instance(
            role=role,
            number=number,
            port=self.port(role) + number - 1,
            metrics=metrics + METRICS_STEP * (number - 1) if metrics else 0,
            data=tuple(path.replace("%i", str(number)) for path in self.data(role)),
        )

    def data(self, role: str) -> List[str]:
        """Return the data folders of `role`, with %i for the number of the instance."""
        key = "VOLUME_DATA_DIRS" if role == "volume" else role.upper() + "_DATA_DIR"
        return [posixpath.normpath(path.strip()) for path in self.values.get(key, "").split(",") if path.strip()]

    def find(self, role: str, number: str) -> Instance:
        """Return the instance that a unit was started for. Raises UsageError when this host does not run it."""
        if role not in ROLES:
            raise UsageError(f"there is no role {role!r}", f"choose from {', '.join(ROLES)}")
        if not re.fullmatch(r"[1-9][0-9]?", number) or int(number) > self.count(role):
            raise UsageError(
                f"weed-{role}@{number} is not an instance of this host: {role.upper()}_INSTANCES is {self.count(role)}",
                "change it in /etc/default/weed/weed.conf and run `weed-instances apply`",
            )
        return self.at(role, int(number))

    @property
    def masters(self) -> List[str]:
        """`host:port` of every live master: those of this host, then MASTER_PEERS, each once."""
        own = [_join(self.address, instance.port) for instance in self.instances("master")]
        return list(dict.fromkeys(own + split(self.values["MASTER_PEERS"])))

    @property
    def seats(self) -> List[str]:
        """The peer list: `masters`, and when they are even in number a seat that nobody takes.

        weed refuses an even number of masters. The reserved seat is the port after the last master of the first host by
        name, so that every host comes to the same list. Two of three seats elect a leader, and survive no further loss.
        """
        masters = self.masters
        if masters and len(masters) % 2 == 0:
            host = min(master.rpartition(":")[0] for master in masters)
            ports = [int(port) for name, _, port in (master.rpartition(":") for master in masters) if name == host]
            masters.append(f"{host}:{max(ports) + 1}")
        return masters

    @property
    def filers(self) -> List[str]:
        """`host:port` of every filer that an S3 server may use: those of this host, then FILER_PEERS, each once."""
        own = [_join(self.address, instance.port) for instance in self.instances("filer")]
        return list(dict.fromkeys(own + split(self.values["FILER_PEERS"])))


RULES = rules_for(ROLES)
"""What is wrong with a value, by key."""


def read_settings(paths: Paths) -> Settings:
    """Return the settings of this host. Raises ConfigError naming the key, what is allowed, and the nearest key."""
    return check_settings(read_pairs(paths.conf), paths.conf)


def check_settings(given: Dict[str, str], where: str) -> Settings:
    """Return `given` over the defaults, checked. `where` names the file in errors."""
    for key in given:
        if key not in DEFAULTS:
            near = difflib.get_close_matches(key, list(DEFAULTS), n=1)
            hint = f"did you mean {near[0]}?" if near else "known keys: " + ", ".join(DEFAULTS)
            raise ConfigError(f"{where}: unknown key {key}", hint)
    values = dict(DEFAULTS, **given)
    for key, value in values.items():
        allowed = RULES[key](value)
        if allowed:
            raise ConfigError(f"{where}: {key}={value} is not {allowed}", f"correct {key}, default {DEFAULTS[key]!r}")
    settings = Settings(values)
    for instance in settings.instances():
        if instance.grpc > 65535 or instance.metrics > 65535:
            raise ConfigError(
                f"{where}: {instance.name} would listen on port {max(instance.grpc, instance.metrics)}",
                f"choose a lower {instance.role.upper()}_PORT: gRPC listens {GRPC} above it, so 55535 is the highest",
            )
    _check_ports(settings, where)
    _check_data(settings, where)
    return settings


def _check_ports(settings: Settings, where: str) -> None:
    holders: Dict[int, str] = {}
    address, port = settings.proxy
    everywhere = ("0.0.0.0", "::", "[::]")
    if port and (address == settings.bind or address in everywhere or settings.bind in everywhere):
        holders[port] = "HAProxy (S3_PROXY_PORT)"
    for instance in settings.instances():
        for purpose, port in instance.ports.items():
            name = f"{instance.name} ({purpose})"
            if port in holders:
                raise ConfigError(
                    f"{where}: {holders[port]} and {name} would both listen on port {port}",
                    f"choose another {instance.role.upper()}{'_METRICS' if purpose == 'metrics' else ''}_PORT",
                )
            holders[port] = name


def _check_data(settings: Settings, where: str) -> None:
    """Refuse data that two instances would share, or that the units hide from the servers."""
    holders: List[Tuple[str, str]] = []
    for instance in settings.instances():
        for path in instance.data:
            clean = posixpath.normpath(path)
            hidden = [place for place in HIDDEN if _inside(clean, place)]
            if hidden:
                raise ConfigError(f"{where}: {instance.name}: {path} is below {hidden[0]}", HIDDEN[hidden[0]])
            for other, held in holders:
                if _inside(clean, held) or _inside(held, clean):
                    raise ConfigError(
                        f"{where}: {other} has its data in {held} and {instance.name} in {clean}",
                        "each needs a folder of its own, not inside another's: put %i, the instance's number, into it",
                    )
            holders.append((instance.name, clean))


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
