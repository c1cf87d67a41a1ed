"""The command line of weed for one instance, as the installed release understands it."""

import difflib
import os
import re
import subprocess
from typing import Dict, List, NamedTuple, Set, Tuple

from weedops.errors import ConfigError
from weedops.options import GLOBAL
from weedops.paths import Installed, Paths
from weedops.settings import Instance, Settings

Pairs = List[Tuple[str, str]]

VOLUME_MASTER = (4, 0)
"""-master of the volume server; -mserver before it, deprecated from there on."""
TELEMETRY = (3, 93)
"""-telemetry of the master, which is on by default from 4.41."""
S3_SOCKET = (3, 54)
S3_FILERS = (4, 1)
"""Several filers in -filer of the S3 server; one before it."""
S3_ICEBERG = (4, 9)
S3_LANCE = (4, 43)
"""Listeners of the S3 server that are open unless their port is 0."""

STANDARD_LIMIT_MB = 30000
"""The largest volume of a binary that is not built for large disks."""

MAY_CHANGE = ("telemetry", "port.iceberg", "port.lance")
"""Flags that have a value here which an options file may replace."""

WHERE = {
    "port": "{ROLE}_PORT of weed.conf sets it",
    "port.grpc": "it is always the HTTP port + 10000, which the other servers count on",
    "ip": "ADDRESS of weed.conf sets it",
    "ip.bind": "BIND_ADDRESS of weed.conf sets it",
    "metricsPort": "{ROLE}_METRICS_PORT of weed.conf sets it",
    "mdir": "MASTER_DATA_DIR of weed.conf sets it",
    "dir": "VOLUME_DATA_DIRS of weed.conf sets it",
    "defaultStoreDir": "FILER_DATA_DIR of weed.conf sets it",
    "peers": "the instances and MASTER_PEERS of weed.conf set it",
    "master": "the instances and MASTER_PEERS of weed.conf set it",
    "mserver": "the instances and MASTER_PEERS of weed.conf set it",
    "filer": "the instances and FILER_PEERS of weed.conf set it",
    "volumeSizeLimitMB": "VOLUME_SIZE_LIMIT_MB of weed.conf sets it",
    "defaultReplication": "REPLICATION of weed.conf sets it",
    "max": "VOLUME_MAX of weed.conf sets it",
    "dataCenter": "DATA_CENTER of weed.conf sets it",
    "rack": "RACK of weed.conf sets it",
    "config": "/etc/weed/s3.json is it",
    "localSocket": "it is in /run/weed",
    "options": "this file is it",
}
"""Why an options file cannot set a flag."""

FILER_ONLY = {
    "disableHttp": "the health of a filer is asked over HTTP",
    "s3": "S3_INSTANCES of weed.conf runs S3 servers on their own",
}


class Inputs(NamedTuple):
    """All that the command line follows from."""

    instance: Instance
    installed: Installed
    settings: Settings
    paths: Paths
    identities: str
    options: Dict[str, str]


def command(inputs: Inputs) -> List[str]:
    """Return the argument list that starts the instance. Raises ConfigError for settings that cannot work."""
    instance, options = inputs.instance, inputs.options
    runtime = os.path.join(inputs.paths.runtime, instance.name)
    chosen = dict(fixed(inputs), **{name: value for name, value in options.items() if name not in GLOBAL})
    before = [f"-{name}={options[name]}" for name in GLOBAL if name in options]
    after = [f"-{name}={value}" for name, value in chosen.items()]
    config = f"-config_dir={runtime}/config"
    return [inputs.paths.binary, "-logtostderr=true", config, *before, instance.role, *after]


def fixed(inputs: Inputs) -> Pairs:
    """Return the flags that follow from weed.conf and the installed release, in order."""
    made = {"master": _master, "volume": _volume, "filer": _filer, "s3": _s3}[inputs.instance.role](inputs)
    if inputs.instance.metrics:
        made.append(("metricsPort", str(inputs.instance.metrics)))
    return made


def _listen(inputs: Inputs) -> Pairs:
    return [
        ("ip", inputs.settings.address),
        ("ip.bind", inputs.settings.bind),
        ("port", str(inputs.instance.port)),
    ]


def _data(inputs: Inputs) -> str:
    return ",".join(inputs.paths.at(folder) for folder in inputs.instance.data)


def _place(inputs: Inputs, *keys: str) -> Pairs:
    named = {"dataCenter": "DATA_CENTER", "rack": "RACK"}
    return [(key, inputs.settings.values[named[key]]) for key in keys if inputs.settings.values[named[key]]]


