"""What the SBOMs of binaries and of packages share: schemas, order, identity. Not a program."""

from __future__ import annotations

import json
import uuid
from typing import Any

from pipeline.programs.common import Json

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:release-pipeline:sbom")
CYCLONEDX_SCHEMA, SPDX_SCHEMA = "bom-1.6.schema.json", "spdx-schema-2.3.json"


def content_uuid(document: Json) -> str:
    """Return a UUID of version 5 over the document's canonical JSON."""
    return str(uuid.uuid5(NAMESPACE, json.dumps(document, sort_keys=True, separators=(",", ":"))))


def canonical(value: Any) -> str:
    """Return text that orders JSON values."""
    return json.dumps(value, sort_keys=True)
