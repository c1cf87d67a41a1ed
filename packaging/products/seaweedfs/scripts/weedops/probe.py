"""The health of one instance, as its own HTTP endpoint tells it."""

import http.client
import socket
import ssl
from typing import NamedTuple, Optional

from weedops.errors import OpsError
from weedops.paths import THIS_HOST, Installed, Paths
from weedops.settings import Instance, Settings
from weedops.tls import context_for

GOOD, WAITING, BAD, SILENT = "good", "waiting", "bad", "silent"

S3_HEALTHZ = (3, 73)
"""The first release whose S3 server has /healthz (SeaweedFS, weed/s3api/s3api_server.go); /status before it."""

_WAITING = {
    ("master", 503): "no leader is elected",
    ("master", 423): "the leader holds the topology locked",
    ("volume", 503): "no master takes its heartbeats, or it is stopping",
    ("filer", 503): "its store does not answer",
    ("s3", 503): "it is not ready",
}


class Health(NamedTuple):
    """One answer. `status` is the HTTP status, 0 when there was none; `detail` is for people.

    `state` is good (200), waiting (alive, and may become good by itself: 423, 503), bad (alive, with any other answer)
    or silent (no answer to HTTP at all).
    """

    state: str
    detail: str
    status: int

    @property
    def alive(self) -> bool:
        """Whether it answered HTTP at all."""
        return self.state != SILENT


class Target(NamedTuple):
    """Where and how to ask. `secure` is None when it could not be found out whether the port is HTTPS."""

    role: str
    host: str
    port: int
    path: str
    secure: Optional[bool]
    context: ssl.SSLContext


def endpoint(role: str, installed: Installed) -> str:
    """Return the path that tells the health of `role` in the installed release."""
    if role == "master":
        return "/cluster/healthz"
    return "/status" if role == "s3" and installed.dialect < S3_HEALTHZ else "/healthz"


def local_host(bind: str) -> str:
    """Return an address that reaches what listens on `bind` from this host."""
    host = bind.strip("[]")
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)


def aim(instance: Instance, installed: Installed, settings: Settings, paths: Paths) -> Target:
    """Return how to ask `instance`. A user who may not read security.toml finds out by asking."""
    secure: Optional[bool]
    try:
        secure, context = context_for(instance, installed, paths)
    except OpsError:
        secure, context = None, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    path = endpoint(instance.role, installed)
    return Target(instance.role, local_host(settings.bind), instance.port, path, secure, context)


def probe(
    instance: Instance, installed: Installed, settings: Settings, timeout: float, paths: Paths = THIS_HOST
) -> Health:
    """Ask `instance` for its health; `timeout` is in seconds. Never raises."""
    return ask(aim(instance, installed, settings, paths), timeout)


def ask(target: Target, timeout: float) -> Health:
    """Ask once; `timeout` is in seconds. Never raises."""
    health = _ask(target, timeout, bool(target.secure))
    if target.secure is None and health.status == 400:  # what Go's HTTPS server says to HTTP
        return _ask(target, timeout, True)
    return health


def _ask(target: Target, timeout: float, secure: bool) -> Health:
    where = f"{'https' if secure else 'http'}://{_bracketed(target.host)}:{target.port}{target.path}"
    connection = _connection(target, timeout, secure)
    try:
        connection.request("GET", target.path, headers={"User-Agent": "weed-probe", "Connection": "close"})
        status = connection.getresponse().status
    except http.client.RemoteDisconnected:
        return Health(SILENT, f"{where} closes the connection without an answer", 0)
    except socket.timeout:
        return Health(SILENT, f"no answer within {timeout:g} s from {where}", 0)
    except ssl.SSLError as error:
        return Health(BAD, f"TLS of {where}: {error.reason or error}", 0)
    except http.client.HTTPException as error:
        return Health(BAD, f"{where} does not answer in HTTP: {error.__class__.__name__}", 0)
    except OSError as error:
        return Health(SILENT, f"no answer from {where}: {error.strerror or error}", 0)
    finally:
        connection.close()
    return _judged(target.role, status, where)


def _judged(role: str, status: int, where: str) -> Health:
    if status == 200:
        return Health(GOOD, f"{where} answers 200", status)
    reason = _WAITING.get((role, status))
    if reason:
        return Health(WAITING, f"{where} answers {status}: {reason}", status)
    return Health(BAD, f"{where} answers {status}", status)


def _connection(target: Target, timeout: float, secure: bool) -> http.client.HTTPConnection:
    if secure:
        return http.client.HTTPSConnection(target.host, target.port, timeout=timeout, context=target.context)
    return http.client.HTTPConnection(target.host, target.port, timeout=timeout)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
