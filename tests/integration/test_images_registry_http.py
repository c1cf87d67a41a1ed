"""What may happen on the wire: tokens, refusals, busy servers, broken connections, hostile answers."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID

from pipeline.errors import ImageError
from pipeline.host import retry
from pipeline.model.identity import sha256_hex
from pipeline.oci.export import export
from pipeline.oci.manifest import CONFIG, MANIFEST
from pipeline.oci.reference import NoSuchImageError, Reference
from tests.integration.test_images_registry import pull, registry, resolve, skopeo, small_root

pytestmark = pytest.mark.usefixtures("hasty")

Answer = Callable[[BaseHTTPRequestHandler], tuple[int, dict[str, str], bytes]]

ABSENT = "sha256:" + "0" * 64


@contextlib.contextmanager
def server(answer: Answer) -> Iterator[str]:
    """Run an HTTP server on this machine that answers GET with `answer`; yield its host name with the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answer(self)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()
            thread.join()


class Issuer:
    """Signs tokens that the registry trusts (distribution, token authentication; RFC 7519)."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
        now = dt.datetime.now(dt.UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .sign(self.key, hashes.SHA256())
        )

    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def token(self, service: str, scope: str) -> str:
        """Return a token for what `scope` asks."""
        kind, name, actions = scope.split(":")
        chain = base64.b64encode(self.certificate.public_bytes(serialization.Encoding.DER)).decode()
        now = int(time.time())
        claims = {
            "iss": "issuer",
            "sub": "builder",
            "aud": service,
            "exp": now + 300,
            "nbf": now - 10,
            "iat": now,
            "jti": "1",
            "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
        }
        parts = [_b64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ES256", "x5c": [chain]}, claims)]
        signed = self.key.sign(".".join(parts).encode(), ec.ECDSA(hashes.SHA256()))
        r, s = utils.decode_dss_signature(signed)
        return ".".join([*parts, _b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))])


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_token_is_asked_for_where_the_registry_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = Issuer()
    asked: list[tuple[str, str]] = []

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(request.path).query))
        authorization = request.headers.get("Authorization", "")
        asked.append((query["scope"], authorization))
        if authorization != "Basic " + base64.b64encode(b"builder:secret").decode():
            return 401, {}, b'{"errors": [{"code": "UNAUTHORIZED", "message": "who are you"}]}'
        return 200, {}, json.dumps({"token": issuer.token(query["service"], query["scope"])}).encode()

    (tmp_path / "ca.pem").write_bytes(issuer.pem())
    export(tmp_path / "a.tar", [("/", small_root(tmp_path / "root", "x"))], path=("/bin",), name="a")
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(variable, raising=False)
    with server(answer) as tokens:
        auth = (
            f"auth: {{token: {{realm: 'http://{tokens}/token?a=b', service: here, issuer: issuer, "
            f"rootcertbundle: {tmp_path}/ca.pem}}}}"
        )
        with registry(tmp_path / "r", auth) as host:
            target = f"docker://{host}/team/a:v1"
            options = ("--dest-tls-verify=false", "--dest-creds=builder:secret")
            skopeo("copy", *options, f"oci-archive:{tmp_path}/a.tar", target)
            asked.clear()
            reference = Reference.parse(f"{host}/team/a:v1")
            with pytest.raises(ImageError, match="refuses access to"):
                resolve(reference)
            (tmp_path / ".docker").mkdir()
            pair = base64.b64encode(b"builder:secret").decode()
            (tmp_path / ".docker/config.json").write_text(json.dumps({"auths": {host: {"auth": pair}}}))
            assert resolve(reference).startswith("sha256:")
            assert {scope for scope, _ in asked} == {"repository:team/a:pull"}


def error(code: str) -> bytes:
    """Return the body of a registry's error (distribution-spec, error codes)."""
    return json.dumps({"errors": [{"code": code, "message": f"{code.lower()} x"}]}).encode()


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize(
    ("status", "body"),
    [(404, error("MANIFEST_UNKNOWN")), (404, error("NAME_UNKNOWN")), (404, b""), (404, b"<html>Not Found</html>")],
)
def test_an_image_that_a_registry_does_not_have_is_told_apart(status: int, body: bytes, pinned: bool) -> None:
    with server(answering(status, body)) as host, pytest.raises(NoSuchImageError, match="there is no image"):
        resolve(Reference.parse(f"{host}/a@{ABSENT}" if pinned else f"{host}/a:b"))


