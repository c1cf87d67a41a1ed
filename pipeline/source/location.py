"""Where a source is: an address with its credentials kept apart from what may be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pipeline.errors import SourceError

SCHEMES = ("https", "ssh", "http", "git", "file")

_TOKEN_LENGTH = 8
_SCP = re.compile(r"(?:[A-Za-z0-9._-]+@)?[A-Za-z0-9][A-Za-z0-9.-]*:(?!/)[^\s]+")
_USERINFO = re.compile(r"(?<=://)[^/@\s'\"]+@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A repository that git can fetch from. `fetch_url` and `shown` hold no secret."""

    fetch_url: str
    local: bool = False
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def secret(self) -> bool:
        """Whether there are credentials to hand to git."""
        return bool(self.user or self.password)

    @property
    def shown(self) -> str:
        """The address for people."""
        return unquote(self.fetch_url.removeprefix("file://")) if self.local else self.fetch_url

    @property
    def origin(self) -> str:
        """Scheme, host and port: what the credentials are good for."""
        parts = urlsplit(self.fetch_url)
        return f"{parts.scheme}://{parts.netloc}"

    def redact(self, text: str) -> str:
        """Return `text` without the credentials, however they are written."""
        # A user name of a few letters is not a token, and may be a word of the message.
        for secret in (self.password, self.user if len(self.user) >= _TOKEN_LENGTH else ""):
            if secret:
                for form in (secret, quote(secret, safe="")):
                    text = text.replace(form, "***")
        return _USERINFO.sub("***@", text)


def is_url(text: str) -> bool:
    """Return whether `text` is the address of a repository and not a path; an existing path always wins."""
    return "://" in text or (_SCP.fullmatch(text) is not None and not Path(text).exists())


def parse_url(text: str) -> Location:
    """Return the location that a URL or `user@host:path` names.

    The user and password of an http URL are taken out of it: both may be a token. The user of an ssh URL stays,
    because it is part of the address. Raises SourceError, never repeating a credential.
    """
    if "://" not in text:
        return Location(fetch_url=text)
    try:
        parts = urlsplit(text)
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise SourceError(
            f"{_USERINFO.sub('***@', text)!r} is not a URL: {error}",
            resolution="write it as https://host/owner/name.git",
        ) from error
    if parts.scheme not in SCHEMES:
        raise SourceError(f"unsupported URL scheme {parts.scheme}://", resolution=f"use one of {', '.join(SCHEMES)}")
    if parts.scheme == "file":
        return local(Path(unquote(parts.path)))
    if parts.query or parts.fragment:
        raise SourceError(
            f"the URL of the source, on {parts.hostname}, has a query or a fragment",
            resolution="give the plain address, with user and token before the host if they are needed",
        )
    if not parts.hostname or not text.isprintable() or parts.hostname.startswith("-"):
        raise SourceError("the URL of the source names no host", resolution="write it as https://host/owner/name.git")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if parts.scheme == "ssh":
        if password:
            raise SourceError("an ssh URL cannot carry a password", resolution="use a key and an SSH agent")
        return Location(fetch_url=urlunsplit(("ssh", (f"{user}@" if user else "") + host + port, parts.path, "", "")))
    url = urlunsplit((parts.scheme, host + port, parts.path, "", ""))
    return Location(fetch_url=url, user=user, password=password)


def local(path: Path) -> Location:
    """Return the location of a repository on this machine."""
    return Location(fetch_url="file://" + quote(str(path.absolute())), local=True)
