"""`/etc/haproxy/conf.d/weed-s3.cfg`: the S3 servers of this host behind one port.

Sources: HAProxy's configuration manuals of 1.8 (Oracle Linux 8), 2.4 (Ubuntu 22.04, Oracle Linux 9) and 2.6. Every
setting that a `defaults` section of the host could change is written out.
"""

import os
import re
from typing import Dict, List, NamedTuple, Tuple

from weedops.errors import OpsError
from weedops.haproxy_host import CONFIG, companions, reload_haproxy
from weedops.options import read_options
from weedops.paths import Installed, Paths
from weedops.probe import endpoint, local_host
from weedops.programs import find_program, run
from weedops.settings import Instance, Settings
from weedops.tls import https

FRONTEND = "weed_s3_in"
BACKEND = "weed_s3"
WAITING = "weed_s3_wait"
"""Where requests go while `HOLD` is enabled: they wait there for a server of `BACKEND` to be ready again."""
HOLD = "hold"
HOLD_SECONDS = 60

OLDEST = (1, 8)
"""What the text is written for when HAProxy is not installed yet."""
STDOUT = (1, 9)
"""`log stdout format short`."""
RETRY = (2, 0)
"""`retry-on`, `http-request disable-l7-retry`."""
RETURN = (2, 2)
"""`http-request return`, `http-error`."""

WINDOW = 10
"""Seconds over which the rate of a client is taken."""

_SLOW_DOWN = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_NO_SERVER = "<Error><Code>ServiceUnavailable</Code><Message>No S3 server is available.</Message></Error>"

_CHECKS = (
    "default-server inter 2s fastinter 500ms downinter 1s fall 2 rise 2 observe layer4 error-limit 5 on-error fastinter"
)
"""Without `on-marked-down shutdown-sessions`: HAProxy gives up then what is just connecting to a server that was killed
(D--- in its log), where it would go to another one, and cuts off transfers of a server that is only slow to say it is
well. Requests that wait for a hung server continue when the watchdog ends it.
"""
_LOG_FORMAT = (
    r"%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq "
    r"\"%HM %HP %HV\""
)
"""As `option httplog`, but without the query: that of a presigned URL is as good as a password until it expires."""


class Written(NamedTuple):
    """What `write` did: whether the file is another one now, what to tell, and why HAProxy refused it, else ""."""

    changed: bool
    notes: List[str]
    refused: str


def version(paths: Paths) -> Tuple[int, ...]:
    """Return the version of the HAProxy that is installed, as (2, 4); () without one."""
    program = find_program(paths, "haproxy")
    if not program:
        return ()
    found = re.search(r"version (\d+)\.(\d+)", run([program, "-v"]).out)
    return max(OLDEST, tuple(map(int, found.groups()))) if found else OLDEST


def text(settings: Settings, installed: Installed, paths: Paths, release: Tuple[int, ...]) -> str:
    """Return the file for HAProxy `release`, "" when this host shall have none. Raises OpsError as `read_options`."""
    if not settings.proxy[1]:
        return ""
    level = max(known for known in (OLDEST, RETRY, RETURN) if known <= (release or OLDEST))
    head = [
        "# Made by `weed-instances apply` from /etc/default/weed/weed.conf; what is changed here is lost.",
        f"# For HAProxy {'.'.join(map(str, level))} or newer.",
    ]
    servers = {one.name: _server(one, settings, installed, paths) for one in settings.instances("s3")}
    parts = [_frontend(settings, level), _backend(installed, level, servers), _waiting(servers)]
    return "\n".join(head) + "\n\n" + "\n\n".join("\n    ".join(part) for part in parts) + "\n"


def _frontend(settings: Settings, release: Tuple[int, ...]) -> List[str]:
    lines = [
        f"frontend {FRONTEND}",
        _bind(settings, release),
        "mode http",
        # To the journal, whatever the host does with syslog: Oracle Linux sends that to a port where nobody listens.
        # And only there: twice in the journal, as on Debian by way of its defaults, fail2ban would count it twice.
        *(["no log", "log stdout format short daemon info"] if release >= STDOUT else ["log global"]),
        f'log-format "{_LOG_FORMAT}"',
        "option dontlognull",
        "option http-keep-alive",
        "# A request that fits into one buffer is there as a whole before it is sent on, so it can be sent again.",
        "option http-buffer-request",
        "timeout client 5m",
        "timeout http-request 30s",
        "timeout http-keep-alive 1m",
        "# What only a proxy may say. SeaweedFS takes the host for checking signatures from them.",
        *(f"http-request del-header X-Forwarded-{name}" for name in ("Host", "Port", "Proto", "Prefix")),
        "http-request set-header X-Forwarded-For %[src]",
    ]
    return (
        lines
        + _limit(int(settings.values["S3_RATE_LIMIT"]), release)
        + [
            f"use_backend {WAITING} if {{ srv_is_up({WAITING}/{HOLD}) }}",
            f"default_backend {BACKEND}",
        ]
    )


def _bind(settings: Settings, release: Tuple[int, ...]) -> str:
    cert = settings.values["S3_PROXY_TLS_CERT"]
    line = "bind " + _address(*settings.proxy)
    if cert:
        line += f" ssl crt {cert} ssl-min-ver TLSv1.2 no-tls-tickets"
        line += " alpn h2,http/1.1" if release >= RETRY else ""
    return line


