"""The options of a request on the command line: how they are parsed, and how a request becomes words again."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pipeline.run.request import OPTIONS, VERBS, Group, Kind, Option, Request, options_of


def positive(text: str) -> int:
    """Return a number above 0. Raises argparse's error for another text."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, got {text!r}")
    return int(text)


def add_options(parser: argparse.ArgumentParser, *groups: Group) -> None:
    """Add the options of `groups` to a parser of the command line, each group under its heading."""
    for group in groups:
        own = [each for each in options_of(group) if each.flag]
        if own:
            heading = parser.add_argument_group(group.value)
            for each in own:
                heading.add_argument(each.flag, dest=each.name, **_argparse(each))


def add_option(parser: argparse.ArgumentParser, name: str, text: str = "") -> None:
    """Add one option, with another `text` where a verb means something special by it."""
    each = OPTIONS[name]
    parser.add_argument(each.flag, dest=each.name, **_argparse(replace(each, text=text or each.text)))


def _argparse(each: Option) -> dict[str, Any]:
    shown = f" (default: {each.default})" if isinstance(each.default, str) and each.default else ""
    words: dict[str, Any] = {"help": f"{each.text}{shown}".replace("%", "%%"), "default": each.default}
    match each.kind:
        case Kind.FLAG:
            return {**words, "action": "store_true"}
        case Kind.TEXTS | Kind.FOLDERS:
            return {**words, "action": "append", "default": None, "metavar": each.metavar}
        case Kind.NUMBER:
            return {**words, "type": positive, "metavar": each.metavar}
        case _ if each.choices:
            return {**words, "choices": each.choices}
        case _:
            return {**words, "metavar": each.metavar}


def from_command_line(parsed: argparse.Namespace) -> Request:
    """Return what a parsed command line and the environment ask for. Options that the verb lacks keep their default."""
    values = {name: value for name, value in vars(parsed).items() if name in OPTIONS and value is not None}
    many = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    day = {"today": parsed.today} if getattr(parsed, "today", None) else {}
    return Request(**{**values, **many, **day}, fips_enabled=os.environ.get("FIPS_ENABLED", ""))


def command_words(request: Request, verb: str) -> Iterator[str]:
    """Yield the words of the command line that ask `verb` for the same steps as `request`."""
    for each in options_of(*VERBS[verb], Group.MACHINE):
        value = getattr(request, each.name)
        if not (each.flag and each.identity) or value == each.default or not value:
            continue
        if each.kind is Kind.FLAG:
            yield each.flag
        else:
            for one in value if isinstance(value, tuple) else (value,):
                yield from (each.flag, str(one))
