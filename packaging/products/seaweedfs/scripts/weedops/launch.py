"""`weed-launch ROLE N`: checks all that an instance needs, starts it, and supervises it (see `weedops.ready`)."""

import argparse
import os
import signal
import sys
from typing import Dict, List, Mapping, NamedTuple, Optional

from weedops import fips, ready
from weedops.errors import AccessError, ConfigError, OpsError
from weedops.files import Source, read_identities, read_toml, user
from weedops.flags import Inputs, check_options, command
from weedops.options import options_file, read_options
from weedops.paths import Paths, read_installed
from weedops.ports import check_ports, listeners
from weedops.probe import Health, aim, ask
from weedops.settings import read_settings
from weedops.tls import check_certificates, check_key

PASSED = ("TZ", "GOGC", "GOMEMLIMIT", "GOMAXPROCS", "GOTRACEBACK", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables that weed may have from a drop-in of the unit, besides WEED_…, which override keys of the toml files.

Nothing else: PORT, IP, DIR, OPTIONS and so on would set the flags of those names (SeaweedFS, weed/util/fla9/fla9.go).
"""

PLAIN_TCP = "multipathtcp=0"
"""What GODEBUG gets. Go 1.24 and later listen with Multipath TCP where the kernel has it (Go, net.ListenConfig), and a
connection that such a socket accepts has no label of weed on kernels before 6.4: SELinux would let nobody read from it.
"""


class Plan(NamedTuple):
    """A start that has passed its checks."""

    inputs: Inputs
    sources: List[Source]
    argv: List[str]
    environment: Dict[str, str]


def plan(paths: Paths, role: str, number: str, environment: Mapping[str, str]) -> Plan:
    """Return how to start an instance, with every file it uses read and checked. Raises OpsError."""
    settings = read_settings(paths)
    instance = settings.find(role, number)
    installed = read_installed(paths)
    if not os.access(paths.binary, os.X_OK):
        raise ConfigError(f"{paths.binary} is missing or cannot be executed", "reinstall the package")
    mode = fips.godebug(settings, installed, paths.binary)
    sources = read_toml(paths, instance)
    for source in sources:
        if source.name == "security":
            check_certificates(source.content, role, source.path)
    identities = read_identities(paths, instance) if role == "s3" else ""
    inputs = Inputs(instance, installed, settings, paths, identities, read_options(paths, instance))
    check_options(inputs, options_file(paths, instance))
    for name, value in inputs.options.items():
        if name.endswith("key.file") and value:
            check_key(value)
    runtime = os.path.join(paths.runtime, instance.name)
    passed = {key: value for key, value in environment.items() if key in PASSED or key.startswith("WEED_")}
    own = {"PATH": "/usr/bin:/bin", "HOME": runtime, "TMPDIR": "/tmp"}
    own["GODEBUG"] = ",".join([*mode, PLAIN_TCP])
    return Plan(inputs, sources, command(inputs), dict(passed, **own))


def check_data(planned: Plan) -> None:
    """Raise AccessError when a data directory is missing or cannot be written."""
    for folder in planned.inputs.instance.data:
        place = planned.inputs.paths.at(folder)
        if not os.path.isdir(place):
            raise AccessError(f"the data directory {place} does not exist", "weed-instances apply makes it")
        if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            raise AccessError(
                f"the data directory {place} cannot be written by {user()}",
                f"is its disk mounted? chown weed:weed {place}; outside /var/lib/weed it needs: weed-instances apply",
            )


def prepare(planned: Plan) -> str:
    """Make the instance's folder in /run with links to the configuration that it uses, and return its path."""
    runtime = os.path.join(planned.inputs.paths.runtime, planned.inputs.instance.name)
    config = os.path.join(runtime, "config")
    try:
        os.makedirs(config, mode=0o750, exist_ok=True)
        for name in os.listdir(config):
            os.unlink(os.path.join(config, name))
        for source in planned.sources:
            os.symlink(source.path, os.path.join(config, source.name + ".toml"))
    except OSError as error:
        raise AccessError(f"{error.filename} cannot be made: {error.strerror}", "start it as a unit: systemctl start …")
    return runtime


def start(planned: Plan, environment: Mapping[str, str]) -> int:
    """Run weed to its end and return its exit status; minus the number of the signal that ended it."""
    inputs = planned.inputs
    runtime = prepare(planned)
    log = ready.Log(os.path.join(inputs.paths.logs, inputs.instance.name + ".log"))
    if inputs.instance.role == "s3" and not inputs.identities:
        log.say(ready.WARNING, "no s3.json: everyone who reaches the port may read and write everything")
    target = aim(inputs.instance, inputs.installed, inputs.settings, inputs.paths)

    def health(timeout: float) -> Health:
        return ask(target, timeout)

    notifier = ready.Notifier(environment.get("NOTIFY_SOCKET", ""))
    # A store in filer.toml may have a path as ./filerldb2: the data folder is what it means.
    folder = inputs.paths.at(inputs.instance.data[0]) if inputs.instance.data else runtime
    supervisor = ready.Supervisor(health, notifier, log, ready.watchdog_seconds(environment))
    return supervisor.run(planned.argv, planned.environment, folder)


def finish(status: int) -> int:
    """Return an exit status, or end by the signal that ended weed, so that systemd sees what happened."""
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command line and return the exit code, after sysexits.h."""
    parser = argparse.ArgumentParser(prog="weed-launch", description="Check an instance, start and supervise it.")
    parser.add_argument("role", help="master, volume, filer or s3")
    parser.add_argument("number", help="which instance of it, from 1 on")
    parser.add_argument("--check", action="store_true", help="check the configuration, start nothing")
    parser.add_argument("--print", action="store_true", help="check it and print the command line of weed")
    parser.add_argument("--root", default="/", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    paths = Paths(os.path.abspath(asked.root))
    try:
        planned = plan(paths, asked.role, asked.number, os.environ)
        if asked.print:
            sys.stdout.write("\n".join(planned.argv) + "\n")
        if not (asked.check or asked.print):
            check_data(planned)
            inputs = planned.inputs
            check_ports(listeners(inputs.instance, inputs.settings, inputs.options))
            return finish(start(planned, os.environ))
    except OpsError as error:
        complain(f"weed-{asked.role}@{asked.number}: {error}")
        return error.code
    return 0


def complain(text: str) -> None:
    """Write `text` to standard error, with the priority of an error where the journal reads it."""
    prefix = f"<{ready.ERROR}>" if "JOURNAL_STREAM" in os.environ else ""
    sys.stderr.write("".join(f"{prefix}{line}\n" for line in text.splitlines()))
