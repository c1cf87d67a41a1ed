"""What each value of `/etc/default/weed/weed.conf` may be."""

import re
from typing import Callable, Dict, List, Tuple

Rule = Callable[[str], str]
"""Takes a value and returns what is allowed when it is wrong, otherwise ""."""

_HOST = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\]|[0-9A-Fa-f:]*:[0-9A-Fa-f:]*"
_PATH = r"/(?:[A-Za-z0-9._/@+-]|%i)*"


def split(text: str) -> List[str]:
    """Return the parts of a list that commas separate."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _matches(pattern: str, allowed: str) -> Rule:
    return lambda value: "" if re.fullmatch(pattern, value) else allowed


def _number(low: int, high: int) -> Rule:
    def rule(value: str) -> str:
        good = re.fullmatch(r"0|[1-9][0-9]{0,9}", value) and low <= int(value) <= high
        return "" if good else f"a number from {low} to {high}"

    return rule


def _peer_list(value: str) -> str:
    good = all(re.fullmatch(rf"({_HOST}):[1-9][0-9]{{0,4}}", peer) for peer in split(value))
    return "" if good else "a list of host:port, separated by commas"


_COMMON: Dict[str, Rule] = {
    "FIPS_ENABLED": _matches(r"(?i)true|false", "true or false"),
    "ADDRESS": _matches(_HOST, "a host name or an address"),
    "BIND_ADDRESS": _matches(rf"({_HOST})?", "a host name, an address, or empty"),
    "MASTER_PEERS": _peer_list,
    "FILER_PEERS": _peer_list,
    "MASTER_DATA_DIR": _matches(_PATH, "an absolute path (%i is the number of the instance)"),
    "VOLUME_DATA_DIRS": _matches(
        rf"{_PATH}(,\s*{_PATH})*", "absolute paths, separated by commas (%i is the number of the instance)"
    ),
    "FILER_DATA_DIR": _matches(_PATH, "an absolute path (%i is the number of the instance)"),
    "VOLUME_MAX": _number(0, 1000000),
    "VOLUME_SIZE_LIMIT_MB": _number(1, 8000000),
    "REPLICATION": _matches(r"[0-9]{3}", "three digits, as 000 or 001"),
    "DATA_CENTER": _matches(r"[A-Za-z0-9._-]*", "letters, digits, dots and dashes"),
    "RACK": _matches(r"[A-Za-z0-9._-]*", "letters, digits, dots and dashes"),
    "S3_PROXY_PORT": _number(0, 65535),
    "S3_PROXY_ADDRESS": _matches(rf"({_HOST})?", "a host name, an address, or empty"),
    "S3_PROXY_TLS_CERT": _matches(r"(/[A-Za-z0-9._/@+-]*)?", "an absolute path, or empty"),
    "S3_RATE_LIMIT": _number(0, 1000000),
}


def rules_for(roles: Tuple[str, ...]) -> Dict[str, Rule]:
    """Return the rule of every key, those that each of the `roles` has included."""
    rules = dict(_COMMON)
    for role in roles:
        rules[role.upper() + "_INSTANCES"] = _number(0, 99)
        rules[role.upper() + "_PORT"] = _number(1, 55535)
        rules[role.upper() + "_METRICS_PORT"] = _number(0, 65535)
    return rules
