"""Identity of values: canonical JSON, hashed with SHA-256."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 (FIPS 180-4) of `data` as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def identify(kind: str, fields: Any) -> str:
    """Return `sha256:<hex>` over the kind and the fields as JSON with sorted keys and no white space.

    `kind` carries a format number (`step/1`), so a change of meaning changes every digest.
    """
    text = json.dumps([kind, fields], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + sha256_hex(text.encode("ascii"))


class Identified:
    """Equality and hashing by digest alone.

    A graph shares sub-graphs; comparing or hashing field by field would walk every path through it,
    which is exponential in its depth.
    """

    __slots__ = ()

    digest: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identified) and type(self) is type(other) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)
