"""What an image says about itself (image specification 1.1, manifest.md and config.md), or Docker's twin of that.

skopeo follows indexes and writes the image for one platform to a folder: `manifest.json`, and every blob in a file that
has the hexadecimal digits of its digest as its name (containers-transports(5), `dir:`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ImageError
from pipeline.model.identity import sha256_hex
from pipeline.oci.reference import DIGEST

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What one document says about another blob: its type, digest and size in bytes (image-spec, descriptor.md)."""

    media_type: str
    digest: str
    size: int

    @staticmethod
    def parse(value: Any, where: str) -> Descriptor:
        """Return the descriptor in JSON `value`. Raises ImageError naming `where` it was found."""
        try:
            digest, size, media_type = value["digest"], value["size"], str(value.get("mediaType", ""))
        except (TypeError, KeyError, AttributeError) as error:
            raise ImageError(f"{where} holds a descriptor without digest or size") from error
        if not isinstance(digest, str) or not DIGEST.match(digest) or not isinstance(size, int) or size < 0:
            raise ImageError(f"{where} holds a descriptor with the digest {digest!r} and the size {size!r}")
        return Descriptor(media_type=media_type, digest=digest, size=size)

    @property
    def file(self) -> str:
        """The name of the blob's file in a folder that skopeo has written."""
        return self.digest.removeprefix("sha256:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One image for one platform. `diff_ids` are the digests of its layers unpacked, `path` its PATH."""

    digest: str
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[str, ...]
    path: tuple[str, ...]


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


def check_platform(index: dict[str, Any], platform: str, where: str) -> None:
    """Raise ImageError that lists the platforms of an index if it has no image for `platform` (`linux/amd64`)."""
    try:
        entries = [entry.get("platform") or {} for entry in index["manifests"]]
        there = {"/".join(str(each[key]) for key in ("os", "architecture") if key in each) for each in entries}
    except (TypeError, AttributeError) as error:
        raise ImageError(f"{where} is an index that cannot be read") from error
    if platform not in there:
        named = ", ".join(sorted(name for name in there if name and "unknown" not in name))
        raise ImageError(f"{where} has no image for {platform}", details=f"it has: {named or 'none that is named'}")


def check_config(config: dict[str, Any], platform: str, where: str) -> None:
    """Raise ImageError if the configuration of an image is for another platform than `platform`."""
    own = f"{config.get('os')}/{config.get('architecture')}"
    if own != platform:
        raise ImageError(f"{where} is an image for {own}, not for {platform}")


def read_manifest(folder: Path, platform: str, where: str) -> Manifest:
    """Return the manifest in a folder that skopeo has written. Raises ImageError if it is not an image for `platform`.

    skopeo does not compare the configuration with the platform that it was asked for.
    """
    data = (folder / "manifest.json").read_bytes()
    document = parse_document(data, where)
    described = Descriptor.parse(document.get("config"), where)
    config = parse_document(checked((folder / described.file).read_bytes(), described.digest, where), where)
    check_config(config, platform, where)
    layers = tuple(Descriptor.parse(value, where) for value in document.get("layers") or [])
    diff_ids = tuple((config.get("rootfs") or {}).get("diff_ids") or ())
    if len(diff_ids) != len(layers):
        raise ImageError(f"{where} names {len(layers)} layers but {len(diff_ids)} digests of what is in them")
    variables = dict(str(line).partition("=")[::2] for line in (config.get("config") or {}).get("Env") or [])
    path = tuple(part for part in variables.get("PATH", "").split(":") if part.startswith("/"))
    return Manifest(digest="sha256:" + sha256_hex(data), layers=layers, diff_ids=diff_ids, path=path)
