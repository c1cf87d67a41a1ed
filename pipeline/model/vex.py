"""VEX documents of others: what they state about vulnerabilities, as entries that the gate understands.

OpenVEX specification 0.2.0. A statement counts when its status is `not_affected` or `fixed` and it is about the product
that is released, or about a package in it. Its product is the released one when the name in the package URL is that of
the product; then it is about the subcomponents, or about all packages when it names none. Any other product is taken
for the package itself, as in the documents of a library's authors. A version in a package URL limits the statement.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.errors import ConfigError
from pipeline.model.document import read_document

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
    def purl(self) -> str:
        """The package URL, empty when it has none."""
        return self.identifiers.get("purl", "") or (self.id if self.id.startswith("pkg:") else "")


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

    @model_validator(mode="after")
    def _explained(self) -> Statement:
        if self.status == "not_affected" and not (self.justification or self.impact_statement):
            raise ValueError("`not_affected` needs a justification or an impact_statement")
        return self


class OpenVex(_Part):
    """One document."""

    context: Annotated[str, Field(alias="@context")]
    author: str
    statements: tuple[Statement, ...]

    @field_validator("context")
    @classmethod
    def _known(cls, context: str) -> str:
        if not context.startswith("https://openvex.dev/ns"):
            raise ValueError(f"{context!r} is not OpenVEX: https://openvex.dev/ns/v0.2.0")
        return context


def load_vex(path: Path) -> OpenVex:
    """Return the OpenVEX document in the file. Raises ConfigError when it is none."""
    text = read_document(path)
    try:
        return OpenVex.model_validate_json(text)
    except ValidationError as error:
        details = "\n".join(
            f"  - {'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors(include_url=False)
        )
        raise ConfigError(
            f"{path} is no OpenVEX document",
            details=details,
            resolution="give a document of OpenVEX 0.2.0, or take it out of [[vex]] in the policy",
        ) from None


def package_of(purl: str) -> tuple[str, str]:
    """Return name, with its namespace, and version of a package URL; without `v` or `go` before the version."""
    path = purl.removeprefix("pkg:").partition("#")[0].partition("?")[0].partition("/")[2]
    name, _, version = path.rpartition("@") if "@" in path.rpartition("/")[2] else (path, "", "")
    return unquote(name), plain_version(unquote(version))


def plain_version(version: str) -> str:
    """Return a version as package URLs and scanners both have it: `v1.2.3` and `go1.2.3` are `1.2.3`."""
    return version.removeprefix("go").removeprefix("v")


def entries(document: OpenVex, *, product: str, version: str) -> Iterator[dict[str, Any]]:
    """Yield what `document` accepts in that version of the product: `id`, `package`, `version`, justification, reason.

    An empty `package` means every package, an empty `version` every version of it.
    """
    for statement in document.statements:
        if statement.status not in ACCEPTING:
            continue
        said = statement.impact_statement or statement.status_notes or statement.justification.replace("_", " ")
        justification = "vulnerable_code_not_present" if statement.status == "fixed" else statement.justification
        about = {
            "justification": justification or None,
            "reason": f"{document.author} states {statement.status}{f': {said}' if said else ''}",
        }
        parts = {part for each in statement.products for part in _packages(each, product, version)}
        for name in (statement.vulnerability.name, *statement.vulnerability.aliases):
            for package, limit in sorted(parts):
                yield {**about, "id": name, "package": package, "version": limit}


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
