"""The tables of a product that say how its binary is built."""

from __future__ import annotations

import difflib
import re
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from pipeline.config.template import template_fault
from pipeline.config.toml import Document
from pipeline.errors import VersionError
from pipeline.model.target import TARGETS
from pipeline.model.version import Scheme, parse_range

STAMP_VARIABLES = ("version", "commit", "epoch")
"""What an ldflags template may use: the version, the commit's digest, and the commit's time in seconds."""
OUTPUT_VARIABLES = (*STAMP_VARIABLES, "os", "arch", "variant")
"""What the expected output of the version command may use."""

_OWN_VARIABLES = {
    "CGO_ENABLED", "GOARCH", "GOCACHE", "GOENV", "GOEXPERIMENT", "GOFIPS140", "GOFLAGS", "GOMODCACHE", "GOOS",
    "GOPATH", "GOPROXY", "GOROOT", "GOSUMDB", "GOTOOLCHAIN",
}  # fmt: skip


def relative_path(path: str) -> str:
    """Return `path` if it is plain, relative and stays inside; `.` is the folder itself. Raises ValueError."""
    pure = PurePosixPath(path)
    if path != "." and (not path or pure.is_absolute() or ".." in pure.parts or str(pure) != path):
        raise ValueError(f"{path!r} is not a plain relative path without `..`")
    return path


def one_line(text: str) -> str:
    """Return `text` if it is one line of printable text. Raises ValueError."""
    if not text.isprintable() or text != text.strip() or not text:
        raise ValueError(f"{text!r} is not one line of printable text without spaces around it")
    return text


def template_over(names: tuple[str, ...]) -> AfterValidator:
    """Return the check that a text is a template over the variables `names`."""

    def check(text: str) -> str:
        if fault := template_fault(text, names):
            raise ValueError(fault)
        return text

    return AfterValidator(check)


def _range(text: str) -> str:
    try:
        parse_range(text, Scheme.DOTTED)
    except VersionError as error:
        raise ValueError(f"{error.brief}; {error.resolution}") from error
    return text


def _gated(value: Any) -> Any:
    return {"value": value} if isinstance(value, str) else value


Line = Annotated[str, AfterValidator(one_line)]
RelativePath = Annotated[str, AfterValidator(relative_path)]
GoTag = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+$")]


class Gated(Document):
    """A value that holds for a range of versions only; a bare string in TOML holds for all."""

    value: str
    versions: Annotated[str, AfterValidator(_range)] = ""


class GatedToolchain(Gated):
    """A Go toolchain: a minor version such as `1.23`, whose patch is in toolchains.lock, or one patch: `1.23.4`."""

    value: Annotated[str, Field(pattern=r"^1\.[0-9]+(\.[0-9]+)?$")]
    sum: Annotated[str, Field(pattern=r"^(h1:[A-Za-z0-9+/]{43}=)?$")] = ""
    """The `h1:` sum of one patch that toolchains.lock does not have."""


def _one_word(flag: str) -> str:
    if re.search(r"[\s'\"\\]", re.sub(r"\{\{.*?\}\}", "", flag)):
        raise ValueError(f"{flag!r} has a space or a quote in it; write each flag alone, as in -X=path.NAME=value")
    return flag


class GatedFlag(Gated):
    """One linker flag, without spaces: the Go command splits its list of flags at them."""

    value: Annotated[str, template_over(STAMP_VARIABLES), AfterValidator(_one_word)]


class Variant(Document):
    """One way to build the product."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    suffix: Annotated[str, Field(pattern=r"^(-[a-z0-9_.]+)*$")]
    """What the variant adds to the names of its artifacts."""
    title: Line | None = None
    fips: bool = False
    tags: tuple[GoTag, ...] = ()
    optional: bool = False
    """Built only when it is asked for."""
    version_output: Annotated[str, template_over(OUTPUT_VARIABLES)] | None = None


class Build(Document):
    """How the binary is built, and how each one is proved to be the right one."""

    binary: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    package: Annotated[str, Field(pattern=r"^\.(/[A-Za-z0-9_.-]+)*$")] = "."
    """The Go package with `main`, seen from the module's root."""
    tags: tuple[Annotated[Gated, BeforeValidator(_gated)], ...] = ()
    ldflags: tuple[Annotated[GatedFlag, BeforeValidator(_gated)], ...] = ()
    toolchains: tuple[Annotated[GatedToolchain, BeforeValidator(_gated)], ...] = ()
    """Overrides of the Go toolchain that the source asks for; the first one that holds for a version counts."""
    cgo: bool = False
    static: bool = True
    env: Annotated[dict[str, str], Field(default_factory=dict)]
    """More environment of the Go command: CGO_CFLAGS, GOAMD64, GODEBUG and the like."""
    variants: Annotated[tuple[Variant, ...], Field(min_length=1)]
    targets: Annotated[tuple[str, ...], Field(min_length=1)]
    version_command: tuple[Line, ...] = ("version",)
    """The arguments that make the binary print its version."""
    version_output: Annotated[str, template_over(OUTPUT_VARIABLES)]
    """The line that it must print."""

    @field_validator("env")
    @classmethod
    def _check_env(cls, env: dict[str, str]) -> dict[str, str]:
        for name in env:
            if name in _OWN_VARIABLES:
                raise ValueError(f"{name} is set by the build itself")
            if not re.fullmatch(r"(CGO_|GO)[A-Z0-9_]+", name):
                raise ValueError(f"{name!r} is not a variable of the Go command (CGO_* or GO*)")
        return env

    @field_validator("targets")
    @classmethod
    def _check_targets(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        unknown = next((name for name in targets if name not in TARGETS), None)
        if unknown is not None:
            near = difflib.get_close_matches(unknown, TARGETS, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else "."
            raise ValueError(f"{unknown!r} is not a target{hint} Allowed: {', '.join(TARGETS)}")
        if len(set(targets)) != len(targets):
            raise ValueError("a target is named twice")
        return targets

    @field_validator("variants")
    @classmethod
    def _check_variants(cls, variants: tuple[Variant, ...]) -> tuple[Variant, ...]:
        for attribute in ("name", "suffix"):
            values = [getattr(variant, attribute) for variant in variants]
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                raise ValueError(f"two variants have the {attribute} {twice!r}")
        return variants
