"""The licenses of components: what the policy refuses, and a notice for people. A part of `sbom.py`, not a program."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pipeline.programs.common import Json, Params

UNKNOWN = {"", "NOASSERTION", "NONE"}
UNRECOGNISED = "sha256:"
"""What syft's name for a license text that it does not know begins with."""


def expressions(component: Json) -> list[str]:
    """Return the license expressions of a CycloneDX component; all of them apply. Empty when none is stated."""
    found = []
    for entry in component.get("licenses") or []:
        license_ = entry.get("license") or {}
        text = str(entry.get("expression") or license_.get("id") or license_.get("name") or "")
        found += [text] if text not in UNKNOWN else []
    return sorted(set(found))


def dependencies(components: list[Json]) -> list[Json]:
    """Return the components that others wrote: neither files nor the product's own main module."""
    own = "syft:metadata:mainModule"
    return [
        component
        for component in components
        if component.get("type") != "file"
        and {"name": own, "value": component["name"]} not in (component.get("properties") or [])
    ]


class Expression:
    """An SPDX license expression (SPDX 2.3, annex D) that is evaluated while it is read."""

    def __init__(self, text: str, accepted: Callable[[str], bool]) -> None:
        self.tokens: list[str] = re.findall(r"[()]|[^()\s]+", text)[::-1]
        self.accepted = accepted

    def next_is(self, word: str) -> bool:
        """Take the next token if it is `word`."""
        if self.tokens and self.tokens[-1].upper() == word:
            self.tokens.pop()
            return True
        return False

    def simple(self) -> bool:
        """Evaluate a license, with its exception, or what is in parentheses. Raises ValueError for anything else."""
        if self.next_is("("):
            result = self.either()
            if not self.next_is(")"):
                raise ValueError("a parenthesis is not closed")
            return result
        if not self.tokens or self.tokens[-1].upper() in {")", "AND", "OR", "WITH"}:
            raise ValueError("a license is missing")
        name = self.tokens.pop()
        if self.next_is("WITH") and self.tokens:
            return self.accepted(f"{name} WITH {self.tokens.pop()}") or self.accepted(name)
        return self.accepted(name)

    def both(self) -> bool:
        """Evaluate licenses that all apply."""
        result = self.simple()
        while self.next_is("AND"):
            result = self.simple() and result
        return result

    def either(self) -> bool:
        """Evaluate licenses of which one may be chosen."""
        result = self.both()
        while self.next_is("OR"):
            result = self.both() or result
        return result


def satisfied(text: str, accepted: Callable[[str], bool]) -> bool:
    """Return whether a license expression can be satisfied with accepted licenses.

    Text that is no expression, such as a license's name in words, is looked up whole.
    """
    expression = Expression(text, accepted)
    try:
        result = expression.either()
    except ValueError:
        return accepted(text)
    return accepted(text) if expression.tokens else result


def refusals(components: list[Json], policy: Json) -> Iterator[str]:
    """Yield what the license policy refuses."""
    allow, deny = set(policy.get("allow") or []), set(policy.get("deny") or [])
    for component in dependencies(components):
        found = expressions(component)
        known = [text for text in found if not text.startswith(UNRECOGNISED)]
        bad = [text for text in known if not satisfied(text, lambda x: x not in deny and (not allow or x in allow))]
        if bad:
            yield f"{component['name']} {component.get('version', '')}: the license {' and '.join(bad)} is refused"
        elif (not found or any(text.startswith(UNRECOGNISED) for text in found)) and policy.get("unknown") == "refuse":
            yield f"{component['name']} {component.get('version', '')}: its license is not known"


def notice(params: Params, components: list[Json]) -> str:
    """Return the list of components and licenses, sorted by name."""
    rows = sorted(
        f"{c['name']} {c.get('version', '')}: {' AND '.join(expressions(c)) or 'license not stated'}"
        for c in dependencies(components)
    )
    own = f" ({params['license']})" if params.get("license") else ""
    lines = [f"{params['name']} {params['version']}{own} contains:", "", *dict.fromkeys(rows)]
    return "\n".join(lines) + "\n"
