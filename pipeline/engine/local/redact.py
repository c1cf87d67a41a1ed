"""Secrets are taken out of a program's output before it is written anywhere."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from functools import cached_property

MASK = b"***"
SHORT = 8
"""A line of a secret shorter than this is an everyday word (`-----`, `}`), and would hide half of a log."""

_MIME_LINE = 76
"""Characters a line of what the program `base64` writes (RFC 2045, section 6.8)."""


def forms(secret: bytes) -> set[bytes]:
    """Return every form in which `secret` may turn up: whole, line by line, and in base64 (RFC 4648, 4 and 5)."""
    whole = secret.strip()
    if not whole:
        return set()
    lines = [line.strip() for line in whole.splitlines()]
    found = {secret, whole, *(line for line in lines if len(line) >= SHORT)}
    if len(whole) >= SHORT:
        for text in {secret, whole}:
            found |= _encoded(text)
    return found


def _encoded(text: bytes) -> set[bytes]:
    """Return the base64 forms of `text`, at each of the three places in a longer text that it may begin at."""
    found = set()
    for shift in range(3):
        code = base64.b64encode(bytes(shift) + text)
        first = (shift * 8 + 5) // 6
        last = (shift + len(text)) * 8 // 6
        found.add(code[first:last])
    code = base64.b64encode(text)
    found.add(code)
    chunks = (code[start : start + _MIME_LINE] for start in range(0, len(code), _MIME_LINE))
    found |= {chunk for chunk in chunks if len(chunk) >= SHORT}
    return found | {form.translate(bytes.maketrans(b"+/", b"-_")) for form in found}


class Redactor:
    """Replaces secrets in a stream, wherever its chunks are cut."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        patterns = sorted({form for secret in secrets for form in forms(secret)}, key=len, reverse=True)
        self._patterns = patterns
        self._longest = len(patterns[0]) if patterns else 0
        self._held = b""

    @cached_property
    def _regex(self) -> re.Pattern[bytes] | None:
        """All forms in one; compiled when there is output, because a long key takes a quarter of a second."""
        return re.compile(b"|".join(map(re.escape, self._patterns))) if self._patterns else None

    def feed(self, chunk: bytes) -> bytes:
        """Return what can be shown after `chunk`: all but an end that may be the beginning of a secret."""
        if not chunk or self._regex is None:
            return chunk
        data = self._held + chunk
        cut = self._safe_length(data)
        shown = bytearray()
        position = 0
        for match in self._regex.finditer(data):
            if match.start() >= cut:
                break
            shown += data[position : match.start()] + MASK
            position = match.end()
        cut = max(cut, position)
        self._held = data[cut:]
        return bytes(shown + data[position:cut])

    def close(self) -> bytes:
        """Return the rest of the stream."""
        rest, self._held = self._held, b""
        return self._regex.sub(MASK, rest) if rest and self._regex else rest

    def whole(self, data: bytes) -> bytes:
        """Return `data` without secrets, apart from the stream; for little text, as it looks for each form in turn."""
        for pattern in self._patterns:
            data = data.replace(pattern, MASK)
        return data

    def _safe_length(self, data: bytes) -> int:
        """Return where the first end of `data` begins that a longer pattern begins with."""
        start = max(0, len(data) - self._longest + 1)
        firsts = {pattern[0] for pattern in self._patterns}
        for index in range(start, len(data)):
            if data[index] in firsts:
                rest = data[index:]
                if any(len(pattern) > len(rest) and pattern.startswith(rest) for pattern in self._patterns):
                    return index
        return len(data)
