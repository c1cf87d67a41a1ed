"""Not a program: the JSON documents that programs of this project hand to each other, as frozen dataclasses.

What people write is TOML and is read by `pipeline/config`, with other errors. What other projects define (reports of
scanners, SBOMs) is not read here either: there the program that reads it takes from a plain dictionary what it needs.

A document is a frozen dataclass of: `str`, `int`, `float`, `bool`, `Path`, `Optional`, `Literal`, an `Enum`, `tuple`,
`dict` or `Mapping` with `str` for keys, other such dataclasses, and `Any` for a part that another project defines.
`X | None` is not among them: Python 3.9 cannot evaluate it.

- A field without a default is always there. One that has its default is not written, and may be missing when read.
- A field whose type is `Literal` with one value, such as the document's schema, is always there; give it as default.
- A field with another name in JSON says so: `kind: str = field(metadata=key("_type"))`.
- `Annotated[str, Text("[0-9a-f]{64}")]` and `Annotated[int, AtLeast(0)]` say which values of a type are right.
- A ValueError of `__post_init__` becomes an error like that of a wrong type.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

from pipeline.programs.common import Problem, to_json, write_text


class Dataclass(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


T = TypeVar("T", bound=Dataclass)

_KEY = "key"
_SHOWN = 80
"""Characters of a wrong value that an error shows."""
_PLAIN: dict[Any, str] = {str: "a string", int: "an integer", bool: "true or false", Path: "a path"}


class WrongDocument(Problem):
    """What is wrong with a document: its file, the place in it, what must be there and what is."""


@dataclasses.dataclass(frozen=True)
class Text:
    """Text that as a whole matches a regular expression."""

    pattern: str


@dataclasses.dataclass(frozen=True)
class AtLeast:
    """A number that is not below a limit."""

    limit: int


Sha256 = Annotated[str, Text("[0-9a-f]{64}")]
Count = Annotated[int, AtLeast(0)]


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of a document: its name in Python and in JSON, its type, and whether JSON always has it."""

    name: str
    key: str
    type: Any
    required: bool
    default: Any


def key(name: str) -> dict[str, str]:
    """Return the metadata of a field that is called `name` in JSON."""
    return {_KEY: name}


@cache
def fields_of(kind: Any) -> tuple[Field, ...]:
    """Return the fields of the document `kind`."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple(_field(each, hints[each.name]) for each in dataclasses.fields(kind))


def _field(each: dataclasses.Field[Any], hint: Any) -> Field:
    default = each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
    tag = get_origin(hint) is Literal and len(get_args(hint)) == 1
    required = tag or default is dataclasses.MISSING
    return Field(each.name, each.metadata.get(_KEY, each.name), hint, required, default)


def load(kind: type[T], path: Path) -> T:
    """Return the document in the file. Raises WrongDocument when it is missing or is not one."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise WrongDocument(f"{path} is missing") from None
    except UnicodeDecodeError as error:
        raise WrongDocument(f"{path} is not UTF-8: byte {error.start}") from None
    return loads(kind, text, str(path))


def loads(kind: type[T], text: str, where: str) -> T:
    """Return the document with that JSON text; `where` names it in errors. Raises WrongDocument."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise WrongDocument(f"{where} is not JSON: {error}") from None
    return parse(kind, value, where)


def parse(kind: type[T], value: object, where: str) -> T:
    """Return the document that decoded JSON is; `where` names it in errors. Raises WrongDocument."""
    made: T = _document(kind, value, f"{where}: ", "")
    return made


def plain(value: Any) -> Any:
    """Return a document, or a value in one, as what `json` writes."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((each, getattr(value, each.name)) for each in fields_of(type(value)))
        return {each.key: plain(item) for each, item in pairs if each.required or item != each.default}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def write(path: Path, document: Dataclass) -> None:
    """Write a document as JSON for people and diffs, mode 0644 whatever the umask, making parent directories."""
    write_text(path, to_json(plain(document)))


