"""Writes the schemas of this project's own documents from their classes: `.venv/bin/python docs/generate_schemas.py`.

JSON Schema draft 7. What a class and its fields say in their docstrings becomes titles and descriptions.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import textwrap
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pipeline.programs.build.proof import BinaryProof
from pipeline.programs.document import Text, fields_of, plain
from pipeline.programs.package.package_documents import Exposure
from pipeline.programs.scan.scan_documents import Verdict
from pipeline.programs.sign.release_index import ReleaseIndex

FOLDER = Path(__file__).resolve().parents[1] / "packaging" / "schemas" / "release-pipeline"
DOCUMENTS = {"binary-proof": BinaryProof, "exposure": Exposure, "release": ReleaseIndex, "verdict": Verdict}
"""The documents that others read, by the names of their schemas."""
PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", Path: "string"}


def schema(kind: Any) -> dict[str, Any]:
    """Return the schema of a document. Raises TypeError for a type that documents cannot have."""
    parts: dict[str, Any] = {}
    whole = _object(kind, parts)
    tag = next(each for each in fields_of(kind) if each.key == "schema")
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "$id": tag.default}
    return {**head, **whole, **({"definitions": dict(sorted(parts.items()))} if parts else {})}


def _object(kind: Any, parts: dict[str, Any]) -> dict[str, Any]:
    said, properties = _descriptions(kind), {}
    for each in fields_of(kind):
        about = {"description": said[each.name]} if each.name in said else {}
        given = {} if each.required or each.default is None else {"default": plain(each.default)}
        own = _value(each.type, parts)
        # Draft 7 ignores what stands beside a reference.
        properties[each.key] = {**({"allOf": [own]} if "$ref" in own and (about or given) else own), **about, **given}
    return {
        "title": _one_line(kind.__doc__ or ""),
        "type": "object",
        "required": [each.key for each in fields_of(kind) if each.required],
        "properties": properties,
        "additionalProperties": False,
    }


def _value(kind: Any, parts: dict[str, Any]) -> dict[str, Any]:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any or kind in PLAIN:
        return {} if kind is Any else {"type": PLAIN[kind]}
    if origin is Annotated:
        limit = inner[1]
        rule = {"pattern": f"^(?:{limit.pattern})$"} if isinstance(limit, Text) else {"minimum": limit.limit}
        return {**_value(inner[0], parts), **rule}
    if origin is Literal:
        return {"const": inner[0]} if len(inner) == 1 else {"enum": list(inner)}
    if origin is Union:
        return {"anyOf": [{"type": "null"} if each is type(None) else _value(each, parts) for each in inner]}
    if origin is tuple:
        return _array(inner, parts)
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _value(inner[1], parts)}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if kind.__name__ not in parts:
            parts[kind.__name__] = {}  # a document may hold itself
            parts[kind.__name__] = _object(kind, parts)
        return {"$ref": f"#/definitions/{kind.__name__}"}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [each.value for each in kind]}
    raise TypeError(f"a document cannot have a field of type {kind}")


def _array(kinds: tuple[Any, ...], parts: dict[str, Any]) -> dict[str, Any]:
    if kinds[-1] is Ellipsis:
        return {"type": "array", "items": _value(kinds[0], parts)}
    items = [_value(each, parts) for each in kinds]
    return {"type": "array", "items": items, "minItems": len(items), "maxItems": len(items)}


def _descriptions(kind: type[Any]) -> dict[str, str]:
    """Return what stands below each field of a class, by the field's name."""
    (own,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(own, ast.ClassDef)
    found = {}
    for field, text in zip(own.body, own.body[1:], strict=False):
        below = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and below:
            found[field.target.id] = _one_line(str(text.value.value))  # type: ignore[attr-defined]
    return found


def _one_line(text: str) -> str:
    return " ".join(text.split())


def texts() -> dict[str, str]:
    """Return the text of each schema by the name of its file."""
    return {f"{name}.schema.json": json.dumps(schema(kind), indent=2) + "\n" for name, kind in DOCUMENTS.items()}


if __name__ == "__main__":
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
