"""Reads ELF (System V ABI, chapters 4 and 5). A part of `prove.py`, not a program.

By hand, because the go command tells neither the header's machine nor what a binary is linked with, and a search among
the symbols, which prove which FIPS module is linked, must see names that share their ends.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left, bisect_right
from typing import Any

from pipeline.programs.common import Problem

PT_LOAD, PT_DYNAMIC, PT_INTERP, SHT_SYMTAB, DT_NEEDED, DT_STRTAB = 1, 2, 3, 2, 1, 5


class Elf:
    """A 64-bit little-endian ELF file: `machine`, `kind` (e_type), `interpreter`, `needed`, and its sections."""

    def __init__(self, data: bytes) -> None:
        if data[:4] != b"\x7fELF" or data[4:6] != b"\x02\x01":
            raise Problem("the binary is not a 64-bit little-endian ELF file")
        try:
            self._read(data)
        except (struct.error, IndexError, ValueError) as error:
            raise Problem(f"the binary's ELF structure is damaged: {error}") from None

    def _read(self, data: bytes) -> None:
        self.data = data
        self.kind, self.machine = struct.unpack_from("<HH", data, 16)
        ph_offset, sh_offset = struct.unpack_from("<QQ", data, 32)
        ph_size, ph_count, sh_size, sh_count, names_index = struct.unpack_from("<HHHHH", data, 54)
        self.segments = [struct.unpack_from("<IIQQQQQQ", data, ph_offset + i * ph_size) for i in range(ph_count)]
        self.headers = [struct.unpack_from("<IIQQQQIIQQ", data, sh_offset + i * sh_size) for i in range(sh_count)]
        names = self.content(self.headers[names_index]) if self.headers else b""
        self.sections = {_text_at(names, header[0]): header for header in self.headers}
        self.interpreter = next((_text_at(self._segment(s), 0) for s in self.segments if s[0] == PT_INTERP), "")
        self.needed = self._needed()

    def content(self, header: tuple[Any, ...]) -> bytes:
        """Return the bytes of a section."""
        return self.data[header[4] : header[4] + header[5]]

    def _segment(self, segment: tuple[Any, ...]) -> bytes:
        return self.data[segment[2] : segment[2] + segment[5]]

    def _needed(self) -> list[str]:
        raw = b"".join(self._segment(segment) for segment in self.segments if segment[0] == PT_DYNAMIC)
        entries = list(struct.iter_unpack("<qQ", raw[: len(raw) // 16 * 16]))
        table = next((value for tag, value in entries if tag == DT_STRTAB), None)
        if table is None:
            return []
        loads = [segment for segment in self.segments if segment[0] == PT_LOAD]
        offset = next((s[2] + table - s[3] for s in loads if 0 <= table - s[3] < s[5]), 0)
        return [_text_at(self.data, offset + value) for tag, value in entries if tag == DT_NEEDED]

    def symbols(self, part: str) -> list[str]:
        """Return the sorted names in the symbol table that contain `part`; none when it was stripped."""
        found = set()
        for header in (header for header in self.headers if header[1] == SHT_SYMTAB):
            names, table = self.content(self.headers[header[6]]), self.content(header)
            starts = sorted({entry[0] for entry in struct.iter_unpack("<IBBHQQ", table[: len(table) // 24 * 24])})
            for match in re.finditer(re.escape(part.encode()), names):
                # Linkers merge tails, so that a name may start inside of a longer one.
                first = bisect_left(starts, names.rfind(b"\0", 0, match.start()) + 1)
                last = bisect_right(starts, match.start())
                found |= {_text_at(names, start) for start in starts[first:last]}
        return sorted(found)

    @property
    def has_symbols(self) -> bool:
        """Whether the symbol table was kept (linked without `-s`)."""
        return any(header[1] == SHT_SYMTAB and header[5] > 24 for header in self.headers)


def _text_at(data: bytes, offset: int) -> str:
    end = data.find(b"\0", offset)
    return data[offset : end if end >= 0 else len(data)].decode("utf-8", "replace")
