"""What a registry client must get right on the wire: tokens, redirects, busy servers, hostile answers."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID

from pipeline.errors import ImageError
from pipeline.model.identity import sha256_hex
from pipeline.oci import registry as subject
from pipeline.oci.export import export
from pipeline.oci.manifest import MANIFEST, Descriptor
from pipeline.oci.reference import Reference
from pipeline.oci.registry import Registry, resolve
from tests.integration.test_images_registry import registry, skopeo, small_root

Answer = Callable[[BaseHTTPRequestHandler], tuple[int, dict[str, str], bytes]]


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
            with pytest.raises(ImageError, match="without credentials") as caught:
                resolve(reference)
            assert "who are you" in caught.value.details
            (tmp_path / ".docker").mkdir()
            pair = base64.b64encode(b"builder:secret").decode()
            (tmp_path / ".docker/config.json").write_text(json.dumps({"auths": {host: {"auth": pair}}}))
            assert resolve(reference).startswith("sha256:")
            assert [scope for scope, _ in asked] == ["repository:team/a:pull"] * 2, "one token serves all requests"


def test_credentials_do_not_follow_a_redirect(tmp_path: Path) -> None:
    seen: list[str | None] = []
    layer = b"layer"

    def storage(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        seen.append(request.headers.get("Authorization"))
        return 200, {}, layer

    with server(storage) as elsewhere:

        def answer(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
            if not request.headers.get("Authorization"):
                return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b""
            return 307, {"Location": f"http://{elsewhere}/blob"}, b""

        with server(answer) as host:
            config = tmp_path / ".docker/config.json"
            config.parent.mkdir()
            config.write_text(json.dumps({"auths": {host: {"auth": base64.b64encode(b"a:b").decode()}}}))
            client = Registry(Reference.parse(f"{host}/a:b"), {"HOME": str(tmp_path)})
            described = Descriptor(media_type="", digest="sha256:" + sha256_hex(layer), size=len(layer))
            with client.open(described) as stream:
                assert stream.read() == layer
    assert seen == [None]


def test_a_busy_registry_is_asked_again_when_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(subject, "time", SimpleNamespace(sleep=pauses.append))
    answers = iter([(503, {"Retry-After": "7"}, b""), (429, {}, b""), (404, {}, b"")])
    with server(lambda _: next(answers)) as host, pytest.raises(ImageError, match="there is no image"):
        resolve(Reference.parse(f"{host}/a:b"))
    assert pauses == [7.0, 14.0]
    with server(lambda _: (500, {}, b"oops")) as host, pytest.raises(ImageError, match="answers 500"):
        resolve(Reference.parse(f"{host}/a:b"))
    assert len(pauses) == 2 + subject.ATTEMPTS - 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"schemaVersion": 1}', "older than 2017"),
        (b'{"schemaVersion": 2, "mediaType": "text/plain"}', "text/plain"),
        (json.dumps({"schemaVersion": 2, "mediaType": MANIFEST}).encode(), "descriptor"),
        (b"x" * (5 << 20), "more than"),
    ],
)
def test_a_hostile_answer_is_an_error_for_people(body: bytes, said: str) -> None:
    with server(lambda _: (200, {"Content-Type": MANIFEST}, body)) as host, pytest.raises(ImageError, match=said):
        resolve(Reference.parse(f"{host}/a:b"))


def test_another_image_than_the_pinned_one_is_refused() -> None:
    refused = pytest.raises(ImageError, match="not what was asked for")
    with server(lambda _: (200, {}, b'{"schemaVersion": 2}')) as host, refused:
        resolve(Reference.parse(f"{host}/a@sha256:{'0' * 64}"))


def test_a_token_is_not_asked_for_over_a_line_that_anybody_can_read() -> None:
    for realm in ("http://tokens.example.com/", "file:///etc/passwd"):
        client = Registry(Reference.parse("registry.example.com/a:b"), {})
        with pytest.raises(ImageError, match="which is not https"):
            client._token({"realm": realm})
