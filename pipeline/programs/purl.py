"""Writes package URLs (https://github.com/package-url/purl-spec). A part of programs, not a program.

By hand, because `contents.py` runs in the distributions' own images, which have Python's standard library only; a unit
test compares each kind that is written here with what the library packageurl-python writes.
"""

from __future__ import annotations

from urllib.parse import quote


def purl(kind: str, name: str, version: str, **qualifiers: str) -> str:
    """Return the canonical package URL of type `kind`; `name` has its namespace in front, separated by slashes.

    An empty version, and qualifiers that are empty, are left out.
    """
    at = f"@{_encoded(version)}" if version else ""
    pairs = "&".join(f"{key}={_encoded(value)}" for key, value in sorted(qualifiers.items()) if value)
    return f"pkg:{kind}/{_encoded(name)}{at}{'?' if pairs else ''}{pairs}"


def _encoded(text: str) -> str:
    """Return `text` percent-encoded as the specification's section "Character encoding" asks: colons stay."""
    return quote(text, safe="/:")
