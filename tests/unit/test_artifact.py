"""Artifacts: what their kind and name say of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.model.artifact import Artifact, Kind
from pipeline.model.tree import EMPTY

SCHEMA = Path(__file__).parents[2] / "packaging" / "schemas" / "release-pipeline" / "release.schema.json"


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("weed-1.2-linux-amd64", Kind.BINARY, "application/x-executable"),
        ("weed_1.2-1_amd64.deb", Kind.PACKAGE, "application/vnd.debian.binary-package"),
        ("weed-1.2-1.x86_64.rpm", Kind.PACKAGE, "application/x-rpm"),
        ("weed.spdx.json", Kind.SBOM, "application/spdx+json"),
        ("weed.proof.json", Kind.PROOF, "application/json"),
        ("scan.sarif", Kind.SCAN_REPORT, "application/sarif+json"),
    ],
)
def test_the_media_type_follows_from_the_kind_and_the_ending(name: str, kind: Kind, expected: str) -> None:
    assert Artifact(name=name, kind=kind, tree=EMPTY).media_type == expected


def test_a_name_that_does_not_fit_its_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"weed\.json: a name of the kind sbom ends with \.cdx\.json or \.spdx\.json"):
        Artifact(name="weed.json", kind=Kind.SBOM, tree=EMPTY)


def test_the_schema_of_a_release_has_the_words_of_all_kinds_that_it_lists() -> None:
    items = json.loads(SCHEMA.read_text("utf-8"))["definitions"]["Listed"]
    listed = set(items["properties"]["kind"]["description"].split(", "))
    # The index does not list itself, and names statements apart.
    assert listed == {kind.value for kind in Kind} - {Kind.INDEX.value, Kind.ATTESTATION.value}
