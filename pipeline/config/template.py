"""Templates in what people write: Jinja2, where a name that does not exist is an error."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from functools import cache
from typing import TYPE_CHECKING

from pipeline.errors import ConfigError
from pipeline.model.tree import File, Files

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
    """Return why `text` is not a template over the variables `names`, or an empty string if it is one."""
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


TEMPLATE = ".j2"
"""What the name of a file ends with that has values to be filled in."""


@cache
def _environment_over(files: Files) -> ImmutableSandboxedEnvironment:
    from jinja2 import DictLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    texts = {path: file.content.decode("utf-8", "replace") for path, file in files.entries}
    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        lstrip_blocks=True,
        trim_blocks=True,
        loader=DictLoader(texts),
    )


def render_files(files: Files, values: Mapping[str, object], *, library: Files, where: str) -> Files:
    """Return `files` with every template (`*.j2`) filled in, under its name without that suffix.

    All of them are files of `library`, and may include any other file of it by its path. The line of a statement
    (`{% if … %}`) leaves nothing behind.
    Raises ConfigError, naming `where` and the file.
    """
    from jinja2 import TemplateError

    made: dict[str, File] = {}
    for path, file in files.entries:
        if not path.endswith(TEMPLATE):
            made[path] = file
            continue
        try:
            text = _environment_over(library).get_template(path).render(values)
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            raise ConfigError(
                f"{where}: {path}{f' line {line}' if line else ''}: {error}",
                resolution=f"correct the template; the variables are {', '.join(sorted(values))}",
            ) from error
        made[path.removesuffix(TEMPLATE)] = File(text.encode("utf-8"), file.mode)
    return Files.of(made)
