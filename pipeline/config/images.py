"""`packaging/images.toml`: every environment that steps run in, as people write it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, StringConstraints

from pipeline.config.go_modules import module_sources
from pipeline.config.mirror import Archive
from pipeline.config.toml import Document, parse_document, read_document
from pipeline.errors import ConfigError
from pipeline.model.image import DEFAULT_PATH
from pipeline.model.tree import Files
from pipeline.oci.reference import Reference


def _absolute(text: str) -> str:
    normal = text == "/" or (text.startswith("/") and str(PurePosixPath(text)) == text and not text.startswith("//"))
    if not normal or ".." in PurePosixPath(text).parts or ":" in text or not text.isprintable():
        raise ValueError("must be an absolute path without .. or a colon, like /usr/local/bin")
    return text


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
Package = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_:@=~-]*$")]
Absolute = Annotated[str, AfterValidator(_absolute)]
Glob = Annotated[str, StringConstraints(pattern=r"^/[^\s=,\"']+$")]
GoPackage = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.][A-Za-z0-9._~/-]*$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._/-]+$")]
Program = Annotated[str, StringConstraints(pattern=r"^([*]|[a-z][a-z0-9_-]*)$")]
Need = Annotated[
    str,
    StringConstraints(
        pattern=r"^(python3>=3[.][0-9]+|python3:[A-Za-z0-9_]+|/[A-Za-z0-9._+/-]+"
        r"|[A-Za-z0-9][A-Za-z0-9._+-]*([|][A-Za-z0-9][A-Za-z0-9._+-]*)*)$"
    ),
]
GoVersion = Annotated[str, StringConstraints(pattern=r"^1\.[0-9]+(\.[0-9]+)?$")]
Sum = Annotated[str, StringConstraints(pattern=r"^h1:[A-Za-z0-9+/]{43}=$")]
Value = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._{}+-]*$")]

STANDARD = frozenset({"/usr/local/bin", "/usr/local/sbin"})
"""Folders that every root has (FHS 3.0, section 4.9): a tool that is mounted there needs no mount point made for it."""

EVERY_STEP = "*"
"""The name, in `needs` of an image, for what every step needs."""

BUILDER = "go"
"""The image that programs are built in."""


class Slim(Document):
    """What is left out of every bootstrapped root, as dpkg's `path-exclude` and `path-include` globs."""

    exclude: tuple[Glob, ...] = ()
    keep: tuple[Glob, ...] = ()


class RootSpec(Document):
    """A root file system made with mmdebstrap from Debian's packages."""

    suite: Name
    packages: tuple[Package, ...]
    components: tuple[Name, ...] = Field(default=("main",))
    exclude: tuple[Glob, ...] = ()
    keep: tuple[Glob, ...] = ()


class ToolchainSpec(Document):
    """An official Go toolchain, fetched as the module `golang.org/toolchain` and pinned by its `h1:` sum."""

    mount: Absolute
    path: tuple[Absolute, ...]
    version: GoVersion
    sum: Sum


class ProgramSpec(Document):
    """A program built from a Go package of what the module `packaging/tools/<module>` requires, or of its own."""

    mount: Absolute
    path: tuple[Absolute, ...]
    module: Name
    package: GoPackage
    variables: dict[Variable, Value] = Field(default_factory=dict)
    seconds: int = Field(default=0, ge=0)
    """What compiling it takes with two cores to itself, to tell people what they wait for."""


class Bootstrap(Document):
    """How to make an image where no container registry is reachable."""

    root: Name
    stands_in_for: str = ""
    note: str = ""


class ImageSpec(Document):
    """One environment: where it comes from with a registry, how it is made without one, and what is laid over it."""

    reference: str
    manager: Literal["", "apt", "dnf"] = ""
    packages: tuple[Package, ...] = ()
    path: tuple[Absolute, ...] = Field(default=DEFAULT_PATH)
    tools: tuple[Name, ...] = ()
    needs: dict[Program, tuple[Need, ...]] = Field(default_factory=dict)
    """What the steps that run in it need of its root, by program; `pipeline.images.needs` says what can be written."""
    bootstrap: Bootstrap
    distribution: Archive | None = None
    """What `--roots distribution` makes it from: `packages`, out of the distribution's own archive."""


