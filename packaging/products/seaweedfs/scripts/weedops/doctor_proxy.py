"""The doctor on HAProxy: is the file for S3 there, current, accepted, read, and can servers be drained?"""

import os
from typing import Iterator

from weedops import haproxy
from weedops.errors import AccessError, OpsError
from weedops.findings import ERROR, INSTALL, NOTE, OK, WARNING, Finding, Host, read
from weedops.haproxy_host import UNIT, how_to_read, reads_snippet, stats_sockets
from weedops.ports import holders
from weedops.programs import find_program, is_active


def proxy(host: Host) -> Iterator[Finding]:
    """HAProxy in front of S3, if there shall be one."""
    address, port = host.settings.proxy
    if not port:
        yield Finding("haproxy", OK, "HAProxy is not configured")
        return
    others = [holder for holder in holders(port) if holder.pid and holder.program != "haproxy"]
    if others:
        fix = "stop it, or choose another S3_PROXY_PORT in weed.conf"
        yield Finding("port-in-use", ERROR, f"held by {others[0]}", f"HAProxy: {address}:{port}", fix)
    if not find_program(host.paths, "haproxy"):
        what = "HAProxy is not installed: S3 clients have to choose a server themselves"
        yield Finding("haproxy-absent", NOTE, what, "", "install haproxy, then: weed-instances apply")
    elif host.before != INSTALL and host.installed:
        yield from _snippet(host)


def _snippet(host: Host) -> Iterator[Finding]:
    where, apply = host.paths.haproxy, "weed-instances apply"
    assert host.installed
    present = read(where)
    try:
        wanted = haproxy.text(host.settings, host.installed, host.paths, haproxy.version(host.paths))
        refused = haproxy.check(host.paths, where) if present and host.root else ""
    except AccessError as error:
        severity = WARNING if host.root else NOTE
        yield Finding(
            "unseen", severity, f"HAProxy: {error.brief}", where, error.resolution if host.root else "run as root"
        )
        return
    except OpsError as error:
        yield Finding("haproxy-unknown", WARNING, error.brief, where, error.resolution)
        return
    if not present:
        yield Finding("haproxy-missing", WARNING, "the configuration for S3 is missing", where, apply)
        return
    if present != wanted:
        yield Finding("haproxy-stale", WARNING, "it is not what weed.conf and this HAProxy ask for", where, apply)
    if refused:
        yield Finding(
            "haproxy-refused", ERROR, f"HAProxy refuses it: {refused}", where, "correct what it names, then: " + apply
        )
    if not reads_snippet(host.paths):
        yield Finding("haproxy-unread", WARNING, "the unit of HAProxy does not read it", where, how_to_read(host.paths))
        return
    yield from _running(host)


def _running(host: Host) -> Iterator[Finding]:
    if not [place for place in stats_sockets(host.paths) if place.level == "admin"]:
        fix = "add `level admin` to its `stats socket` line, then: systemctl reload haproxy"
        what = "no socket of level admin, so weed-rolling-restart cannot drain S3 servers"
        yield Finding("haproxy-socket", WARNING, what, host.paths.at("/etc/haproxy/haproxy.cfg"), fix)
    if read(host.paths.at("/sys/fs/selinux/enforce")).strip() == "1":
        boolean = host.paths.at("/sys/fs/selinux/booleans/haproxy_connect_any")
        if read(boolean).split()[:1] == ["0"]:
            fix = "setsebool -P haproxy_connect_any 1"
            yield Finding(
                "haproxy-selinux", WARNING, "SELinux does not let HAProxy connect to the S3 ports", boolean, fix
            )
    if not is_active(host.paths, UNIT) and os.path.isdir(host.paths.at("/run/systemd/system")):
        yield Finding("haproxy-stopped", WARNING, "HAProxy does not run", UNIT, "systemctl enable --now haproxy")
    else:
        yield Finding("haproxy", OK, "HAProxy reads the configuration for S3", host.paths.haproxy)
