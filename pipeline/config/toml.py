"""TOML documents that people write, validated, with errors that point at the key and say what is allowed."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from pipeline.errors import ConfigError

Key: TypeAlias = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(?P<open>\[\[?)\s*(?P<path>[A-Za-z0-9_.\-\" ]+?)\s*\]\]?\s*(?:#.*)?")
_ASSIGNMENT = re.compile(r"\s*(?P<key>[A-Za-z0-9_\-]+(?:\s*\.\s*[A-Za-z0-9_\-]+)*)\s*=")


class Document(BaseModel):
    """Base of every table: a key that it does not know is an error, a value of another type too."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


DocumentT = TypeVar("DocumentT", bound=Document)


def read_document(path: Path) -> str:
    """Return the text of the file. Raises ConfigError when it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist", resolution="create it, or correct the name") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", resolution="correct its permissions") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8: byte {error.start}", resolution="save it as UTF-8 (TOML 1.0.0 requires it)"
        ) from error


def parse_document(kind: type[DocumentT], text: str, *, where: str) -> DocumentT:
    """Return `text` as a document of `kind`; `where` is the name of its file, for errors.

    Raises ConfigError listing every problem with its line, its key and what is allowed there.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{where} is not TOML: {error}", resolution="correct the syntax (https://toml.io/en/v1.0.0)"
        ) from error
    try:
        # By way of JSON, because there a strict model takes arrays for tuples and strings for dates.
        return kind.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        lines = positions(text)
        found = [_describe(kind, detail, lines) for detail in error.errors(include_url=False)]
        if len(found) == 1:
            raise ConfigError(f"{where}: {found[0]}", resolution="correct the key") from None
        details = "\n".join(f"  - {line}" for line in found)
        raise ConfigError(f"{where}: {len(found)} problems", details=details, resolution="correct each key") from None


def show_key(key: Sequence[str | int]) -> str:
    """Return a key as people write it: `build.variants[1].name`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return text.removeprefix(".")


def positions(text: str) -> dict[Key, int]:
    """Return the line number, from 1, of every table header and every plain `key =` in a TOML text.

    The standard parser keeps no positions. Keys inside inline tables are not listed; the caller falls back on the
    nearest key around them.
    """
    found: dict[Key, int] = {}
    counts: Counter[Key] = Counter()
    table: Key = ()
    quoted = ""
    for number, line in enumerate(text.splitlines(), 1):
        if quoted:
            quoted = "" if quoted in line else quoted
            continue
        if header := _HEADER.fullmatch(line):
            table = _resolve(tuple(_split(header["path"])), counts)
            if header["open"] == "[[":
                counts[table] += 1
                found.setdefault(table, number)
                table = (*table, counts[table] - 1)
            found.setdefault(table, number)
        elif assignment := _ASSIGNMENT.match(line):
            found.setdefault((*table, *_split(assignment["key"])), number)
            quoted = next((mark for mark in ('"""', "'''") if line.count(mark) == 1), "")
    return found


def _split(path: str) -> list[str]:
    return [part.strip().strip('"') for part in path.split(".")]


def _resolve(path: tuple[str, ...], counts: Counter[Key]) -> Key:
    """Return the key of a table header: a part that is an array of tables stands for its last element."""
    key: Key = ()
    for depth, part in enumerate(path):
        key = (*key, part)
        if counts[key] and depth + 1 < len(path):
            key = (*key, counts[key] - 1)
    return key


def _line(key: Key, lines: dict[Key, int]) -> str:
    for length in range(len(key), 0, -1):
        if key[:length] in lines:
            return f"line {lines[key[:length]]}: "
    return ""


def _describe(kind: type[BaseModel], detail: ErrorDetails, lines: dict[Key, int]) -> str:
    key: Key = tuple(detail["loc"])
    prefix = _line(key, lines) + (f"{show_key(key)}: " if key else "")
    context = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            return f"{prefix}unknown key{_choices(str(key[-1]), _fields(kind, key[:-1]))}"
        case "missing":
            return f"{prefix}required, but missing"
        case "enum" | "literal_error":
            allowed = re.findall(r"'([^']*)'", str(context.get("expected", "")))
            return f"{prefix}{detail['input']!r} is not one of the values{_choices(str(detail['input']), allowed)}"
        case "string_pattern_mismatch":
            return f"{prefix}{detail['input']!r} does not match {context['pattern']}"
        case "value_error":
            return f"{prefix}{context['error']}"
        case _:
            message = detail["msg"][0].lower() + detail["msg"][1:]
            return f"{prefix}{message}, and this is {detail['input']!r}"


def _choices(given: str, allowed: Sequence[str]) -> str:
    near = difflib.get_close_matches(given, allowed, n=1, cutoff=0.5)
    hint = f"; did you mean `{near[0]}`?" if near else "."
    return f"{hint} Allowed: {', '.join(allowed)}"


def _fields(kind: type[BaseModel], key: Key) -> list[str]:
    """Return the keys that the table at `key` may have."""
    current: Any = kind
    for part in key:
        if isinstance(part, str) and part in current.model_fields:
            current = _table(current.model_fields[part].annotation) or current
    return list(current.model_fields)


def _table(annotation: Any) -> type[BaseModel] | None:
    """Return the table class inside an annotation such as `tuple[Variant, ...]` or `Scan | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _table(part))), None)
