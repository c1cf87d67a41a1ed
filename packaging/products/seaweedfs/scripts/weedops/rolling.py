"""`weed-rolling-restart`: restarts every instance, one after the other, while the others serve.

Volume servers first, then filers, then S3 servers (taken out of HAProxy before), then masters, the leader last. Before
each one, the others of its role must be healthy; after it, it must be, and the masters must know it again.
"""

import argparse
import contextlib
import fcntl
import os
import signal
import sys
import syslog
import time
from typing import Iterator, List, Optional, TextIO, Tuple

from weedops.cluster import Cluster
from weedops.errors import AccessError, ConfigError, OpsError
from weedops.haproxy_runtime import MARK, runtime
from weedops.healthcheck import choose, seconds
from weedops.launch import plan
from weedops.paths import Paths, read_installed
from weedops.programs import find_program
from weedops.restarts import Limits, Rolling
from weedops.settings import ROLES, Instance, read_settings

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
"""What stops a run so that it cleans up; SIGHUP is what a lost SSH session sends."""


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
    left = list(instances)
    try:
        left = rolling.order(left)
        while left:
            rolling.restart(left[0])
            left = left[1:]
            # Who leads may have changed: among masters the order is found again.
            left = rolling.order(left)
            time.sleep(rolling.limits.pause if left else 0)
    except OpsError as error:
        return left, error
    except KeyboardInterrupt:
        rolling.undo()  # the signal may have come while the restart that it ended was undone
        if left:
            return left, OpsError(f"stopped at {left[0].name}", f"see: healthcheck.sh {left[0].name}")
    return [], None


def recover(rolling: Rolling) -> None:
    """Undo in HAProxy what an earlier run has left that was killed, even if this run needs no HAProxy."""
    paths = rolling.cluster.paths
    mark = paths.at(MARK)
    try:
        proxy = rolling.proxy or runtime(paths, [one.name for one in rolling.cluster.settings.instances("s3")])
    except OpsError as error:
        if os.path.exists(mark):
            rolling.say(f"what an earlier run took out of HAProxy may still be out: {error.brief}")
        return
    if proxy:
        rolling._replace(proxy=proxy).undo()
    elif os.path.exists(mark):
        os.unlink(mark)  # HAProxy does not run, and forgets when it starts


def _interrupt(*_: object) -> None:
    """Stop as Ctrl-C does, and only once: what cleans up then is not to be stopped."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def catch_signals() -> None:
    """Let each of `SIGNALS` stop the run; one that is ignored, as SIGHUP under nohup, stays ignored."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


@contextlib.contextmanager
def lock(paths: Paths) -> Iterator[None]:
    """Hold the lock that keeps two runs apart. Raises OpsError when another one has it."""
    path = paths.at("/run/weed-rolling-restart.lock")
    with open(path, "a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OpsError("another weed-rolling-restart is running", f"wait for it; `fuser {path}` names it")
        yield


def _write(stream: TextIO, text: str) -> None:
    """Write a line. That the terminal is gone ends nothing."""
    with contextlib.suppress(OSError):
        stream.write(text + "\n")
        stream.flush()


def _say(text: str) -> None:
    _write(sys.stdout, text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="weed-rolling-restart",
        description="Restart the instances of this host one after the other while the others serve. It stops at the"
        " first failure and prints how to continue.",
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
    catch_signals()
    try:
        rolling, instances = prepare(asked)
        with lock(rolling.cluster.paths):
            if not asked.dry_run:
                recover(rolling)
            order = rolling.order(instances)
            _say(f"to restart, in this order: {' '.join(one.name for one in order)}")
            for one in order if asked.dry_run else ():
                _say(f"{one.name:<10} {rolling.check(one) or 'can be spared'}")
            left, failure = (order, None) if asked.dry_run else run_all(rolling, instances)
    except OpsError as error:
        _write(sys.stderr, f"weed-rolling-restart: {error}")
        return error.code
    except KeyboardInterrupt:
        _write(sys.stderr, "weed-rolling-restart: stopped before anything was restarted")
        return 1
    return finish(left, failure, asked.dry_run)


def finish(left: List[Instance], error: Optional[OpsError], dry: bool) -> int:
    """Tell how it ended, the journal too where it failed, and return the exit code."""
    if error:
        go_on = f"to continue: weed-rolling-restart {' '.join(one.name for one in left)}"
        syslog.openlog("weed-rolling-restart")
        syslog.syslog(syslog.LOG_ERR, f"{error.brief}; {go_on}")
        _write(sys.stderr, f"weed-rolling-restart: {error}\n  {go_on}")
        return 1
    _say("nothing was restarted" if dry else "all restarted and healthy")
    return 0
