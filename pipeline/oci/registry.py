"""A client of the OCI distribution specification (1.1): enough to resolve and to pull.

Proxies and certificate authorities are those of the environment (`https_proxy`, `SSL_CERT_FILE`). A registry on
this machine (localhost, 127.0.0.1) is spoken to without TLS.
"""

from __future__ import annotations

import base64
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from email.message import Message
from http.client import HTTPException
from typing import Any, BinaryIO, cast

import anyio.to_thread

from pipeline.errors import ImageError
from pipeline.model.identity import sha256_hex
from pipeline.model.target import PLATFORM
from pipeline.oci.credentials import basic_credentials
from pipeline.oci.manifest import (
    INDEXES,
    MANIFESTS,
    MAX_DOCUMENT,
    Descriptor,
    Manifest,
    checked,
    find_manifest,
    media_type_of,
    parse_document,
)
from pipeline.oci.reference import Reference

TIMEOUT = 60.0
"""Seconds without a byte after which a registry counts as gone."""

ATTEMPTS = 4
_BUSY = {408, 429, 500, 502, 503, 504}
_LONGEST_PAUSE = 30.0
_ACCEPT = ", ".join(sorted(INDEXES | MANIFESTS))
_CHALLENGE = re.compile(r'([a-zA-Z]+)="([^"]*)"')
_LOCAL = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?\Z")


class NoSuchImageError(ImageError):
    """The registry answers that it has no such image (404)."""


class Registry:
    """The registry that has one repository. Implements `Blobs`, with a token that is asked for once."""

    def __init__(self, reference: Reference, environ: Mapping[str, str] | None = None) -> None:
        self.reference = reference
        host = "registry-1.docker.io" if reference.host == "docker.io" else reference.host
        self._local = bool(_LOCAL.match(host))
        self._url = f"{'http' if self._local else 'https'}://{host}/v2/{reference.repository}"
        self._credentials = basic_credentials(reference.host, reference.repository, environ)
        self._authorization = ""

    def start(self) -> Descriptor:
        """Ask for what the reference means now; return the index or manifest it points at.

        Raises ImageError when the registry cannot be reached, refuses, or has no such image.
        """
        where = str(self.reference)
        with self._get(f"manifests/{self.reference.wanted}", accept=_ACCEPT) as response:
            data = _read(response, where)
            told = str(_headers(response).get("Content-Type", "")).partition(";")[0].strip()
        if self.reference.digest:
            checked(data, self.reference.digest, where)
        document = parse_document(data, where)
        if document.get("schemaVersion") != 2:
            raise ImageError(f"{where} is an image in a format older than 2017 (schema 1), which is not supported")
        digest = "sha256:" + sha256_hex(data)
        return Descriptor(media_type=media_type_of(document, told), digest=digest, size=len(data))

    def manifest(self, platform: str) -> Manifest:
        """Return the manifest for `platform` that the reference means now. Raises ImageError."""
        return find_manifest(self, self.start(), platform, str(self.reference))

    def document(self, descriptor: Descriptor) -> bytes:
        """Return an index, a manifest or a configuration. Raises ImageError."""
        is_manifest = descriptor.media_type in INDEXES | MANIFESTS
        path = f"{'manifests' if is_manifest else 'blobs'}/{descriptor.digest}"
        with self._get(path, accept=_ACCEPT if is_manifest else "*/*") as response:
            return _read(response, str(self.reference))

    def open(self, descriptor: Descriptor) -> BinaryIO:
        """Return a stream of a layer. Raises ImageError."""
        return self._get(f"blobs/{descriptor.digest}", accept="*/*")

    def _get(self, path: str, *, accept: str) -> BinaryIO:
        url = f"{self._url}/{path}"
        pause, challenged, attempt = 1.0, False, 1
        while True:
            try:
                return _open(url, accept, self._authorization)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code == 401 and not challenged:
                        challenged = True
                        self._authorization = self._authorize(error.headers)
                        continue
                    if error.code not in _BUSY or attempt == ATTEMPTS:
                        raise self._refused(error) from error
                    pause = _retry_after(error.headers, pause)
            except (OSError, HTTPException) as error:
                if attempt == ATTEMPTS or self._local:
                    raise self._unreachable(error) from error
            attempt += 1
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _authorize(self, headers: Message) -> str:
        """Return the header value that answers a challenge (RFC 7235; Bearer after the distribution's token spec)."""
        challenges = headers.get_all("WWW-Authenticate") or []
        for challenge in challenges:
            scheme, _, rest = challenge.partition(" ")
            if scheme.lower() == "bearer":
                return f"Bearer {self._token(dict(_CHALLENGE.findall(rest)))}"
        if any(challenge.lower().startswith("basic") for challenge in challenges) and self._credentials:
            return f"Basic {self._credentials}"
        return ""

    def _token(self, challenge: Mapping[str, str]) -> str:
        realm = challenge.get("realm", "")
        secure = realm.startswith("https://") or (self._local and realm.startswith("http://"))
        if not secure:
            raise ImageError(f"{self.reference.host} sends its users for a token to {realm!r}, which is not https")
        query = {"scope": challenge.get("scope") or f"repository:{self.reference.repository}:pull"}
        if challenge.get("service"):
            query["service"] = challenge["service"]
        url = f"{realm}{'&' if '?' in realm else '?'}{urllib.parse.urlencode(query)}"
        try:
            with _open(url, "application/json", f"Basic {self._credentials}" if self._credentials else "") as answer:
                said: Any = json.loads(_read(answer, realm))
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error) from error
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error
        except ValueError as error:
            raise ImageError(f"{realm} did not answer with a token") from error
        token = (said.get("token") or said.get("access_token")) if isinstance(said, dict) else None
        if not isinstance(token, str) or not token.isprintable():
            raise ImageError(f"{realm} did not answer with a token")
        return token

    def _refused(self, error: urllib.error.HTTPError) -> ImageError:
        said = _complaint(error)
        if error.code in (401, 403):
            user = base64.b64decode(self._credentials).partition(b":")[0].decode("utf-8", "replace")
            who = f"as {user}" if self._credentials else "without credentials"
            return ImageError(
                f"{self.reference.host} refuses access to {self.reference} {who}",
                details=said,
                resolution=f"log in with `docker login {self.reference.host}` (or skopeo, or podman); credentials "
                "that only a credential helper has are not read",
            )
        if error.code == 404:
            return NoSuchImageError(
                f"there is no image {self.reference}", details=said, resolution="correct the reference in images.toml"
            )
        return ImageError(f"{self.reference.host} answers {error.code} for {self.reference}", details=said)

    def _unreachable(self, error: Exception) -> ImageError:
        reason = getattr(error, "reason", None) or error
        return ImageError(
            f"{self.reference.host} cannot be reached for {self.reference}",
            details=str(reason),
            resolution="check the network, https_proxy and SSL_CERT_FILE; or use bootstrapped images, a mirror "
            "(--image '*=mirror.example.com') or an OCI archive (--image NAME=oci-archive:FILE)",
        )


