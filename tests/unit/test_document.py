"""Documents between programs: what is read is what was written, and everything else is refused with its place."""

from __future__ import annotations

import enum
import json
import runpy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Optional, Union

import jsonschema
import pytest

from pipeline.programs import document
from pipeline.programs.document import Count, Sha256, WrongDocument, key


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Part:
    name: str
    size: float = 1
    colour: Colour = Colour.RED


@dataclass(frozen=True)
class Whole:
    """What is tested."""

    title: str
    parts: tuple[Part, ...]
    count: int
    open: bool
    level: Literal["low", "high"] = "low"
    schema: Literal["urn:example:whole:v1"] = "urn:example:whole:v1"
    kind: str = field(default="", metadata=key("_type"))
    """Another name in JSON."""
    place: Path = Path("/out")
    first: Optional[Part] = None  # noqa: UP045 - as programs must write it
    pair: tuple[str, int] = ("", 0)
    by_name: Mapping[str, Part] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    foreign: Any = None
    digest: Sha256 = ""
    bytes: Count = 0

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("`count` must not be negative")


LEAST: dict[str, Any] = {"title": "t", "parts": [], "count": 1, "open": True, "schema": "urn:example:whole:v1"}
FULL = Whole(
    title="é",
    parts=(Part("a"), Part("b", 2.5, Colour.BLUE)),
    count=3,
    open=False,
    level="high",
    kind="k",
    place=Path("/elsewhere"),
    first=Part("c"),
    pair=("x", 1),
    by_name={"d": Part("d")},
    limits={"e": 1},
    foreign={"any": [1, None]},
    digest="0" * 64,
    bytes=5,
)


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    document.write(tmp_path / "new" / "whole.json", FULL)
    assert document.load(Whole, tmp_path / "new" / "whole.json") == FULL


def test_json_has_sorted_keys_and_no_field_that_has_its_default(tmp_path: Path) -> None:
    document.write(tmp_path / "x", Whole("é", (), 1, True))
    text = '{\n  "count": 1,\n  "open": true,\n  "parts": [],\n  "schema": "urn:example:whole:v1",\n  "title": "é"\n}\n'
    assert (tmp_path / "x").read_bytes() == text.encode()
    assert document.loads(Whole, text, "x") == Whole("é", (), 1, True)


SCHEMA = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "generate_schemas.py"))["schema"]


def test_its_schema_accepts_what_is_written_and_refuses_what_is_not_read() -> None:
    check = jsonschema.Draft7Validator(SCHEMA(Whole))
    check.check_schema(check.schema)
    check.validate(document.plain(FULL))
    check.validate(LEAST)
    for change, message in WRONG:
        assert message.endswith("must not be negative") or not check.is_valid({**LEAST, **change}), change
    for name in LEAST:
        assert not check.is_valid({key: value for key, value in LEAST.items() if key != name})


def test_its_schema_says_what_the_class_says() -> None:
    made = SCHEMA(Whole)
    assert (made["$id"], made["title"]) == ("urn:example:whole:v1", "What is tested.")
    assert made["properties"]["_type"] == {"type": "string", "description": "Another name in JSON.", "default": ""}
    assert made["definitions"]["Part"]["required"] == ["name"]


def test_a_field_has_another_name_in_json_where_it_says_so() -> None:
    assert document.plain(FULL)["_type"] == "k"
    with pytest.raises(WrongDocument, match="unknown field 'kind'"):
        document.parse(Whole, {**LEAST, "kind": "k"}, "x")


def test_a_whole_number_is_one_where_a_fraction_may_be() -> None:
    assert document.parse(Part, {"name": "a", "size": 2}, "x").size == 2


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"title": 7}, "x.json: title must be a string, got 7"),
    ({"title": None}, "x.json: title must be a string, got null"),
    ({"count": True}, "x.json: count must be an integer, got true"),
    ({"count": "1"}, 'x.json: count must be an integer, got "1"'),
    ({"count": -1}, "x.json: `count` must not be negative"),
    ({"open": 1}, "x.json: open must be true or false, got 1"),
    ({"parts": {}}, "x.json: parts must be an array, got {}"),
    ({"parts": [{"name": "a"}, {}]}, "x.json: parts[1] lacks the field 'name', which must be a string"),
    ({"parts": [3]}, "x.json: parts[0] must be an object, got 3"),
    ({"parts": [{"name": "a", "size": "b"}]}, 'x.json: parts[0].size must be a number, got "b"'),
    ({"parts": [{"name": "a", "size": True}]}, "x.json: parts[0].size must be a number, got true"),
    (
        {"parts": [{"name": "a", "colour": "rouge"}]},
        'x.json: parts[0].colour must be one of "red", "blue", got "rouge"',
    ),
    (
        {"parts": [{"name": "a", "nam": 1}]},
        "x.json: parts[0] has the unknown field 'nam'; known are colour, name, size",
    ),
    ({"level": "middle"}, 'x.json: level must be one of "low", "high", got "middle"'),
    ({"level": ["low"]}, 'x.json: level must be one of "low", "high", got ["low"]'),
    ({"schema": "v2"}, 'x.json: schema must be "urn:example:whole:v1", got "v2"'),
    ({"first": 1}, "x.json: first must be an object, got 1"),
    ({"pair": ["a"]}, 'x.json: pair must be an array of 2, got ["a"]'),
    ({"pair": ["a", "b"]}, 'x.json: pair[1] must be an integer, got "b"'),
    ({"by_name": []}, "x.json: by_name must be an object, got []"),
    ({"by_name": {"d": {"name": 1}}}, "x.json: by_name['d'].name must be a string, got 1"),
    ({"digest": "AB"}, 'x.json: digest must be a string like [0-9a-f]{64}, got "AB"'),
    ({"digest": 1}, "x.json: digest must be a string, got 1"),
    ({"bytes": -1}, "x.json: bytes must be an integer >= 0, got -1"),
    ({"place": 1}, "x.json: place must be a path, got 1"),
    ({"title": ["long"] * 99}, "..."),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_what_is_wrong_is_said_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongDocument) as caught:
        document.parse(Whole, {**LEAST, **change}, "x.json")
    assert str(caught.value) == message or (message == "..." and len(str(caught.value)) < 200)


@pytest.mark.parametrize("missing", sorted(LEAST))
def test_every_field_without_a_default_must_be_there_and_so_must_the_schema(missing: str) -> None:
    with pytest.raises(WrongDocument, match=f"x.json: lacks the field '{missing}'"):
        document.parse(Whole, {name: value for name, value in LEAST.items() if name != missing}, "x.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "is missing"), (b"{", "is not JSON"), (b"\xff", "is not UTF-8"), (b"[]", "it must be an object")],
)
def test_a_file_that_is_no_document_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(WrongDocument, match=rf"x\.json.*{message}"):
        document.load(Whole, tmp_path / "x.json")


@dataclass(frozen=True)
class Newer:
    name: str | None = None


@dataclass(frozen=True)
class Either:
    name: Union[str, int, None] = None  # noqa: UP007 - what is refused


@pytest.mark.parametrize("kind", [Newer, Either])
def test_a_type_that_programs_cannot_have_is_an_error_of_the_programmer(kind: type[Newer]) -> None:
    with pytest.raises(TypeError, match="a document cannot have a field of type"):
        document.parse(kind, json.loads('{"name": "a"}'), "x")