def _master(inputs: Inputs) -> Pairs:
    values = inputs.settings.values
    limit = int(values["VOLUME_SIZE_LIMIT_MB"])
    if limit > STANDARD_LIMIT_MB and "large_disk" not in inputs.installed.variant:
        raise ConfigError(
            f"VOLUME_SIZE_LIMIT_MB={limit} is more than the {STANDARD_LIMIT_MB} MB that this binary can have",
            f"lower it to {STANDARD_LIMIT_MB}; only the large_disk variant has larger volumes",
        )
    flags = [*_listen(inputs), ("mdir", _data(inputs))]
    if len(inputs.settings.seats) > 1:
        flags.append(("peers", ",".join(inputs.settings.seats)))
    flags += [("volumeSizeLimitMB", str(limit)), ("defaultReplication", values["REPLICATION"])]
    if inputs.installed.dialect >= TELEMETRY:
        flags.append(("telemetry", "false"))
    return flags


def _masters(inputs: Inputs) -> str:
    if not inputs.settings.masters:
        raise ConfigError(
            f"{inputs.instance.name} has no master to report to: MASTER_INSTANCES is 0 and MASTER_PEERS is empty",
            "name the masters in MASTER_PEERS of /etc/default/weed/weed.conf",
        )
    return ",".join(inputs.settings.masters)


def _volume(inputs: Inputs) -> Pairs:
    master = "master" if inputs.installed.dialect >= VOLUME_MASTER else "mserver"
    return [
        *_listen(inputs),
        ("dir", _data(inputs)),
        ("max", inputs.settings.values["VOLUME_MAX"]),
        (master, _masters(inputs)),
        *_place(inputs, "dataCenter", "rack"),
    ]


def _socket(inputs: Inputs) -> Tuple[str, str]:
    return "localSocket", os.path.join(inputs.paths.runtime, inputs.instance.name, inputs.instance.role + ".sock")


def _filer(inputs: Inputs) -> Pairs:
    return [
        *_listen(inputs),
        ("master", _masters(inputs)),
        ("defaultStoreDir", _data(inputs)),
        _socket(inputs),
        *_place(inputs, "dataCenter", "rack"),
    ]


def _s3(inputs: Inputs) -> Pairs:
    filers, release = inputs.settings.filers, inputs.installed.dialect
    if not filers:
        raise ConfigError(
            f"{inputs.instance.name} has no filer: FILER_INSTANCES is 0 and FILER_PEERS is empty",
            "name the filers in FILER_PEERS of /etc/default/weed/weed.conf",
        )
    if release < S3_FILERS:
        filers = [filers[(inputs.instance.number - 1) % len(filers)]]
    flags = [("ip.bind", inputs.settings.bind), ("port", str(inputs.instance.port)), ("filer", ",".join(filers))]
    if inputs.identities:
        flags.append(("config", inputs.identities))
    if release >= S3_SOCKET:
        flags.append(_socket(inputs))
    if release >= S3_ICEBERG:
        flags.append(("port.iceberg", "0"))
    if release >= S3_LANCE:
        flags.append(("port.lance", "0"))
    return flags + _place(inputs, "dataCenter")


def known_flags(binary: str, role: str) -> Set[str]:
    """Return the names of the flags that `weed help <role>` lists. Raises ConfigError when it does not run."""
    argv = [binary, "help", role]
    try:
        done = subprocess.run(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{' '.join(argv)} does not run: {error}", "reinstall the package")
    text = done.stdout.decode("utf-8", "replace")
    return set(re.findall(r"^\s+-([A-Za-z][A-Za-z0-9_.]*)", text, re.MULTILINE))


def check_options(inputs: Inputs, where: str) -> None:
    """Raise ConfigError for a flag of the options file `where` that weed lacks, or that weed.conf sets."""
    role = inputs.instance.role
    reasons = dict(WHERE, **(FILER_ONLY if role == "filer" else {}))
    known = known_flags(inputs.paths.binary, role) if inputs.options else set()
    for name in inputs.options:
        if (name in MAY_CHANGE and name in known) or name in GLOBAL:
            continue
        if name in reasons:
            raise ConfigError(f"{where}: {name}: {reasons[name].format(ROLE=role.upper())}", f"remove {name}")
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f"did you mean {near[0]}?" if near else f"run: weed help {role}"
            raise ConfigError(f"{where}: weed {role} {inputs.installed.version} has no flag {name}", hint)
