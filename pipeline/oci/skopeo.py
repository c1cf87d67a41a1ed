"""Images of registries and archives, by skopeo: what a reference means now, and a copy of an image on this machine.

Credentials and their helpers, proxies, certificates, mirrors (registries.conf) and signatures (policy.json) are
skopeo's, as its user has set them up. Tested with skopeo 1.2, 1.9 and 1.18, which Debian 11, 12 and 13 have.
"""

from __future__ import annotations

import ast
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from pipeline.errors import ImageError
from pipeline.host.process import Completed, Sink, environment, run
from pipeline.host.retry import attempts
from pipeline.model.identity import sha256_hex
from pipeline.model.target import PLATFORM
from pipeline.oci.manifest import check_config, check_platform, checked, parse_document
from pipeline.oci.reference import NoSuchImageError, Reference

ImagePlace: TypeAlias = Reference | Path
"""Where an image is: in a registry, in an OCI archive (a file) or in an OCI layout (a folder)."""

ASK = 120.0
"""Seconds that an answer of a registry may take."""

COPY = 3600.0
"""Seconds that getting an image may take."""

_INHERITED = (
    "ALL_PROXY", "DBUS_SESSION_BUS_ADDRESS", "DOCKER_CONFIG", "GNUPGHOME", "HOME",
    "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "PASSWORD_STORE_DIR", "REGISTRY_AUTH_FILE", "SSL_CERT_DIR",
    "SSL_CERT_FILE", "USER", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "all_proxy", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
_HELPERS = ("AWS_", "AZURE_", "CLOUDSDK_", "GOOGLE_")
"""How the variables begin that credential helpers of clouds read."""

_POLICIES = ("/etc/containers/policy.json", "~/.config/containers/policy.json")
_LOCAL = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?\Z")
_OS, _, _ARCHITECTURE = PLATFORM.partition("/")

_FATAL = re.compile(r'level=fatal msg=("(?:[^"\\]|\\.)*"|\S+)')
_ANSWER = re.compile(r".*?reading manifest \S+ in \S+: (.*)", re.IGNORECASE | re.DOTALL)
_ABSENT = re.compile(r"manifest unknown|name unknown|StatusCode: 404\b|unknown: .*not found\Z", re.DOTALL)
"""How skopeo reports a 404: with the registry's error code, in lower case, or without one with the status.

A code that skopeo does not know, such as Harbor's NOT_FOUND, becomes `unknown`. A refusal is `unauthorized` or `denied`
at the same place, a 5xx `received unexpected HTTP status`.
"""
_REFUSED = re.compile(
    r"unauthorized\b|authentication required|: denied\b|StatusCode: 40[13]\b|invalid username/password"
    r"|invalid status code from registry 40[13]\b|error getting credentials"
)
_PASSES = re.compile(
    r"connection (refused|reset)|\bEOF\b|timeout|timed out|no such host|unreachable|server misbehaving"
    r"|HTTP status: 5\d\d|StatusCode: (408|5\d\d)|status code from registry 5\d\d"
)
_BLOB = re.compile(rb"Copying blob sha256:([0-9a-f]{12})")


class _PassingError(ImageError):
    """What may well be different a moment later."""


async def ask_registry(reference: Reference) -> str:
    """Return the digest of the index, or of the single manifest, that `reference` means now.

    Raises NoSuchImageError when the registry has no such image, and ImageError when it has none for this platform, and
    when the registry cannot be reached, refuses, or fails.
    """
    where = str(reference)
    raw = await _inspect(reference)
    if reference.digest:
        checked(raw, reference.digest, where)  # skopeo leaves that out with --raw
    document = parse_document(raw, where)
    if document.get("schemaVersion") != 2:
        raise ImageError(f"{where} is an image in a format older than 2017 (schema 1), which is not supported")
    if "manifests" in document:
        check_platform(document, PLATFORM, where)
    else:
        check_config(parse_document(await _inspect(reference, "--config"), where), PLATFORM, where)
    return "sha256:" + sha256_hex(raw)


async def digest_on_disk(path: Path) -> str:
    """Return the digest of the index or manifest in an OCI archive or layout. Raises ImageError if it is none."""
    return "sha256:" + sha256_hex(await _inspect(path))


async def copy(image: ImagePlace, folder: Path, progress: Callable[[str], None]) -> None:
    """Copy the image for this platform into the new folder `folder`, as skopeo's `dir:`; every digest is checked.

    Raises NoSuchImageError when the registry has no such image, and ImageError for everything else.
    """
    policy = [] if any(Path(place).expanduser().exists() for place in _POLICIES) else ["--insecure-policy"]
    platform = ["--override-os", _OS, "--override-arch", _ARCHITECTURE]
    async for attempt in attempts(_PassingError):
        with attempt, tempfile.TemporaryDirectory(prefix=f"{folder.name}.", dir=folder.parent) as temporary:
            # A temporary folder of ours, because skopeo unpacks archives in /var/tmp, which may be small.
            target = Path(temporary) / "image"
            options = [*policy, *platform, "--tmpdir", temporary, "copy", *_tls(image, "--src-tls-verify=false")]
            await _skopeo(image, *options, _url(image), f"dir:{target}", timeout=COPY, sink=_lines(progress))
            target.replace(folder)


async def _inspect(image: ImagePlace, *options: str) -> bytes:
    platform = ["--override-os", _OS, "--override-arch", _ARCHITECTURE]
    async for attempt in attempts(_PassingError):
        with attempt, tempfile.TemporaryDirectory(prefix="skopeo.") as temporary:
            argv = [*platform, "--tmpdir", temporary, "inspect", "--raw", *options, *_tls(image, "--tls-verify=false")]
            return (await _skopeo(image, *argv, _url(image), timeout=ASK)).stdout
    raise AssertionError("the last attempt returns or raises")


async def _skopeo(image: ImagePlace, *arguments: str, timeout: float, sink: Sink | None = None) -> Completed:  # noqa: ASYNC109
    helpers = {name: value for name, value in os.environ.items() if name.startswith(_HELPERS)}
    env = environment(*_INHERITED, **helpers)
    done = await run(("skopeo", *arguments), env=env, timeout=timeout, sink=sink, check=False, error=ImageError)
    if done.timed_out:
        raise _PassingError(f"skopeo did not get {image} within {timeout:g} seconds: timeout")
    if done.code:
        raise failure(image, _fatal((done.output or done.stderr).decode("utf-8", "replace")))
    return done


def failure(image: ImagePlace, message: str) -> ImageError:
    """Return the error for an image that skopeo did not get; `message` is what it reported.

    Where mirrors failed as well, the registry itself decides what kind of failure it is: it is named last.
    """
    if isinstance(image, Path):
        return ImageError(
            f"skopeo cannot read an image from {image}",
            details=message,
            resolution="it must be an OCI archive or layout with one image, like what "
            "`skopeo copy docker://NAME oci-archive:FILE` writes",
        )
    reason = message.rpartition("]): ")[2]
    answer = _ANSWER.match(reason)
    if answer and _ABSENT.match(answer[1]):
        return NoSuchImageError(
            f"there is no image {image}", details=message, resolution="correct the reference in images.toml"
        )
    if _REFUSED.search(reason):
        return ImageError(
            f"{image.host} refuses access to {image}",
            details=message,
            resolution=f"log in with `skopeo login {image.host}` (or docker, or podman); name a credential helper "
            "under `credHelpers` in docker's config.json, because skopeo does not read `credsStore`",
        )
    kind = _PassingError if _PASSES.search(reason) and "x509" not in reason else ImageError
    return kind(
        f"could not get {image}",
        details=message,
        resolution="check the network, https_proxy and SSL_CERT_FILE; or use bootstrapped images, a mirror "
        "(--image '*=mirror.example.com') or an OCI archive (--image NAME=oci-archive:FILE)",
    )


def _url(image: ImagePlace) -> str:
    """Return the name of an image as skopeo wants it (containers-transports(5)), which takes a tag or a digest."""
    if isinstance(image, Path):
        return f"oci:{image}" if image.is_dir() else f"oci-archive:{image}"
    return f"docker://{replace(image, tag='') if image.digest else image}"


def _tls(image: ImagePlace, option: str) -> list[str]:
    """Return the option that allows a registry on this machine to be without TLS."""
    return [option] if isinstance(image, Reference) and _LOCAL.match(image.host) else []


def _fatal(output: str) -> str:
    """Return the message with which skopeo ended (logrus writes it like a Go string), else all that it printed."""
    found = _FATAL.search(output)
    if not found:
        return output.strip()
    return str(ast.literal_eval(found[1])) if found[1].startswith('"') else found[1]


def _lines(progress: Callable[[str], None]) -> Sink:
    """Return the sink that tells `progress` of each layer that skopeo begins to copy."""
    rest, count = b"", 0

    def sink(chunk: bytes) -> None:
        nonlocal rest, count
        *lines, rest = (rest + chunk).split(b"\n")
        for blob in filter(None, map(_BLOB.match, lines)):
            count += 1
            progress(f"fetching layer {count} ({blob[1].decode()})")

    return sink
