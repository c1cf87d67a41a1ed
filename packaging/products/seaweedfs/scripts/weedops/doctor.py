"""`weed doctor`: what prevents an installation, a start or an upgrade, and how to fix it.

Exit codes: 0 nothing to do (notes do not count), 1 warnings, 2 errors.
"""

import argparse
import json
import os
import sys
from typing import Iterator, List, Optional, Tuple

from weedops import doctor_config, doctor_host, doctor_package, doctor_proxy, doctor_stig
from weedops.errors import OpsError
from weedops.findings import ERROR, INSTALL, NOTE, OK, SEVERITIES, START, UPGRADE, WARNING, Check, Finding, Host
from weedops.healthcheck import OK as HEALTHY
from weedops.healthcheck import health_of
from weedops.paths import Installed, Paths, read_installed
from weedops.settings import check_settings, read_settings

CHECKS: Tuple[Check, ...] = (
    doctor_package.binary,
    doctor_package.shadows,
    doctor_package.upgrade,
    doctor_package.fips,
    doctor_package.systemd,
    doctor_host.user,
    doctor_config.conf,
    doctor_config.masters,
    doctor_config.starts,
    doctor_config.overrides,
    doctor_config.readable,
    doctor_config.anonymous,
    doctor_host.ports,
    doctor_host.data,
    doctor_host.disks,
    doctor_host.limits,
    doctor_host.clock,
    doctor_package.selinux,
    doctor_package.apparmor,
    doctor_package.fapolicyd,
    doctor_stig.signatures,
    doctor_stig.namespaces,
    doctor_package.instances,
    doctor_proxy.proxy,
)


def health(host: Host) -> Iterator[Finding]:
    """Whether every instance is healthy: upgrading a cluster that is not makes two problems out of one."""
    if host.before not in ("", UPGRADE) or host.installed is None:
        return
    sick = 0
    for instance in host.settings.instances():
        verdict = health_of(instance, host.installed, host.settings, host.paths, 3)
        if verdict.code != HEALTHY:
            sick += 1
            yield Finding(
                "unhealthy", ERROR, f"{instance.name}: {verdict.detail}", "", f"journalctl -u {instance.unit}"
            )
    if not sick:
        yield Finding("healthy", OK, f"all {len(host.settings.instances())} instances are healthy")


def examine(host: Host) -> List[Finding]:
    """Run every check. One that lacks the rights, or cannot run its program, reports that and does not fail."""
    found: List[Finding] = []
    for check in (*CHECKS, health):
        if not host.valid and check in NEED_SETTINGS:
            continue
        try:
            found += check(host)
        except PermissionError as error:
            what = f"{check.__name__}: this user cannot see everything"
            found.append(Finding("unseen", NOTE, what, str(error.filename), "run as root"))
        except OpsError as failure:
            found.append(Finding("unseen", NOTE, f"{check.__name__}: {failure.brief}", "", failure.resolution))
    return found


NEED_SETTINGS: Tuple[Check, ...] = (
    doctor_config.masters,
    doctor_config.starts,
    doctor_config.overrides,
    doctor_config.anonymous,
    doctor_package.instances,
    doctor_proxy.proxy,
    health,
)
"""Checks that would report on defaults instead of this host's settings if weed.conf cannot be read."""


def look(paths: Paths, before: str, candidate: Optional[Installed]) -> Host:
    """Return the host below `paths.root`, with defaults where its own configuration cannot be read."""
    try:
        settings, valid = read_settings(paths), True
    except OpsError:
        # Before an installation the defaults are what will hold.
        settings, valid = check_settings({}, "defaults"), before == INSTALL and not os.path.exists(paths.conf)
    try:
        installed: Optional[Installed] = read_installed(paths)
    except OpsError:
        installed = None
    return Host(paths, before, settings, valid, installed, candidate)


def own_release(paths: Paths) -> Optional[Installed]:
    """Return the release of the package tree that this program is run from, None when that is the installed one."""
    here = os.path.dirname(
        os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    )
    tree = Paths(here)
    if os.path.realpath(tree.release) == os.path.realpath(paths.release) or not os.path.exists(tree.release):
        return None
    return read_installed(tree)


def candidate_of(paths: Paths, version: str) -> Optional[Installed]:
    """Return the release that is to come: the one named, or the one of this package tree."""
    if not version:
        return own_release(paths)
    try:
        return read_installed(paths)._replace(version=version)
    except OpsError:
        return Installed("seaweedfs", version, "standard", "")


def report(found: List[Finding], quiet: bool) -> str:
    """Return the text for people: what is wrong last, where it is seen."""
    lines = []
    for severity in SEVERITIES:
        for one in found:
            if one.severity == severity and not (quiet and severity == OK):
                lines.append(f"{severity:<8} {one.id:<20} {one.what}")
                lines += [f"{'':<29} in {one.where}"] if one.where and severity != OK else []
                lines += [f"{'':<29} to do: {one.fix}"] if one.fix else []
    counts = {severity: sum(one.severity == severity for one in found) for severity in SEVERITIES}
    lines.append(", ".join(f"{counts[severity]} {severity}" for severity in reversed(SEVERITIES)))
    return "\n".join(lines)


def code(found: List[Finding]) -> int:
    """Return the exit code."""
    severities = {one.severity for one in found}
    return 2 if ERROR in severities else 1 if WARNING in severities else 0


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="weed doctor",
        description="Report each problem with its fix. Exit code: 0 nothing, 1 warnings, 2 errors.",
    )
    parser.add_argument("--before", choices=(INSTALL, START, UPGRADE), default="", help="check what this needs")
    parser.add_argument("--to", default="", metavar="VERSION", help="the release to upgrade to, such as 4.44")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", action="store_true", help="leave out what is fine")
    parser.add_argument("--root", default="/", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    paths = Paths(os.path.abspath(asked.root))
    host = look(paths, asked.before, candidate_of(paths, asked.to))
    found = examine(host)
    if not host.root:
        found.append(
            Finding("not-root", NOTE, "run by an ordinary user: ports and files of others are not seen", "", "sudo")
        )
    if asked.json:
        sys.stdout.write(json.dumps([one._asdict() for one in found], indent=2) + "\n")
    else:
        sys.stdout.write(report(found, asked.quiet) + "\n")
    return code(found)
