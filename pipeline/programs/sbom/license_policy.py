"""The licenses of components: what the policy refuses, and a notice for people. A part of `sbom.py`, not a program.

Needs the library license_expression in its image.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.programs.common import Json, Problem

UNKNOWN = {"", "NOASSERTION", "NONE"}
UNRECOGNISED = "sha256:"
"""What syft's name for a license text that it does not know begins with."""


@dataclass(frozen=True)
class LicensePolicy:
    """Which licenses the policy allows (all of them, when it names none) and denies, by their identifiers."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    unknown: Literal["accept", "refuse"] = "accept"
    """What becomes of a component whose license is not known."""


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


def satisfied(text: str, accepted: Callable[[str], bool]) -> bool:
    """Return whether an SPDX license expression (SPDX 2.3, annex D) can be satisfied with accepted licenses.

    Text that is not an expression, such as a license's name in words, is looked up whole.
    """
    try:
        library = importlib.import_module("license_expression")
    except ImportError:
        raise Problem("this image lacks the Python library license_expression") from None
    try:
        parsed = library.Licensing().parse(text)
    except library.ExpressionError:
        parsed = None
    return accepted(text) if parsed is None else _holds(library, parsed, accepted)


def _holds(library: Any, expression: Any, accepted: Callable[[str], bool]) -> bool:
    if isinstance(expression, library.LicenseWithExceptionSymbol):
        return accepted(str(expression)) or accepted(expression.license_symbol.key)
    if isinstance(expression, library.LicenseSymbol):
        return accepted(expression.key)
    every = all if isinstance(expression, library.AND) else any
    return every(_holds(library, each, accepted) for each in expression.args)


def refusals(components: list[Json], policy: LicensePolicy) -> Iterator[str]:
    """Yield what the license policy refuses."""
    allow, deny = set(policy.allow), set(policy.deny)
    for component in dependencies(components):
        found = expressions(component)
        known = [text for text in found if not text.startswith(UNRECOGNISED)]
        bad = [text for text in known if not satisfied(text, lambda x: x not in deny and (not allow or x in allow))]
        if bad:
            yield f"{component['name']} {component.get('version', '')}: the license {' and '.join(bad)} is refused"
        elif (not found or any(text.startswith(UNRECOGNISED) for text in found)) and policy.unknown == "refuse":
            yield f"{component['name']} {component.get('version', '')}: its license is not known"


def notice(product: str, components: list[Json]) -> str:
    """Return the list of components and licenses, sorted by name, of what is called `product`."""
    rows = sorted(
        f"{c['name']} {c.get('version', '')}: {' AND '.join(expressions(c)) or 'license not stated'}"
        for c in dependencies(components)
    )
    lines = [f"{product} contains:", "", *dict.fromkeys(rows)]
    return "\n".join(lines) + "\n"
