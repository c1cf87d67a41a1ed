"""VEX documents of others: what they state about the release, and about nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from packageurl import PackageURL

from pipeline.config.policy import load_policy
from pipeline.config.vex import entries, load_vex, package_of
from pipeline.errors import ConfigError

TOML = "github.com/pelletier/go-toml/v2"
POLICY = """
[[vex]]
file = "vex/toml.json"
owner = "security@example.org"
expires = 2026-12-31
"""


def statement(*products: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "vulnerability": {"name": "CVE-2026-1", "aliases": ["GHSA-1"]},
        "products": list(products),
        "status": "not_affected",
        "justification": "vulnerable_code_not_present",
        **fields,
    }


def document(folder: Path, *statements: dict[str, Any], **fields: Any) -> Path:
    """Write a document as its authors publish it, with fields that nothing here reads."""
    path = folder / "vex" / "toml.json"
    path.parent.mkdir(exist_ok=True)
    whole = {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://example.org/vex/1",
        "author": "Toml Authors",
        "timestamp": "2026-01-01T00:00:00Z",
        "version": 1,
        "statements": list(statements),
        **fields,
    }
    path.write_text(json.dumps(whole))
    return path


def about(path: Path) -> set[tuple[str, str, str]]:
    return {(e["id"], e["package"], e["version"]) for e in entries(load_vex(path), product="weed", version="4.44")}


@pytest.mark.parametrize(
    ("purl", "expected"),
    [
        ("pkg:golang/github.com/pelletier/go-toml/v2@v2.4.3", (TOML, "2.4.3")),
        ("pkg:golang/stdlib@go1.22.0", ("stdlib", "1.22.0")),
        ("pkg:golang/golang.org/x/net", ("golang.org/x/net", "")),
        ("pkg:npm/%40scope/name@1.0?arch=x#sub/dir", ("@scope/name", "1.0")),
    ],
)
def test_names_and_versions_of_package_urls(purl: str, expected: tuple[str, str]) -> None:
    assert package_of(PackageURL.from_string(purl)) == expected


def test_a_librarys_authors_speak_about_their_library(tmp_path: Path) -> None:
    path = document(tmp_path, statement({"@id": f"pkg:golang/{TOML}@v2.4.3"}))
    assert about(path) == {("CVE-2026-1", TOML, "2.4.3"), ("GHSA-1", TOML, "2.4.3")}


def test_the_products_authors_speak_about_what_is_in_it_in_that_version(tmp_path: Path) -> None:
    ours = {
        "@id": "https://example.org/weed",
        "identifiers": {"purl": "pkg:github/example/weed@4.44"},
        "subcomponents": [{"@id": f"pkg:golang/{TOML}"}],
    }
    whole = {"@id": "pkg:golang/example.org/weed"}
    older = {**ours, "identifiers": {"purl": "pkg:github/example/weed@4.43"}}
    other = {**ours, "identifiers": {"purl": "pkg:github/example/other@4.44"}}
    nameless = {"@id": "https://example.org/weed"}
    assert about(document(tmp_path, statement(ours), statement(older, other, nameless))) == {
        ("CVE-2026-1", TOML, ""),
        ("GHSA-1", TOML, ""),
    }
    assert about(document(tmp_path, statement(whole))) == {("CVE-2026-1", "", ""), ("GHSA-1", "", "")}


def test_only_what_does_not_affect_counts_and_the_author_is_named(tmp_path: Path) -> None:
    product = {"@id": f"pkg:golang/{TOML}"}
    path = document(
        tmp_path,
        statement(product, status="affected", vulnerability={"name": "CVE-1"}),
        statement(product, status="under_investigation", vulnerability={"name": "CVE-2"}),
        statement(product, status="fixed", justification="", vulnerability={"name": "CVE-3"}),
        statement(product, impact_statement="only on Windows", vulnerability={"name": "CVE-4"}),
    )
    made = {entry["id"]: entry for entry in entries(load_vex(path), product="weed", version="4.44")}
    assert set(made) == {"CVE-3", "CVE-4"}
    assert made["CVE-3"]["reason"] == "Toml Authors states fixed"
    assert made["CVE-3"]["justification"] == "vulnerable_code_not_present"
    assert made["CVE-4"]["reason"] == "Toml Authors states not_affected: only on Windows"


def test_what_is_said_later_counts(tmp_path: Path) -> None:
    any_version, one = {"@id": f"pkg:golang/{TOML}"}, {"@id": f"pkg:golang/{TOML}@v2.4.3"}
    early, late = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00+01:00"
    fine, affected = {"vulnerability": {"name": "CVE-1"}}, {"vulnerability": {"name": "CVE-1"}, "status": "affected"}
    assert about(document(tmp_path, statement(one, **fine), statement(any_version, **affected))) == set()
    later = statement(one, **fine, timestamp=late), statement(one, **affected, timestamp=early)
    assert about(document(tmp_path, *later)) == {("CVE-1", TOML, "2.4.3")}
    earlier = statement(any_version, **affected, timestamp=late), statement(one, **fine, timestamp=early)
    assert about(document(tmp_path, *earlier)) == set()
    other = statement({"@id": "pkg:golang/stdlib"}, **fine), statement(one, **affected)
    assert about(document(tmp_path, *other)) == {("CVE-1", "stdlib", "")}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"@context": "https://cyclonedx.org"}, "is not OpenVEX"),
        ({"statements": [{"status": "not_affected"}]}, "statements.0.vulnerability"),
        ({"statements": [statement(justification="")]}, "needs a justification or an impact_statement"),
        ({"statements": [statement(status="fine")]}, "statements.0.status"),
        ({"timestamp": "yesterday"}, "yesterday"),
        ({"statements": [statement({"@id": "pkg:golang"})]}, "statements.0.products.0"),
    ],
)
def test_what_is_no_openvex_is_an_error_that_says_where(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    path = document(tmp_path, **fields)
    with pytest.raises(ConfigError, match="is not an OpenVEX document") as caught:
        load_vex(path)
    assert said in caught.value.details


def test_a_policy_says_who_answers_for_believing_a_document_and_until_when(tmp_path: Path) -> None:
    document(tmp_path, statement({"@id": f"pkg:golang/{TOML}"}))
    (tmp_path / "policy.toml").write_text(POLICY)
    first, _ = load_policy(tmp_path).accepted(product="weed", version="4.44")
    assert (first["id"], first["package"], first["source"]) == ("CVE-2026-1", TOML, "vex/toml.json")
    assert (first["owner"], first["expires"]) == ("security@example.org", "2026-12-31")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (POLICY, "toml.json does not exist"),
        (POLICY.replace("vex/toml.json", "vex/../../toml.json"), "leads out of the policy's folder"),
        (POLICY.replace("vex/toml.json", "/etc/toml.json"), "file"),
        (POLICY.replace("expires = 2026-12-31", ""), "expires"),
    ],
)
def test_a_document_that_cannot_be_had_is_an_error(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "policy.toml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_policy(tmp_path)
