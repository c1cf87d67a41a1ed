"""What in weed's toml files is secret: keys that sign, and passwords of stores."""

import re
from typing import Any, Dict, Iterator

_NAMES = re.compile(r"password|passphrase|secret|token|\bkek\b", re.IGNORECASE)
"""Names of values that are secret wherever they are, as aws_secret_access_key."""
_SIGNING = re.compile(r"jwt\.(.+\.)?key|sse_s3\.key", re.IGNORECASE)
"""Keys themselves; any other `key`, as in [grpc.master], names the file of one."""
_ADDRESS = re.compile(r"://[^/@\s]*:[^/@\s]+@")
"""A password in an address, as mongodb://user:password@host."""


def secrets(content: Dict[str, Any], above: str = "") -> Iterator[str]:
    """Yield the dotted name of each value that is secret and not empty."""
    for name, value in content.items():
        dotted = f"{above}.{name}" if above else name
        if isinstance(value, dict):
            yield from secrets(value, dotted)
        elif isinstance(value, str) and value and (_named(dotted, name) or _ADDRESS.search(value)):
            yield dotted


def _named(dotted: str, name: str) -> bool:
    return bool(_NAMES.search(name) or _SIGNING.fullmatch(dotted))
