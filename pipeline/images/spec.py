"""`packaging/images.toml`: every environment that steps run in, as people write it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pipeline.errors import ConfigError
from pipeline.images.reference import Reference
from pipeline.images.sources import module_sources
from pipeline.model.image import DEFAULT_PATH
from pipeline.model.tree import Files


def _absolute(text: str) -> str:
    normal = text == "/" or (text.startswith("/") and str(PurePosixPath(text)) == text and not text.startswith("//"))
    if not normal or ".." in PurePosixPath(text).parts or ":" in text or not text.isprintable():
        raise ValueError("must be an absolute path without .. or a colon, like /usr/local/bin")
    return text


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
Package = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_:@=~-]*$")]
Absolute = Annotated[str, AfterValidator(_absolute)]
Glob = Annotated[str, StringConstraints(pattern=r"^/[^\s=,\"']+$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]+$")]
Value = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._{}+-]*$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Slim(_Table):
    """What is left out of every bootstrapped root, as dpkg's `path-exclude` and `path-include` globs."""

    exclude: tuple[Glob, ...] = Field(default=(), strict=False)
    keep: tuple[Glob, ...] = Field(default=(), strict=False)


class RootSpec(_Table):
    """A root file system made with mmdebstrap from Debian's packages."""

    suite: Name
    packages: tuple[Package, ...] = Field(strict=False)
    components: tuple[Name, ...] = Field(default=("main",), strict=False)
    exclude: tuple[Glob, ...] = Field(default=(), strict=False)
    keep: tuple[Glob, ...] = Field(default=(), strict=False)


class ToolchainSpec(_Table):
    """An official Go toolchain, fetched as the module `golang.org/toolchain` and pinned by its `h1:` sum."""

    kind: Literal["go-toolchain"]
    mount: Absolute
    path: tuple[Absolute, ...] = Field(strict=False)
    version: Annotated[str, StringConstraints(pattern=r"^1\.[0-9]+(\.[0-9]+)?$")]
    sum: Annotated[str, StringConstraints(pattern=r"^h1:[A-Za-z0-9+/]{43}=$")]


class ProgramSpec(_Table):
    """A program built from a Go package that the module `packaging/tools/<module>` pins in its go.sum."""

    kind: Literal["go-program"]
    mount: Absolute
    path: tuple[Absolute, ...] = Field(strict=False)
    module: Name
    package: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.][A-Za-z0-9._~/-]*$")]
    variables: dict[Variable, Value] = Field(default_factory=dict)

    @property
    def program(self) -> str:
        """The name of the executable: the last element of the package's path, a major version aside."""
        parts = self.package.rstrip("/").split("/")
        versioned = len(parts) > 1 and parts[-1][:1] == "v" and parts[-1][1:].isdigit()
        return parts[-2] if versioned else parts[-1]


ToolSpec = Annotated[ToolchainSpec | ProgramSpec, Field(discriminator="kind")]


class Bootstrap(_Table):
    """How to make an image where no container registry is reachable: a root with tools laid over it."""

    root: Name
    tools: tuple[Name, ...] = Field(default=(), strict=False)
    stands_in_for: str = ""
    note: str = ""


class ImageSpec(_Table):
    """One environment: where it comes from with a registry, and how it is made without one."""

    reference: str
    manager: Literal["", "apt", "dnf"] = ""
    packages: tuple[Package, ...] = Field(default=(), strict=False)
    path: tuple[Absolute, ...] = Field(default=DEFAULT_PATH, strict=False)
    bootstrap: Bootstrap


class _Document(_Table):
    slim: Slim = Slim()
    roots: dict[Name, RootSpec]
    tools: dict[Name, ToolSpec] = Field(default_factory=dict)
    images: dict[Name, ImageSpec]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpecs:
    """Everything `images.toml` says, checked, with the sources of the Go modules that its tools are built from."""

    slim: Slim
    roots: dict[str, RootSpec]
    tools: dict[str, ToolchainSpec | ProgramSpec]
    images: dict[str, ImageSpec]
    modules: dict[str, Files]
    folder: Path

    def image(self, name: str) -> ImageSpec:
        """Return the image called `name`. Raises ConfigError that lists the names there are."""
        return pick(self.images, name, "image")

    def mount_points(self, root: str) -> tuple[str, ...]:
        """Return where trees are laid over images made from `root`, sorted."""
        users = [image.bootstrap for image in self.images.values() if image.bootstrap.root == root]
        return tuple(sorted({self.tools[tool].mount for user in users for tool in user.tools}))