class _Images(Document):
    slim: Slim = Slim()
    roots: dict[Name, RootSpec]
    toolchains: dict[Name, ToolchainSpec] = Field(default_factory=dict)
    programs: dict[Name, ProgramSpec] = Field(default_factory=dict)
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

    @property
    def mounts(self) -> tuple[str, ...]:
        """What has to be there to lay trees over images, sorted."""
        return tuple(sorted({tool.mount for tool in self.tools.values()} - STANDARD))

    def mount_points(self, root: str) -> tuple[str, ...]:
        """Return what has to be there to lay trees over images made from `root`, sorted."""
        users = [image for image in self.images.values() if image.bootstrap.root == root]
        return tuple(sorted({self.tools[tool].mount for user in users for tool in user.tools} - STANDARD))


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
    document = parse_document(_Images, read_document(path), where=str(path))
    problems = _contradictions(document)
    if problems:
        raise _invalid(path, problems)
    names = sorted({program.module for program in document.programs.values()})
    return ImageSpecs(
        slim=document.slim,
        roots=document.roots,
        tools={**document.toolchains, **document.programs},
        images={name: _with_packages(document, image) for name, image in document.images.items()},
        modules={name: module_sources(packaging / "tools", name) for name in names},
        folder=packaging,
    )


def _with_packages(document: _Images, image: ImageSpec) -> ImageSpec:
    """Return `image` with what is added to its registry's image: without packages of its own, those of its root."""
    if image.packages or not image.manager:
        return image
    return image.model_copy(update={"packages": document.roots[image.bootstrap.root].packages})


def _invalid(path: Path, problems: list[str]) -> ConfigError:
    return ConfigError(
        f"{path} is not valid", details="\n".join(problems), resolution="correct the keys above and run it again"
    )


def _contradictions(document: _Images) -> list[str]:
    """Return what is wrong between tables, one line for each key."""
    tools: dict[str, ToolchainSpec | ProgramSpec] = {**document.toolchains, **document.programs}
    twice = sorted(document.toolchains.keys() & document.programs.keys())
    problems = [f"programs.{name}: there is a toolchain of that name already" for name in twice]
    if document.programs and BUILDER not in document.images:
        problems.append(f"images.{BUILDER}: required, because programs are built in it")
    for name, image in document.images.items():
        problems += _image_contradictions(document, tools, name, image)
    return problems


def _image_contradictions(
    document: _Images, tools: dict[str, ToolchainSpec | ProgramSpec], name: str, image: ImageSpec
) -> list[str]:
    at = f"images.{name}"
    problems = []
    try:
        Reference.parse(image.reference)
    except ConfigError as error:
        problems.append(f"{at}.reference: {error.brief} ({error.details})")
    if image.packages and not image.manager:
        problems.append(f'{at}.manager: says how to add `packages`: "apt" or "dnf"')
    if image.distribution and image.distribution.manager != image.manager:
        problems.append(f"{at}.distribution: is an archive of {image.distribution.manager}, and `manager` is another")
    if image.bootstrap.root not in document.roots:
        problems.append(f"{at}.bootstrap.root: {image.bootstrap.root!r} is not one of: {', '.join(document.roots)}")
    allowed = ", ".join(sorted(tools)) or "(there are no tools)"
    problems += [f"{at}.tools: {tool!r} is not one of: {allowed}" for tool in image.tools if tool not in tools]
    if name == BUILDER and set(image.tools) & document.programs.keys():
        problems.append(f"{at}.tools: a program cannot be part of the image that builds it")
    return problems + _overlaps(at, [tools[tool].mount for tool in image.tools if tool in tools])


def _overlaps(at: str, mounts: list[str]) -> list[str]:
    ordered = sorted(f"{mount}/" for mount in mounts)
    return [
        f"{at}: its tools {one.rstrip('/')} and {two.rstrip('/')} would cover each other"
        for one, two in pairwise(ordered)
        if two.startswith(one)
    ]