def _limit(rate: int, release: Tuple[int, ...]) -> List[str]:
    """A client over its rate gets what S3 itself answers then: 503 SlowDown, on which every SDK slows down."""
    if not rate:
        return []
    lines = [
        f"# At most {rate} requests a second from one address, over {WINDOW} seconds.",
        f"stick-table type ipv6 size 100k expire 1m store http_req_rate({WINDOW}s)",
        "http-request track-sc0 src",
        f"acl too_fast sc0_http_req_rate gt {rate * WINDOW}",
    ]
    if release < RETURN:
        return [*lines, "http-request deny deny_status 503 if too_fast"]
    answer = f"content-type application/xml string '{_SLOW_DOWN}' hdr Retry-After 1"
    return [*lines, f"http-request return status 503 {answer} if too_fast"]


def _backend(installed: Installed, release: Tuple[int, ...], servers: Dict[str, str]) -> List[str]:
    lines = [
        f"backend {BACKEND}",
        "mode http",
        "balance roundrobin",
        f"option httpchk GET {endpoint('s3', installed)}",
        "http-check expect status 200",
        "timeout connect 3s",
        "timeout queue 30s",
        "timeout server 5m",
        "timeout check 3s",
        "# A request that finds its server gone goes to another one at once.",
        "retries 3",
        "option redispatch 1",
    ]
    if release >= RETRY:
        lines += [
            "# So does one that got no answer, unless doing it twice could differ from doing it once.",
            "retry-on conn-failure empty-response",
            "acl conditional req.hdr(If-Match) -m found",
            "acl conditional req.hdr(If-None-Match) -m found",
            "http-request disable-l7-retry if METH_POST",
            "http-request disable-l7-retry if METH_PUT conditional",
        ]
    if release >= RETURN:
        lines.append(f"http-error status 503 content-type application/xml string '{_NO_SERVER}' hdr Retry-After 1")
    return [*lines, _CHECKS, *(f"{server} check" for server in servers.values())]


def _waiting(servers: Dict[str, str]) -> List[str]:
    """While no server shall have a request, HAProxy tries every second to connect to one that never answers.

    A connection that failed has carried nothing, so that is safe for every request.
    """
    return [
        f"backend {WAITING}",
        "# weed-rolling-restart lets requests wait here while the masters elect another leader.",
        "mode http",
        "balance roundrobin",
        "timeout connect 3s",
        "timeout server 5m",
        "timeout queue 30s",
        f"retries {HOLD_SECONDS}",
        "option redispatch 1",
        *(f"{server} track {BACKEND}/{name}" for name, server in servers.items()),
        f"server {HOLD} 127.0.0.1:1 backup disabled",
    ]


def _server(instance: Instance, settings: Settings, installed: Installed, paths: Paths) -> str:
    line = f"server {instance.name} {_address(local_host(settings.bind), instance.port)}"
    if https({}, read_options(paths, instance), "s3", installed).key:
        line += " ssl verify none"  # it does not leave this host
    return line


def _address(host: str, port: int) -> str:
    host = host.strip("[]")
    return f"ipv6@{host}:{port}" if ":" in host else f"{host}:{port}"


def write(paths: Paths, settings: Settings, installed: Installed) -> Written:
    """Make the file what the settings say, when HAProxy accepts it, and reload a HAProxy that runs.

    HAProxy is never installed. Without it the file is written for the oldest release, unchecked. A text that HAProxy
    refuses leaves the old file in place. Raises OpsError when a file cannot be written.
    """
    wanted = text(settings, installed, paths, version(paths))
    try:
        if _present(paths.haproxy) == wanted:
            return Written(False, [], "")
        if not wanted:
            os.unlink(paths.haproxy)
        else:
            refused = _install(paths, wanted)
            if refused:
                return Written(False, [], refused)
    except OSError as error:
        raise OpsError(f"{error.filename} cannot be written: {error.strerror}", "run this as root")
    return Written(True, reload_haproxy(paths), "")


def _present(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _install(paths: Paths, wanted: str) -> str:
    """Put the file in place, and return why HAProxy refused it, "" when it accepted."""
    folder = os.path.dirname(paths.haproxy)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    candidate = os.path.join(folder, f".{os.path.basename(paths.haproxy)}.new")  # HAProxy passes over hidden files
    try:
        descriptor = os.open(candidate, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o644)
            file.write(wanted)
            file.flush()
            os.fsync(descriptor)
        refused = check(paths, candidate)
        if not refused:
            os.replace(candidate, paths.haproxy)
        return refused
    finally:
        if os.path.exists(candidate):
            os.unlink(candidate)


def check(paths: Paths, candidate: str) -> str:
    """Return why HAProxy refuses its configuration with `candidate` in it, "" if it accepts or is not installed."""
    program = find_program(paths, "haproxy")
    if not program:
        return ""
    files = [path for path in [paths.at(CONFIG)] if os.path.exists(path)]
    files += [*companions(paths), candidate]
    argv = [program, "-c"]
    for path in files:
        argv += ["-f", path]
    done = run(argv)
    return "" if done.code == 0 else done.output or f"exit code {done.code}"
