"""TOML 1.0 (https://toml.io/en/v1.0.0), because Python has a reader of its own only from 3.11 on.

weed 4.00 and newer continues without an optional file that it cannot parse, and without what the file demands. So
the launcher parses each file first, and this reader refuses whatever the specification does not allow.
"""

import re
from typing import Any, Callable, Dict, List, Match, Pattern, Set, Tuple

Table = Dict[str, Any]
Path = Tuple[str, ...]


class TomlError(ValueError):
    """The text is not TOML. The message names the line."""


_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\n]|#[^\x00-\x08\x0a-\x1f\x7f]*)*")
_END = re.compile(r"[ \t]*(?:#[^\x00-\x08\x0a-\x1f\x7f]*)?(?:\n|\Z)")
_DATE = r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?"
_WHEN = re.compile(rf"{_DATE}(?:[Tt ]{_TIME}(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)?)?|{_TIME}")
_FLOAT = re.compile(
    r"[+-]?(?:inf|nan|(?:0|[1-9](?:_?\d)*)(?:\.\d(?:_?\d)*(?:[eE][+-]?\d(?:_?\d)*)?|[eE][+-]?\d(?:_?\d)*))"
)
_PREFIXED = re.compile(r"0x[0-9A-Fa-f](?:_?[0-9A-Fa-f])*|0o[0-7](?:_?[0-7])*|0b[01](?:_?[01])*")
_DECIMAL = re.compile(r"[+-]?(?:0|[1-9](?:_?\d)*)")
_BASIC = re.compile(r'(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\.)*"')
_LITERAL = re.compile(r"[^'\x00-\x08\x0a-\x1f\x7f]*'")
_BASICS = re.compile(r'((?:[^"\\\x00-\x08\x0b-\x1f\x7f]|\\.|"(?!"")|\\\n)*"{0,2})"""(?!")', re.DOTALL)
_LITERALS = re.compile(r"((?:[^'\x00-\x08\x0b-\x1f\x7f]|'(?!''))*'{0,2})'''(?!')", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([btnfr\"\\])|([ \t]*\n[ \t\n]*)|(.))", re.DOTALL)
_PLAIN = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def loads(text: str) -> Table:
    """Return the tables of `text`; dates and times stay strings. Raises TomlError."""
    return _Reader(text.replace("\r\n", "\n")).document()


class _Reader:
    """One reading: where it is, and what has been defined so far."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.root: Table = {}
        self.headers: Set[Path] = set()
        self.dotted: Set[Path] = set()
        self.closed: Set[int] = set()
        self.arrays: Set[int] = set()

    def error(self, what: str) -> TomlError:
        line = self.text.count("\n", 0, self.at) + 1
        return TomlError(f"line {line}: {what}")

    def take(self, pattern: Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if not match:
            return ""
        self.at = match.end()
        return match.group()

    def skip(self, literal: str) -> bool:
        found = self.text.startswith(literal, self.at)
        self.at += len(literal) if found else 0
        return found

    def expect(self, literal: str) -> None:
        if not self.skip(literal):
            raise self.error(f"{literal} is missing")

    def finish(self) -> None:
        if not _END.match(self.text, self.at):
            raise self.error("there is more on the line than one definition")
        self.take(_END)

    def document(self) -> Table:
        table: Table = self.root
        path: Path = ()
        while True:
            self.take(_GAP)
            if self.at >= len(self.text):
                return self.root
            if self.skip("[["):
                path = self.header("]]")
                table = self.element(path)
            elif self.skip("["):
                path = self.header("]")
                table = self.table(path)
            else:
                self.pair(table, path)
            self.finish()

    def header(self, end: str) -> Path:
        self.take(_BLANK)
        path = self.key()
        self.expect(end)
        return path

    def key(self) -> Path:
        parts: List[str] = []
        while True:
            parts.append(self.simple_key())
            self.take(_BLANK)
            if not self.skip("."):
                return tuple(parts)
            self.take(_BLANK)

    def simple_key(self) -> str:
        if self.text.startswith(('"""', "'''"), self.at):
            raise self.error("a key is a single line")
        if self.skip('"'):
            return self.basic()
        if self.skip("'"):
            return self.literal()
        key = self.take(_BARE)
        if not key:
            raise self.error("a key is missing")
        return key

    def walk(self, path: Path) -> Table:
        """Return the table above the last key of a header, making what is missing."""
        table = self.root
        for key in path[:-1]:
            value = table.setdefault(key, {})
            if isinstance(value, list) and id(value) in self.arrays:
                value = value[-1]
            if not isinstance(value, dict) or id(value) in self.closed:
                raise self.error(f"{key} is not a table that can be extended")
            table = value
        return table

    def table(self, path: Path) -> Table:
        parent = self.walk(path)
        value = parent.setdefault(path[-1], {})
        if path in self.headers or path in self.dotted or not isinstance(value, dict) or id(value) in self.closed:
            raise self.error(f"{'.'.join(path)} is defined twice")
        self.headers.add(path)
        return value

    def element(self, path: Path) -> Table:
        parent = self.walk(path)
        if path[-1] not in parent:
            parent[path[-1]] = []
            self.arrays.add(id(parent[path[-1]]))
        value = parent[path[-1]]
        if not isinstance(value, list) or id(value) not in self.arrays:
            raise self.error(f"{'.'.join(path)} is defined twice")
        self.headers = {known for known in self.headers if known[: len(path)] != path}
        self.dotted = {known for known in self.dotted if known[: len(path)] != path}
        element: Table = {}
        value.append(element)
        return element

    def pair(self, table: Table, where: Path) -> None:
        path = self.key()
        self.expect("=")
        self.take(_BLANK)
        for key in path[:-1]:
            where += (key,)
            new = key not in table
            value = table.setdefault(key, {})
            if not isinstance(value, dict) or id(value) in self.closed or (not new and where not in self.dotted):
                raise self.error(f"{key} is defined twice")
            self.dotted.add(where)
            table = value
        if path[-1] in table:
            raise self.error(f"{path[-1]} is defined twice")
        table[path[-1]] = self.value()

    def value(self) -> Any:
        for opening, read in self.openings():
            if self.skip(opening):
                return read()
        return self.number()

    def openings(self) -> List[Tuple[str, Callable[[], Any]]]:
        return [
            ('"""', lambda: self.block(_BASICS, escapes=True)),
            ("'''", lambda: self.block(_LITERALS, escapes=False)),
            ('"', self.basic),
            ("'", self.literal),
            ("[", self.array),
            ("{", self.inline),
            ("true", lambda: True),
            ("false", lambda: False),
        ]

    def number(self) -> Any:
        when = self.take(_WHEN)
        if when:
            return when
        real = self.take(_FLOAT)
        if real:
            return float(real.replace("_", ""))
        whole = self.take(_PREFIXED) or self.take(_DECIMAL)
        if not whole:
            raise self.error("a value is missing, or is not one that TOML knows")
        return int(whole.replace("_", ""), 0 if whole[:1] == "0" and len(whole) > 1 else 10)

    def basic(self) -> str:
        text = self.take(_BASIC)
        if not text:
            raise self.error("a string does not end on its line")
        return self.unescaped(text[:-1])

    def literal(self) -> str:
        text = self.take(_LITERAL)
        if not text:
            raise self.error("a string does not end on its line")
        return text[:-1]

    def block(self, pattern: Pattern[str], escapes: bool) -> str:
        self.skip("\n")
        match = pattern.match(self.text, self.at)
        if not match:
            raise self.error("a string of several lines does not end")
        text = self.unescaped(match.group(1)) if escapes else match.group(1)
        self.at = match.end()
        return text

    def unescaped(self, text: str) -> str:
        def replace(match: Match[str]) -> str:
            short, long, plain, _newline, wrong = match.groups()
            if wrong is not None:
                raise self.error(f"\\{wrong} is not an escape")
            code = int(short or long or "0", 16)
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                raise self.error(f"{match.group()} is not a character")
            return chr(code) if short or long else _PLAIN.get(plain or "", "")

        return _ESCAPE.sub(replace, text)

    def array(self) -> List[Any]:
        items: List[Any] = []
        while True:
            self.take(_GAP)
            if self.skip("]"):
                return items
            items.append(self.value())
            self.take(_GAP)
            if not self.skip(","):
                self.expect("]")
                return items

    def inline(self) -> Table:
        table: Table = {}
        outer, self.dotted = self.dotted, set()
        self.take(_BLANK)
        while not self.skip("}"):
            self.pair(table, ())
            self.take(_BLANK)
            if self.skip("}"):
                break
            self.expect(",")
            self.take(_BLANK)
            if self.text.startswith("}", self.at):
                raise self.error("an inline table does not end with a comma")
        self.dotted = outer
        self.close(table)
        return table

    def close(self, table: Table) -> None:
        self.closed.add(id(table))
        for value in table.values():
            if isinstance(value, dict):
                self.close(value)