def resolve(reference: Reference, platform: str = PLATFORM) -> str:
    """Return the digest of the index, or of the single manifest, that `reference` means now.

    Raises NoSuchImageError when the registry has no such image, and ImageError when it has none for `platform`.
    """
    registry = Registry(reference)
    start = registry.start()
    find_manifest(registry, start, platform, str(reference))
    return start.digest


async def ask_registry(reference: Reference) -> str:
    """Return what `resolve` says, asked in a thread."""
    return await anyio.to_thread.run_sync(resolve, reference)


def _open(url: str, accept: str, authorization: str) -> BinaryIO:
    request = urllib.request.Request(url, headers={"Accept": accept, "User-Agent": "release-pipeline"})  # noqa: S310
    if authorization:  # not passed on: a registry redirects to storage elsewhere, which must not see it
        request.add_unredirected_header("Authorization", authorization)
    response = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310 - the scheme is ours
    return cast(BinaryIO, response)


def _headers(response: BinaryIO) -> Mapping[str, str]:
    return cast("Mapping[str, str]", getattr(response, "headers", {}))


def _read(response: BinaryIO, where: str) -> bytes:
    data = response.read(MAX_DOCUMENT + 1)
    if len(data) > MAX_DOCUMENT:
        raise ImageError(f"{where} is described by more than {MAX_DOCUMENT} bytes")
    return data


def _retry_after(headers: Message, pause: float) -> float:
    told = headers.get("Retry-After", "")
    return min(float(told), _LONGEST_PAUSE) if told.isdecimal() else pause


def _complaint(error: urllib.error.HTTPError) -> str:
    """Return what a registry says in the body of an error (distribution-spec, error codes), shortened."""
    try:
        body = error.read(4096)
        problems = json.loads(body)["errors"]
        return "\n".join(f"{problem.get('code')}: {problem.get('message')}" for problem in problems)
    except (OSError, HTTPException, ValueError, KeyError, TypeError, AttributeError):
        return f"HTTP {error.code} {error.reason}"
