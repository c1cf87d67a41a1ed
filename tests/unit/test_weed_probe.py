"""The health of one instance, asked of real HTTP and HTTPS servers on this host."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from weedops.paths import Installed, Paths
from weedops.probe import endpoint, local_host, probe
from weedops.settings import Instance, Settings, check_settings

from tests.unit.weed_certificates import certificates

NEW = Installed("seaweedfs", "4.44", "standard", "abc")
SETTINGS = check_settings({}, "weed.conf")


class Server:
    """An HTTP server that answers every request with one status, and remembers the paths."""

    def __init__(self, status: int, context: ssl.SSLContext | None = None) -> None:
        asked: list[str] = []
        self.asked = asked

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        self.http = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        if context:
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(status: int, context: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(status, context))
        return servers[-1]

    yield start
    for server in servers:
        server.http.shutdown()
        server.http.server_close()


def instance(role: str, port: int) -> Instance:
    return Instance(role, 1, port, 0, ())


@pytest.mark.parametrize(
    ("role", "status", "state", "says"),
    [
        ("master", 200, "good", "answers 200"),
        ("master", 503, "waiting", "no leader is elected"),
        ("master", 423, "waiting", "topology locked"),
        ("volume", 503, "waiting", "no master takes its heartbeats"),
        ("filer", 503, "waiting", "its store does not answer"),
        ("s3", 404, "bad", "answers 404"),
        ("filer", 500, "bad", "answers 500"),
    ],
)
def test_an_answer_is_judged_by_role(
    serve: Callable[..., Server], tmp_path: Path, role: str, status: int, state: str, says: str
) -> None:
    server = serve(status)
    health = probe(instance(role, server.port), NEW, SETTINGS, 5, Paths(str(tmp_path)))
    assert (health.state, health.status) == (state, status)
    assert says in health.detail
    assert health.alive
    assert server.asked == [endpoint(role, NEW)]


# SeaweedFS, tags 3.72 and 3.73, weed/s3api/s3api_server.go: /healthz appears in 3.73; the other roles have had theirs
# since before 3.68 (weed/command/master.go, weed/server/{volume,filer}_server.go).
@pytest.mark.parametrize(
    ("version", "role", "path"),
    [
        ("3.68", "master", "/cluster/healthz"),
        ("4.44", "master", "/cluster/healthz"),
        ("3.68", "volume", "/healthz"),
        ("4.44", "filer", "/healthz"),
        ("3.68", "s3", "/status"),
        ("3.72", "s3", "/status"),
        ("3.73", "s3", "/healthz"),
        ("4.44", "s3", "/healthz"),
    ],
)
def test_the_endpoint_is_that_of_the_installed_release(version: str, role: str, path: str) -> None:
    assert endpoint(role, Installed("seaweedfs", version, "standard", "abc")) == path


def test_a_product_that_stands_in_has_the_newest_endpoints() -> None:
    assert endpoint("s3", Installed("example", "1.2.3", "standard", "abc")) == "/healthz"


def test_nobody_listening_is_silence(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        health = probe(instance("filer", free.getsockname()[1]), NEW, SETTINGS, 5, Paths(str(tmp_path)))
    assert (health.state, health.status, health.alive) == ("silent", 0, False)
    assert "refused" in health.detail


def test_a_server_that_takes_connections_and_says_nothing_is_silent(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hung:
        health = probe(instance("volume", hung.getsockname()[1]), NEW, SETTINGS, 0.2, Paths(str(tmp_path)))
    assert health.state == "silent"
    assert "no answer within 0.2 s" in health.detail


def test_something_that_is_no_http_server_is_bad(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail.example.org ESMTP\r\n")

        greeter = threading.Thread(target=greet)
        greeter.start()
        health = probe(instance("s3", other.getsockname()[1]), NEW, SETTINGS, 5, Paths(str(tmp_path)))
        greeter.join()
    assert (health.state, health.alive) == ("bad", True)
    assert "does not answer in HTTP" in health.detail


def mutual(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    context.load_verify_locations(folder / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def secured(tmp_path: Path, role: str) -> Paths:
    certificates(tmp_path)
    (tmp_path / "etc/weed").mkdir(parents=True)
    lines = [f"[https.{role}]"]
    lines += [f'{key} = "{tmp_path}/{name}"' for key, name in (("cert", "server.crt"), ("key", "server.key"))]
    (tmp_path / "etc/weed/security.toml").write_text("\n".join([*lines, f'ca = "{tmp_path}/ca.crt"', ""]))
    return Paths(str(tmp_path))


@pytest.mark.parametrize("role", ["master", "volume", "filer"])
def test_a_port_that_security_toml_makes_mutual_tls_is_asked_so(
    serve: Callable[..., Server], tmp_path: Path, role: str
) -> None:
    paths = secured(tmp_path, role)
    server = serve(200, mutual(tmp_path))
    health = probe(instance(role, server.port), NEW, SETTINGS, 5, paths)
    assert health.state == "good", health.detail
    assert health.detail.startswith("https://")


def test_a_release_before_https_of_filers_is_asked_in_plain_text(serve: Callable[..., Server], tmp_path: Path) -> None:
    paths = secured(tmp_path, "filer")
    old = Installed("seaweedfs", "3.68", "standard", "abc")
    assert probe(instance("filer", serve(200).port), old, SETTINGS, 5, paths).detail.startswith("http://")


def test_s3_is_https_when_its_options_say_so(serve: Callable[..., Server], tmp_path: Path) -> None:
    certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    (tmp_path / "etc/weed").mkdir(parents=True)
    options = tmp_path / "etc/weed/s3.options"
    options.write_text(f"cert.file={tmp_path}/server.crt\nkey.file={tmp_path}/server.key\n")
    health = probe(instance("s3", serve(200, context).port), NEW, SETTINGS, 5, Paths(str(tmp_path)))
    assert health.detail.startswith("https://")
    assert health.state == "good"
    options.write_text(options.read_text() + "port.https=8443\n")
    health = probe(instance("s3", serve(200).port), NEW, SETTINGS, 5, Paths(str(tmp_path)))
    assert (health.state, health.detail[:7]) == ("good", "http://")


@pytest.mark.parametrize(
    ("bind", "host"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("[::]", "::1"), ("10.0.0.7", "10.0.0.7"), ("[fd00::1]", "fd00::1")],
)
def test_a_wildcard_is_asked_on_loopback(bind: str, host: str) -> None:
    assert local_host(Settings({**SETTINGS.values, "BIND_ADDRESS": bind}).bind) == host
