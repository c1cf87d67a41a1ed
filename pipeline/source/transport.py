"""How git reaches another machine: the user's own settings, credentials out of sight, and advice when it fails."""

from __future__ import annotations

import os
import re

from pipeline.host.process import environment
from pipeline.source.location import Location

_INHERITED = (
    "ALL_PROXY", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "HOME", "HTTPS_PROXY", "NO_PROXY",
    "SSH_AUTH_SOCK", "SSL_CERT_DIR", "USER", "XDG_CONFIG_HOME", "all_proxy", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
_HELPER = (
    '!f() { test $1 = get && printf "username=%s\\npassword=%s\\n" "$PIPELINE_GIT_USER" "$PIPELINE_GIT_PASSWORD"; }; f'
)
_TROUBLE = (
    (r"resolve host|Name or service not known|No address", "check the host name and this machine's DNS or proxy"),
    (r"certificate|SSL|TLS", "give git your authority's certificates in SSL_CERT_FILE or GIT_SSL_CAINFO"),
    (
        r"Authentication failed|could not read Username|terminal prompts|Permission denied|\b40[13]\b",
        "set up a credential helper or an SSH key for this host, or put user and token in the URL given with --source",
    ),
    (r"not found|does not appear to be a git|\b404\b", "check the address; a private repository looks the same"),
    (r"refused|timed out|unreachable|Failed to connect", "check that the host is up and reachable from here"),
    (
        r"unable to read [0-9a-f]{40}|missing (blob|tree)|corruption",
        "the repository lacks files of this tag, as a partial clone does: run `git fetch --refetch` in it",
    ),
    (r"No space left", "free some space in the pipeline's home folder"),
)


def user_environment(location: Location) -> dict[str, str]:
    """Return the environment for git to reach `location` the way its user does, with the location's credentials."""
    settings = [("core.hooksPath", "/dev/null"), ("gc.auto", "0")]
    variables = {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh"}
    if location.secret:
        # For this host alone: a redirect to another must not carry the credentials along.
        key = f"credential.{location.origin}.helper"
        settings += [(key, ""), (key, _HELPER)]
        variables |= {"PIPELINE_GIT_USER": location.user, "PIPELINE_GIT_PASSWORD": location.password}
    if "SSL_CERT_FILE" in os.environ and "GIT_SSL_CAINFO" not in os.environ:
        variables["GIT_SSL_CAINFO"] = os.environ["SSL_CERT_FILE"]
    if "GIT_SSH_COMMAND" not in os.environ and "GIT_SSH" not in os.environ:
        variables["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes"
    for number, (key, value) in enumerate(settings):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return environment(*_INHERITED, GIT_CONFIG_COUNT=str(len(settings)), **variables)


def advice(output: str) -> str:
    """Return what to do about git's message `said`."""
    return next((text for pattern, text in _TROUBLE if re.search(pattern, output)), "see git's message above")
