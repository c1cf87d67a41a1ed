"""VEX documents of others: what they state about vulnerabilities, as entries that the gate understands.

OpenVEX specification 0.2.0. A statement counts when its status is `not_affected` or `fixed` and it is about the product
that is released, or about a package in it. Its product is the released one when the name in the package URL is that of
the product; then it is about the subcomponents, or about all packages when it names none. Any other product is taken
for the package itself, as in the documents of a library's authors. A version in a package URL limits the statement.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from packageurl import PackageURL
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.config.toml import read_document
from pipeline.errors import ConfigError

ACCEPTING = {"not_affected", "fixed"}


class _Part(BaseModel):
    """Part of a document. What the specification has and the gate does not need is passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, populate_by_name=True)


class Component(_Part):
    """A product or a subcomponent."""

    id: Annotated[str, Field(alias="@id")] = ""
    identifiers: dict[str, str] = {}
    subcomponents: tuple[Component, ...] = ()

    @property
    def purl(self) -> PackageURL | None:
        """The package URL, if it has one."""
        text = self.identifiers.get("purl", "") or (self.id if self.id.startswith("pkg:") else "")
        return PackageURL.from_string(text) if text else None

    @model_validator(mode="after")
    def _located(self) -> Self:
        _ = self.purl
        return self


class Vulnerability(_Part):
    """What a statement is about."""

    name: str
    aliases: tuple[str, ...] = ()


class Statement(_Part):
    """One statement (section "Statement Fields")."""

    vulnerability: Vulnerability
    products: tuple[Component, ...] = ()
    status: Literal["not_affected", "affected", "fixed", "under_investigation"]
    justification: str = ""
    impact_statement: str = ""
    status_notes: str = ""
    timestamp: str = ""
    """RFC 3339; empty for that of the document."""

    @model_validator(mode="after")
    def _explained(self) -> Statement:
        if self.status == "not_affected" and not (self.justification or self.impact_statement):
            raise ValueError("`not_affected` needs a justification or an impact_statement")
        return self


class OpenVex(_Part):
    """One document."""

    context: Annotated[str, Field(alias="@context")]
    author: str
    timestamp: str = ""
    statements: tuple[Statement, ...]

    @model_validator(mode="after")
    def _dated(self) -> Self:
        for found in (self.timestamp, *(each.timestamp for each in self.statements)):
            _moment(found)
        return self

    @field_validator("context")
    @classmethod
    def _known(cls, context: str) -> str:
        if not context.startswith("https://openvex.dev/ns"):
            raise ValueError(f"{context!r} is not OpenVEX: https://openvex.dev/ns/v0.2.0")
        return context


def load_vex(path: Path) -> OpenVex:
    """Return the OpenVEX document in the file. Raises ConfigError for another file."""
    text = read_document(path)
    try:
        return OpenVex.model_validate_json(text)
    except ValidationError as error:
        details = "\n".join(
            f"  - {'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors(include_url=False)
        )
        raise ConfigError(
            f"{path} is not an OpenVEX document",
            details=details,
            resolution="give a document of OpenVEX 0.2.0, or take it out of [[vex]] in the policy",
        ) from None


def package_of(purl: PackageURL) -> tuple[str, str]:
    """Return name, with its namespace, and version of a package URL; without `v` or `go` before the version."""
    return "/".join(filter(None, (purl.namespace, purl.name))), plain_version(purl.version or "")


def plain_version(version: str) -> str:
    """Return a version as package URLs and scanners both have it: `v1.2.3` and `go1.2.3` are `1.2.3`."""
    return version.removeprefix("go").removeprefix("v")


def entries(document: OpenVex, *, product: str, version: str) -> Iterator[dict[str, Any]]:
    """Yield what `document` accepts in that version of the product: `id`, `package`, `version`, justification, reason.

    An empty `package` means every package, an empty `version` every version of it. What a later statement calls
    affected, or under investigation again, is not accepted any more.
    """
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    # The latest statement counts; of those with the same time, the last one in the document.
    for statement in sorted(document.statements, key=lambda each: _moment(each.timestamp or document.timestamp)):
        parts = sorted({part for each in statement.products for part in _packages(each, product, version)})
        for name in (statement.vulnerability.name, *statement.vulnerability.aliases):
            for package, limit in parts:
                key = (name, package, limit)
                if statement.status in ACCEPTING:
                    found[key] = {**_accepted(document, statement), "id": name, "package": package, "version": limit}
                else:
                    found = {other: entry for other, entry in found.items() if not _same(other, key)}
    yield from found.values()


def _accepted(document: OpenVex, statement: Statement) -> dict[str, Any]:
    """Return what of an entry does not depend on the package."""
    output = statement.impact_statement or statement.status_notes or statement.justification.replace("_", " ")
    justification = "vulnerable_code_not_present" if statement.status == "fixed" else statement.justification
    reason = f"{document.author} states {statement.status}{f': {output}' if output else ''}"
    return {"justification": justification or None, "reason": reason}


def _moment(timestamp: str) -> dt.datetime:
    """Return a time of RFC 3339 as one that can be compared; the earliest of all when none is given."""
    moment = dt.datetime.fromisoformat(timestamp) if timestamp else dt.datetime.min.replace(tzinfo=dt.UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _same(one: tuple[str, str, str], other: tuple[str, str, str]) -> bool:
    """Return whether two statements are about the same vulnerability in the same package; an empty part means all."""
    return all(mine == theirs or "" in {mine, theirs} for mine, theirs in zip(one, other, strict=True))


def _packages(component: Component, product: str, version: str) -> Iterator[tuple[str, str]]:
    """Yield the packages, with their versions, that a statement about `component` is about in the released product."""
    if not component.purl:
        return
    name, limit = package_of(component.purl)
    if name.rpartition("/")[2] != product:
        if not component.subcomponents:
            yield name, limit
    elif limit in {"", version}:
        inner = [package_of(each.purl) for each in component.subcomponents if each.purl]
        yield from inner if component.subcomponents else [("", "")]