_Value = TypeVar("_Value")


def pick(table: dict[str, _Value], name: str, what: str) -> _Value:
    """Return `table[name]`. Raises ConfigError that lists the names there are."""
    if name not in table:
        raise ConfigError(
            f"there is no {what} called {name!r} in images.toml",
            resolution=f"use one of: {', '.join(sorted(table))}",
        )
    return table[name]


def load_images(packaging: Path) -> ImageSpecs:
    """Read and check `packaging/images.toml` and the Go modules below `packaging/tools` that it names.

    Raises ConfigError, which names the key and what is allowed there.
    """
    path = packaging / "images.toml"
    try:
        document = _Document.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML", details=str(error)) from error
    except ValidationError as error:
        raise _invalid(path, [_complaint(dict(problem)) for problem in error.errors()]) from error
    problems = _contradictions(document)
    if problems:
        raise _invalid(path, problems)
    names = sorted({tool.module for tool in document.tools.values() if isinstance(tool, ProgramSpec)})
    return ImageSpecs(
        slim=document.slim,
        roots=document.roots,
        tools=document.tools,
        images=document.images,
        modules={name: module_sources(packaging / "tools", name) for name in names},
        folder=packaging,
    )


def _invalid(path: Path, problems: list[str]) -> ConfigError:
    return ConfigError(
        f"{path} is not valid", details="\n".join(problems), resolution="correct the keys above and run it again"
    )


def _complaint(problem: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in problem["loc"] if part not in ("go-toolchain", "go-program"))
    if problem["type"] == "extra_forbidden":
        return f"{where}: there is no such key"
    got = f", not {problem['input']!r}" if isinstance(problem["input"], str | int | float) else ""
    return f"{where}: {problem['msg'][:1].lower()}{problem['msg'][1:]}{got}"


def _contradictions(document: _Document) -> list[str]:
    """Return what is wrong between tables, one line for each key."""
    problems = []
    for name, image in document.images.items():
        at = f"images.{name}"
        try:
            Reference.parse(image.reference)
        except ConfigError as error:
            problems.append(f"{at}.reference: {error.brief} ({error.details})")
        if image.packages and not image.manager:
            problems.append(f'{at}.manager: says how to add `packages`: "apt" or "dnf"')
        if image.bootstrap.root not in document.roots:
            allowed = ", ".join(sorted(document.roots))
            problems.append(f"{at}.bootstrap.root: {image.bootstrap.root!r} is not one of: {allowed}")
        unknown = [tool for tool in image.bootstrap.tools if tool not in document.tools]
        allowed = ", ".join(sorted(document.tools)) or "(there are no tools)"
        problems += [f"{at}.bootstrap.tools: {tool!r} is not one of: {allowed}" for tool in unknown]
        if not unknown:
            problems += _overlaps(at, [document.tools[tool].mount for tool in image.bootstrap.tools])
    if not any(isinstance(tool, ProgramSpec) for tool in document.tools.values()):
        return problems
    if "go" not in document.images:
        problems.append('images.go: tools of kind "go-program" are built in the image called "go"')
    elif {"go-program"} & {
        document.tools[tool].kind for tool in document.images["go"].bootstrap.tools if tool in document.tools
    }:
        problems.append('images.go.bootstrap.tools: a "go-program" cannot be part of the image that builds it')
    return problems


def _overlaps(at: str, mounts: list[str]) -> list[str]:
    ordered = sorted(f"{mount}/" for mount in mounts)
    return [
        f"{at}.bootstrap.tools: {one.rstrip('/')} and {two.rstrip('/')} would lie over each other"
        for one, two in pairwise(ordered)
        if two.startswith(one)
    ]