def _document(kind: Any, value: object, where: str, place: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, place, "an object", value)
    fields = {each.key: each for each in fields_of(kind)}
    start = f"{where}{place}{' ' if place else ''}"
    for name in value:
        if name not in fields:
            raise WrongDocument(f"{start}has the unknown field {name!r}; known are {', '.join(sorted(fields))}")
    given = {}
    for each in fields.values():
        if each.key in value:
            inner = f"{place}.{each.key}" if place else each.key
            given[each.name] = _value(each.type, value[each.key], where, inner)
        elif each.required:
            raise WrongDocument(f"{start}lacks the field {each.key!r}, which must be {_expected(each.type)}")
    try:
        return kind(**given)
    except ValueError as error:
        raise WrongDocument(f"{start}{error}") from None


def _value(kind: Any, value: Any, where: str, place: str) -> Any:
    """Return `value` as `kind`; `place` is where it stands in the document, such as `findings[3].severity`."""
    if kind is Any:
        return value
    origin = get_origin(kind)
    if origin is Annotated:
        return _limited(kind, value, where, place)
    if origin is tuple:
        return _tuple(get_args(kind), value, where, place)
    if origin in (dict, Mapping) and isinstance(value, dict):
        inner = get_args(kind)[1]
        return {name: _value(inner, item, where, f"{place}[{name!r}]") for name, item in value.items()}
    if origin is Union:
        return None if value is None else _value(_some(kind), value, where, place)
    if dataclasses.is_dataclass(kind):
        return _document(kind, value, where, place)
    if origin is None and isinstance(kind, type) and issubclass(kind, enum.Enum):
        known = {each.value: each for each in kind}
        if isinstance(value, str) and value in known:
            return known[value]
    elif _fits(kind, value):
        return Path(value) if kind is Path else value
    raise _wrong(where, place, _expected(kind), value)


def _limited(kind: Any, value: object, where: str, place: str) -> Any:
    plain_kind, limit = get_args(kind)
    found = _value(plain_kind, value, where, place)
    if not (re.fullmatch(limit.pattern, found) if isinstance(limit, Text) else found >= limit.limit):
        raise _wrong(where, place, _expected(kind), value)
    return found


def _fits(kind: Any, value: object) -> bool:
    if get_origin(kind) is Literal:
        return any(value == each and type(value) is type(each) for each in get_args(kind))
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is (str if kind is Path else kind)


def _tuple(kinds: tuple[Any, ...], value: object, where: str, place: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _wrong(where, place, "an array", value)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise _wrong(where, place, f"an array of {len(kinds)}", value)
    return tuple(_value(kind, value[n], where, f"{place}[{n}]") for n, kind in enumerate(kinds))


def _some(kind: Any) -> Any:
    """Return X of `Optional[X]`."""
    found = [each for each in get_args(kind) if each is not type(None)]
    if len(found) != 1 or len(get_args(kind)) != 2:
        raise TypeError(f"a document cannot have a field of type {kind}")
    return found[0]


def _expected(kind: Any) -> str:
    """Return in words what a field of that type must be."""
    origin = get_origin(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind is float:
        return "a number"
    if origin is Annotated:
        inner, limit = get_args(kind)
        return f"{_expected(inner)} {f'like {limit.pattern}' if isinstance(limit, Text) else f'>= {limit.limit}'}"
    if origin is Union:
        return f"{_expected(_some(kind))} or null"
    if origin is tuple:
        return "an array"
    if origin in (dict, Mapping) or dataclasses.is_dataclass(kind):
        return "an object"
    allowed = get_args(kind) if origin is Literal else [each.value for each in kind] if _is_enum(kind) else []
    if not allowed:
        raise TypeError(f"a document cannot have a field of type {kind}")
    return f"{'one of ' if len(allowed) > 1 else ''}{', '.join(json.dumps(each) for each in allowed)}"


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


def _wrong(where: str, place: str, expected: str, value: object) -> WrongDocument:
    shown = json.dumps(value, ensure_ascii=False, default=str)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    return WrongDocument(f"{where}{place or 'it'} must be {expected}, got {shown}")
