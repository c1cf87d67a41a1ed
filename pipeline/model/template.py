"""Templates in what people write: Jinja2, where a name that does not exist is an error."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from functools import cache
from typing import TYPE_CHECKING

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import ImmutableSandboxedEnvironment


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)


@cache
def _template(text: str) -> Template:
    return _environment().from_string(text)


def template_fault(text: str, names: Collection[str]) -> str:
    """Return why `text` is no template over the variables `names`, or an empty string if it is one."""
    from jinja2 import TemplateSyntaxError, meta

    try:
        unknown = meta.find_undeclared_variables(_environment().parse(text)) - set(names)
    except TemplateSyntaxError as error:
        return f"not a template: {error.message}"
    if not unknown:
        return ""
    name = min(unknown)
    near = difflib.get_close_matches(name, sorted(names), n=1)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    return f"`{name}` is not a variable here{hint} Allowed: {', '.join(sorted(names))}"


def render(text: str, values: Mapping[str, object], *, where: str) -> str:
    """Return `text` with `values` filled in. Raises ConfigError, naming `where`, when it cannot be rendered."""
    from jinja2 import TemplateError

    try:
        return _template(text).render(values)
    except TemplateError as error:
        raise ConfigError(
            f"{where}: cannot fill in {text!r}: {error}", resolution=f"the variables are {', '.join(sorted(values))}"
        ) from error
