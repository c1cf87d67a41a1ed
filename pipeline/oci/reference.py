"""OCI references, as people write them and as a registry wants them.

The grammar is that of the distribution specification and its reference implementation: a first component with a
dot, a colon or the name `localhost` is a host; without one, the host is Docker Hub's, where a name of one
component belongs to `library/`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from pipeline.errors import ConfigError, ImageError

_HUB = "docker.io"
_HOST = re.compile(
    r"(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9.-]+(?=:)|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?\Z"
)
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


class NoSuchImageError(ImageError):
    """The registry answers that it has no such image (404), which is no other failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One image in one registry. `digest` is empty when only a tag is known; `tag` may be empty with a digest."""

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    @staticmethod
    def parse(text: str) -> Reference:
        """Return the reference that `text` writes, in short (`debian:trixie`) or full form.

        Raises ConfigError for text that is none.
        """
        name, _, digest = text.partition("@")
        if "@" in text and not DIGEST.match(digest):
            raise _malformed(text, f"{digest!r} is not sha256: and 64 lower-case hexadecimal digits")
        host, slash, rest = name.partition("/")
        if not slash or not _HOST.match(host):
            host, rest = _HUB, name
        head, colon, tag = rest.rpartition(":")
        repository = head if colon else rest
        if not colon:
            tag = ""
        if not _REPOSITORY.match(repository):
            raise _malformed(text, f"{repository!r} is not a repository name (lower-case letters, digits, . _ - and /)")
        if colon and not _TAG.match(tag):
            raise _malformed(text, f"{tag!r} is not a tag")
        if host == _HUB and "/" not in repository:
            repository = f"library/{repository}"
        return Reference(host=host, repository=repository, tag=tag or ("" if digest else "latest"), digest=digest)

    @property
    def wanted(self) -> str:
        """What to ask a registry for: the digest when there is one, else the tag."""
        return self.digest or self.tag

    def at(self, digest: str) -> Reference:
        """Return the same image pinned to `digest`."""
        return replace(self, digest=digest)

    def mirrored(self, prefix: str) -> Reference:
        """Return the same image below `prefix`, a host with an optional path: `mirror.example.com/hub`."""
        host, _, path = prefix.rstrip("/").partition("/")
        if not _HOST.match(host):
            raise _malformed(prefix, "a mirror is a host name, with a port or a path if needed")
        return replace(self, host=host, repository=f"{path}/{self.repository}" if path else self.repository)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.host}/{self.repository}{tag}{'@' + self.digest if self.digest else ''}"


def _malformed(text: str, why: str) -> ConfigError:
    return ConfigError(
        f"not an image reference: {text!r}",
        details=why,
        resolution="write it like debian:trixie-slim, ghcr.io/owner/name:tag or name@sha256:<64 digits>",
    )
