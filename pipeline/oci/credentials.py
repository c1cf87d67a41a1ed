"""Credentials for registries, as Docker, Podman and skopeo keep them."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from pathlib import Path

_HUB_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")


def credential_files(environ: Mapping[str, str]) -> list[Path]:
    """Return the files that may hold credentials, the most specific first."""
    found = [Path(environ["REGISTRY_AUTH_FILE"])] if environ.get("REGISTRY_AUTH_FILE") else []
    if environ.get("DOCKER_CONFIG"):
        found.append(Path(environ["DOCKER_CONFIG"]) / "config.json")
    if environ.get("XDG_RUNTIME_DIR"):
        found.append(Path(environ["XDG_RUNTIME_DIR"]) / "containers/auth.json")
    home = environ.get("HOME")
    return [*found, Path(home) / ".docker/config.json"] if home else found


def basic_credentials(host: str, repository: str, environ: Mapping[str, str] | None = None) -> str:
    """Return the base64 of `user:password` for a repository, or an empty string when there is none.

    A key of `auths` is a host, or a host with a path that holds for what is below it. A file that cannot be read
    or understood holds nothing: the registry's refusal says more than a warning about a file could.
    """
    for path in credential_files(os.environ if environ is None else environ):
        try:
            auths = json.loads(path.read_bytes()).get("auths") or {}
        except (OSError, ValueError, AttributeError):
            continue
        for key in _keys(host, repository):
            entry = auths.get(key)
            encoded = entry.get("auth") if isinstance(entry, dict) else None
            if isinstance(encoded, str) and _is_pair(encoded):
                return encoded
    return ""


def _keys(host: str, repository: str) -> list[str]:
    parts = repository.split("/")
    paths = ["/".join([host, *parts[:count]]) for count in range(len(parts), 0, -1)]
    hub = _HUB_KEYS if host == "docker.io" else ()
    return [*paths, host, f"https://{host}", f"https://{host}/v2/", *hub]


def _is_pair(encoded: str) -> bool:
    try:
        return b":" in base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return False