@pytest.mark.parametrize(
    ("status", "body", "problem", "times"),
    [
        (401, b"", "refuses access to", 1),
        (401, error("UNAUTHORIZED"), "refuses access to", 1),
        (403, b"", "refuses access to", 1),
        (403, error("DENIED"), "refuses access to", 1),
        (400, b"manifest unknown", "could not get", 1),
        (500, error("MANIFEST_UNKNOWN"), "could not get", 3),
        (503, b"<html>StatusCode: 404</html>", "could not get", 3),
    ],
)
def test_every_other_failure_is_another_error(
    status: int, body: bytes, problem: str, times: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger=retry.__name__)
    asked: list[str] = []
    with server(answering(status, body, asked)) as host, pytest.raises(ImageError, match=problem) as caught:
        resolve(Reference.parse(f"{host}/a@{ABSENT}"))
    assert not isinstance(caught.value, NoSuchImageError)
    assert len(asked) == times
    assert [record.message.partition(" failed")[0] for record in caplog.records] == (
        [f"attempt {number}" for number in range(1, times)]
    )


def test_a_registry_that_counts_requests_is_asked_again_when_it_says() -> None:
    answers = iter([(429, {"Retry-After": "0"}, b""), (429, {"Retry-After": "0"}, b""), (404, {}, b"")])

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        return (200, {}, b"{}") if request.path == "/v2/" else next(answers)

    with server(answer) as host, pytest.raises(NoSuchImageError):
        resolve(Reference.parse(f"{host}/a:b"))
    always = answering(429, error("TOOMANYREQUESTS"), headers={"Retry-After": "0"})
    with server(always) as host, pytest.raises(ImageError, match="could not get") as caught:
        resolve(Reference.parse(f"{host}/a:b"))
    assert "toomanyrequests" in caught.value.details


def answering(
    status: int, body: bytes, asked: list[str] | None = None, *, headers: dict[str, str] | None = None
) -> Answer:
    """Return what answers every request but the first one, for the version of the API, in one way."""

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        if request.path == "/v2/":
            return 200, {}, b"{}"
        if asked is not None:
            asked.append(request.path)
        return status, headers or {}, body

    return answer


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"schemaVersion": 1}', "older than 2017"),
        (b'{"schemaVersion": 2, "manifests": 1}', "cannot be read"),
        (b'{"schemaVersion": 2, "mediaType": "text/plain"}', "could not get"),
        (json.dumps({"schemaVersion": 2, "mediaType": MANIFEST}).encode(), "could not get"),
        (b"x" * (5 << 20), "could not get"),
    ],
)
def test_a_hostile_answer_is_an_error_for_people(body: bytes, said: str) -> None:
    hostile = answering(200, body, headers={"Content-Type": MANIFEST})
    with server(hostile) as host, pytest.raises(ImageError, match=said):
        resolve(Reference.parse(f"{host}/a:b"))


def test_another_image_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    refused = pytest.raises(ImageError, match="not what was asked for")
    with server(answering(200, b'{"schemaVersion": 2}')) as host, refused:
        resolve(Reference.parse(f"{host}/a@{ABSENT}"))


def test_an_image_for_another_platform_is_refused() -> None:
    config = json.dumps({"os": "linux", "architecture": "arm64", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    described = {"mediaType": CONFIG, "digest": "sha256:" + sha256_hex(config), "size": len(config)}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": []}

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        if request.path == "/v2/a/manifests/b":
            return 200, {"Content-Type": MANIFEST}, json.dumps(manifest).encode()
        return 200, {}, config if "/blobs/" in request.path else b"{}"

    with server(answer) as host, pytest.raises(ImageError, match="an image for linux/arm64, not for linux/amd64"):
        resolve(Reference.parse(f"{host}/a:b"))


def test_a_connection_that_breaks_off_is_tried_again(tmp_path: Path) -> None:
    """A server in front of a registry, which ends the first answer with a layer too early."""
    export(tmp_path / "a.tar", [("/", small_root(tmp_path / "root", "x" * 5000))], path=("/bin",), name="a")
    with registry(tmp_path / "r") as behind:
        skopeo("copy", "--dest-tls-verify=false", f"oci-archive:{tmp_path}/a.tar", f"docker://{behind}/a:v1")
        manifest = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{behind}/a:v1"))
        (layer,) = manifest["layers"]
        asked: list[str] = []

        def answer(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
            try:
                accept = {"Accept": ", ".join(request.headers.get_all("Accept", ["*/*"]))}
                asking = urllib.request.Request(f"http://{behind}{request.path}", headers=accept)
                with urllib.request.urlopen(asking, timeout=60) as response:
                    body, kind = response.read(), response.headers["Content-Type"]
            except urllib.error.HTTPError as missing:
                with missing:
                    return missing.code, {}, missing.read()
            headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"}
            if layer["digest"] in request.path:
                asked.append(request.path)
                request.close_connection = True
                body = body[:10] if len(asked) == 1 else body
            return 200, headers, body

        with server(answer) as host:
            pulled = pull(Reference.parse(f"{host}/a:v1"), tmp_path / "home")
        assert (pulled.path / "usr/bin/tool").read_text() == "x" * 5000
        assert len(asked) >= 2, "newer versions of skopeo first try to go on where it broke off"
