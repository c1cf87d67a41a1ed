"""Validates documents against JSON schemas in one folder. A part of programs, not a program.

Needs the library jsonschema in its image.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from pipeline.programs import common
from pipeline.programs.common import Json, Problem

MAX_ERRORS = 10


def validator(schemas: Path, name: str) -> Any:
    """Return a validator for the schema `name`, after the draft that it names, with the others in reach.

    Before draft 6, a schema's identity is called `id`.
    """
    try:
        library = importlib.import_module("jsonschema")
    except ImportError:
        raise Problem("this image lacks the Python library jsonschema") from None
    schema = common.read_object(schemas / name)
    draft = library.validators.validator_for(schema)
    found = map(common.read_object, sorted(schemas.glob("*.json")))
    others = {str(other["$id"] if "$id" in other else other["id"]): other for other in found}
    try:
        referencing = importlib.import_module("referencing")
    except ImportError:  # before jsonschema 4.18
        return draft(schema, resolver=library.RefResolver.from_schema(schema, id_of=draft.ID_OF, store=others))
    resources = [(name, referencing.Resource.from_contents(other)) for name, other in others.items()]
    return draft(schema, registry=referencing.Registry().with_resources(resources))


def validate(document: Json, schemas: Path, name: str) -> None:
    """Raise Problem with the places in `document` that the schema `name` refuses."""
    errors = sorted(validator(schemas, name).iter_errors(document), key=lambda error: str(error.json_path))
    if errors:
        shown = [f"{name}: {error.json_path}: {error.message[:200]}" for error in errors[:MAX_ERRORS]]
        raise Problem(*shown, *([f"and {len(errors) - MAX_ERRORS} more"] if len(errors) > MAX_ERRORS else []))
