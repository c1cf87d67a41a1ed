"""How a request becomes the arguments of a function of Dagger, each with its type, default and documentation."""

import inspect
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Annotated, Any, TypeVar, cast

import dagger
from dagger import DefaultPath, Doc, Ignore, enum_type, function

from pipeline.run.request import OPTIONS, VERBS, Group, Kind, Option, Request, options_of

Result = TypeVar("Result")


CONTEXT: dict[str, tuple[Any, ...]] = {
    # Of the repository: git's own files without what changes and says nothing of a commit, and what it ignores.
    "repository": (
        DefaultPath("/"),
        Ignore(
            ["*", "!.git", "!.gitignore", ".git/hooks", ".git/index", ".git/logs", ".git/*_HEAD", ".git/COMMIT_EDITMSG"]
        ),
    )
}
"""What Dagger passes for an option that is not given, by the name of the option: part of what the module is in."""


@enum_type
class Fips(Enum):
    """The validated module that a FIPS binary uses."""

    BORINGCRYPTO = "BORINGCRYPTO"
    """BoringCrypto."""
    GO = "GO"
    """The Go Cryptographic Module, CMVP certificate 5247."""


@enum_type
class Drawing(Enum):
    """How a graph is drawn."""

    MERMAID = "MERMAID"
    """Mermaid text."""
    DOT = "DOT"
    """DOT text, of which Graphviz makes a picture."""


TYPES: dict[Kind, Any] = {
    Kind.TEXT: str,
    Kind.FLAG: bool,
    Kind.NUMBER: int,
    Kind.TEXTS: list[str] | None,
    Kind.FILE: dagger.File | None,
    Kind.FOLDER: dagger.Directory | None,
    Kind.FOLDERS: list[dagger.Directory] | None,
    Kind.SECRET: dagger.Secret | None,
}
MANY = (Kind.TEXTS, Kind.FOLDERS)


def documented(name: str) -> Doc:
    """Return the documentation of an option, for an argument of the module itself."""
    return Doc(OPTIONS[name].text)


def uncached(method: Callable[..., Result]) -> Callable[..., Result]:
    """Make a method a function of the module that Dagger runs each time: its result depends on the day, or a secret.

    The steps below it are cached all the same. (The SDK has this policy at run time, and not in its types.)
    """
    made = function(cache="never")(method)  # type: ignore[call-overload]
    return cast(Callable[..., Result], made)


def of_request(verb: str = "") -> Callable[[Callable[..., Awaitable[Result]]], Callable[..., Awaitable[Result]]]:
    """Make a method that takes a `Request` a function of the module that takes the options of `verb`.

    The method's own keyword arguments come after them. Dagger reads an ordinary signature; see
    `dagger.mod._resolver.FunctionResolver`.
    """
    asked = [each for each in options_of(*VERBS.get(verb, ()), Group.IMAGES) if each.argument]

    def decorate(method: Callable[..., Awaitable[Result]]) -> Callable[..., Awaitable[Result]]:
        own = [p for p in inspect.signature(method).parameters.values() if p.kind is p.KEYWORD_ONLY]

        async def call(self: Any, **given: Any) -> Result:
            rest = {parameter.name: given.pop(parameter.name) for parameter in own if parameter.name in given}
            return await method(self, _request(self, asked, given), **rest)

        parameters = [
            inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            *sorted([*map(_parameter, asked), *own], key=lambda each: each.default is not each.empty),
        ]
        returns = inspect.signature(method).return_annotation
        call.__signature__ = inspect.Signature(parameters, return_annotation=returns)  # type: ignore[attr-defined]
        call.__annotations__ = {each.name: each.annotation for each in parameters[1:]} | {"return": returns}
        call.__name__, call.__doc__ = method.__name__, method.__doc__
        call.__qualname__, call.__module__ = method.__qualname__, method.__module__
        return uncached(call)

    return decorate


def _parameter(each: Option) -> inspect.Parameter:
    kind, default = TYPES[each.kind], None if each.kind in MANY else each.default
    if each.choices:
        kind, default = Fips, Fips[each.default.upper()]
    if each.name == "tag" or each.name in CONTEXT:  # Dagger takes one default: none, or a path
        kind, default = getattr(kind, "__args__", (kind,))[0], inspect.Parameter.empty
    return inspect.Parameter(
        each.argument,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[(kind, Doc(each.text), *CONTEXT.get(each.name, ()))],
    )


def _request(module: Any, asked: list[Option], given: dict[str, Any]) -> Request:
    values = {each.name: _value(each, given[each.argument]) for each in asked if each.argument in given}
    machine = {each.name: getattr(module, each.name) for each in options_of(Group.MACHINE) if each.argument}
    return Request(**machine, **values)


def _value(each: Option, value: Any) -> Any:
    if isinstance(value, Enum):
        return str(value.value).lower()
    return tuple(value or ()) if each.kind in MANY else value
