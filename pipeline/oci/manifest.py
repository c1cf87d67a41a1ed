"""OCI image indexes, manifests and configurations (image specification 1.1), and Docker's twins of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from pipeline.errors import ImageError
from pipeline.model.identity import sha256_hex
from pipeline.oci.reference import DIGEST

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"

INDEXES = {INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"}
MANIFESTS = {MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"}

MAX_DOCUMENT = 4 << 20
"""Bytes of an index, manifest or configuration: what the distribution specification asks registries to accept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What one document says of another blob: its type, digest and size in bytes (image-spec, descriptor.md)."""

    media_type: str
    digest: str
    size: int
    platform: str = ""

    @staticmethod
    def parse(value: Any, where: str) -> Descriptor:
        """Return the descriptor in JSON `value`. Raises ImageError naming `where` it was found."""
        try:
            digest, size = value["digest"], value["size"]
            known = value.get("platform") or {}
            parts = [str(known.get(key, "")) for key in ("os", "architecture", "variant")]
        except (TypeError, KeyError, AttributeError) as error:
            raise ImageError(f"{where} holds a descriptor without digest or size") from error
        if not isinstance(digest, str) or not DIGEST.match(digest) or not isinstance(size, int) or size < 0:
            raise ImageError(f"{where} holds a descriptor with the digest {digest!r} and the size {size!r}")
        return Descriptor(
            media_type=str(value.get("mediaType", "")),
            digest=digest,
            size=size,
            platform="/".join(part for part in parts if part),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One image for one platform. `diff_ids` are the digests of its layers unpacked, `path` its PATH."""

    digest: str
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[str, ...]
    path: tuple[str, ...]


class Blobs(Protocol):
    """Where the parts of one image come from. What is read is checked against the digest by the reader."""

    def document(self, descriptor: Descriptor) -> bytes:
        """Return a small blob: an index, a manifest or a configuration."""
        ...

    def open(self, descriptor: Descriptor) -> BinaryIO:
        """Return a stream of a large blob."""
        ...


def checked(data: bytes, digest: str, where: str) -> bytes:
    """Return `data` if it has the `digest`. Raises ImageError otherwise."""
    found = "sha256:" + sha256_hex(data)
    if found != digest:
        raise ImageError(f"{where} is damaged or not what was asked for", details=f"has {found}\nnot {digest}")
    return data


def parse_document(data: bytes, where: str) -> dict[str, Any]:
    """Return the JSON object in `data`. Raises ImageError naming `where` it came from."""
    try:
        value = json.loads(data)
    except ValueError as error:
        raise ImageError(f"{where} is not JSON") from error
    if not isinstance(value, dict):
        raise ImageError(f"{where} is not a JSON object")
    return value


def media_type_of(document: dict[str, Any], told: str) -> str:
    """Return the type of an index or manifest: what it says itself, else what its descriptor or its server told."""
    own = document.get("mediaType")
    if isinstance(own, str) and own:
        return own
    if told in INDEXES | MANIFESTS:
        return told
    return INDEX if "manifests" in document else MANIFEST


def choose(document: dict[str, Any], platform: str, where: str) -> Descriptor:
    """Return the entry of an index for `platform` (`linux/amd64`), the one without a variant first.

    Raises ImageError that lists the platforms there are.
    """
    entries = [Descriptor.parse(value, where) for value in document.get("manifests") or []]
    fitting = [entry for entry in entries if entry.platform == platform]
    fitting += [entry for entry in entries if entry.platform.startswith(f"{platform}/")]
    if not fitting and len(entries) == 1 and not entries[0].platform:
        fitting = entries  # an archive with one image; its configuration says for which platform
    if not fitting:
        there = sorted({entry.platform for entry in entries if entry.platform and "unknown" not in entry.platform})
        raise ImageError(
            f"{where} has no image for {platform}", details=f"it has: {', '.join(there) or 'none that is named'}"
        )
    return fitting[0]


def find_manifest(blobs: Blobs, start: Descriptor, platform: str, where: str) -> Manifest:
    """Follow indexes from `start` to the manifest for `platform` and read its configuration.

    Raises ImageError for what is damaged, for another platform, or of a kind that is no image.
    """
    descriptor = start
    for _ in range(4):
        document = parse_document(checked(blobs.document(descriptor), descriptor.digest, where), where)
        kind = media_type_of(document, descriptor.media_type)
        if kind in INDEXES:
            descriptor = choose(document, platform, where)
            continue
        if kind not in MANIFESTS:
            raise ImageError(f"{where} is of the type {kind}, which is not an image that can be unpacked")
        return _manifest(blobs, document, descriptor.digest, platform, where)
    raise ImageError(f"{where} is an index of indexes of indexes")


def _manifest(blobs: Blobs, document: dict[str, Any], digest: str, platform: str, where: str) -> Manifest:
    described = Descriptor.parse(document.get("config"), where)
    config = parse_document(checked(blobs.document(described), described.digest, where), where)
    own = f"{config.get('os')}/{config.get('architecture')}"
    if own != platform:
        raise ImageError(f"{where} is an image for {own}, not for {platform}")
    layers = tuple(Descriptor.parse(value, where) for value in document.get("layers") or [])
    diff_ids = tuple((config.get("rootfs") or {}).get("diff_ids") or ())
    if len(diff_ids) != len(layers):
        raise ImageError(f"{where} names {len(layers)} layers but {len(diff_ids)} digests of what is in them")
    variables = dict(str(line).partition("=")[::2] for line in (config.get("config") or {}).get("Env") or [])
    path = tuple(part for part in variables.get("PATH", "").split(":") if part.startswith("/"))
    return Manifest(digest=digest, layers=layers, diff_ids=diff_ids, path=path)
