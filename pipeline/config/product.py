"""Products: what `packaging/products/<name>/product.toml` says, and what follows from it for one version."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from pipeline.config.build import Build, GatedToolchain, Line, RelativePath, Variant, relative_path, template_over
from pipeline.config.packages import Packages
from pipeline.config.template import render
from pipeline.config.toml import Document, parse_document, read_document
from pipeline.errors import ConfigError, UsageError
from pipeline.model.distribution import Format
from pipeline.model.target import TARGETS, Target
from pipeline.model.version import Scheme, Version, in_range

__all__ = ["FILE_NAME", "Build", "Product", "Variant", "list_products", "load_product", "parse_product"]

FILE_NAME = "product.toml"

NAME_VARIABLES = ("name", "version", "os", "arch", "variant", "suffix")
"""What the template of an artifact's name may use."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$", max_length=64)]
"""What Debian Policy 5.6.1 allows as the name of a package, which RPM allows too."""


class VersionRules(Document):
    """How the product numbers its releases."""

    scheme: Annotated[Scheme, Field(strict=False)] = Scheme.SEMVER
    require_prefix: bool = False


class SourceRules(Document):
    """Where the source is: a git repository, or a folder of the project's own repository."""

    git: str = ""
    path: Annotated[str, AfterValidator(lambda path: relative_path(path) if path else path)] = ""
    tag: str = "v{version}"
    """The name of the git tag of a version. A pattern, not a template: it is also read backwards."""
    module: RelativePath = "."
    """The folder with `go.mod`."""

    @field_validator("git")
    @classmethod
    def _check_git(cls, url: str) -> str:
        if url and urlsplit(url).scheme not in ("https", "ssh"):
            raise ValueError(f"{url!r} is not an https or ssh URL; another source is given with --source")
        if urlsplit(url).password or (urlsplit(url).scheme == "https" and urlsplit(url).username):
            raise ValueError("a URL in a product must not carry credentials")
        return url

    @field_validator("tag")
    @classmethod
    def _check_tag(cls, style: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_./-]*\{version\}[A-Za-z0-9_.-]*", style) or style.startswith(("-", "/")):
            raise ValueError(f"{style!r} is not a tag with {{version}} in it once, such as v{{version}} or {{version}}")
        return style

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if bool(self.git) == bool(self.path):
            raise ValueError("give either `git` (a URL) or `path` (a folder of this repository), not both or neither")
        return self


class Archive(Document):
    """The tar archive of each binary."""

    files: tuple[RelativePath, ...] = ()
    """Files of the source that go with the binary, seen from the source's root."""


class Scan(Document):
    """Where the scanners' knowledge comes from."""

    database: Literal["feed", "advisories"] = "feed"
    advisories: RelativePath = "advisories"
    """A folder of OSV advisories beside `product.toml`, for `database = "advisories"`."""
    reachability: bool = True
    """Let govulncheck look for a call path to the vulnerable code of each binary. It needs time and memory."""


class Product(Document):
    """One product. Pure: the folder it was read from is the caller's."""

    name: Name
    title: Line
    summary: Annotated[Line, Field(max_length=80)]
    description: str = ""
    homepage: Annotated[str, Field(pattern=r"^https://[^\s]+$")]
    license: Annotated[str, Field(pattern=r"^[A-Za-z0-9.+() -]+$")]
    """An SPDX license expression (SPDX 2.3, annex D)."""
    maintainer: Annotated[str, Field(pattern=r"^[^<>]+ <[^<>@\s]+@[^<>@\s]+>$")]
    vendor: Line
    version: VersionRules = VersionRules()
    source: SourceRules
    build: Build
    artifact_name: Annotated[str, template_over(NAME_VARIABLES)] = (
        "{{ name }}-{{ version }}-{{ os }}-{{ arch }}{{ suffix }}"
    )
    archive: Archive = Archive()
    scan: Scan = Scan()
    packages: Packages | None = None
    stages: tuple[str, ...] = ("archive", "sbom", "scan")
    """The stages that are not part of every release, by their names in `pipeline/stages/table.py`."""

    @model_validator(mode="after")
    def _check_packages(self) -> Self:
        wanted = [format_ for format_ in Format if format_.value in self.stages]
        if self.packages is None:
            if wanted:
                raise ValueError(f"stages has {wanted[0].value!r}, but there is no table [packages]")
            return self
        variants = {variant.name: variant for variant in self.build.variants}
        for name in self.packages.variants:
            if name not in variants:
                raise ValueError(f"packages.variants: {name!r} is not a variant; allowed: {', '.join(variants)}")
            package = self.name + variants[name].suffix
            if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", package):
                raise ValueError(f"packages.variants: {package!r} cannot be the name of a package: no underscore")
        for format_ in wanted:
            if not self.packages.of(format_):
                raise ValueError(f"stages has {format_.value!r}, but packages.distributions has none of that format")
        return self

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """What the product is built for, in the order of the file."""
        return tuple(TARGETS[name] for name in self.build.targets)

    def variant(self, name: str) -> Variant:
        """Return the variant called `name`. Raises UsageError, naming those that there are."""
        found = next((variant for variant in self.build.variants if variant.name == name), None)
        if found is None:
            names = [variant.name for variant in self.build.variants]
            near = difflib.get_close_matches(name, names, n=1)
            raise UsageError(
                f"{self.name} has no variant {name!r}" + (f"; did you mean {near[0]}?" if near else ""),
                resolution=f"choose from {', '.join(names)}",
            )
        return found

    def variants(self, names: tuple[str, ...] = ()) -> tuple[Variant, ...]:
        """Return the variants to build: those named, or all that are not optional.

        Raises UsageError for a name that does not exist.
        """
        if names:
            wanted = {self.variant(name).name for name in names}
            return tuple(variant for variant in self.build.variants if variant.name in wanted)
        return tuple(variant for variant in self.build.variants if not variant.optional)

    def tags(self, version: Version, variant: Variant) -> tuple[str, ...]:
        """Return the Go build tags of `variant` at `version`."""
        own = [tag.value for tag in self.build.tags if in_range(version, tag.versions, self.version.scheme)]
        return tuple(dict.fromkeys([*own, *variant.tags]))

    def toolchain(self, version: Version) -> GatedToolchain | None:
        """Return the toolchain that the product names for `version`, or None where the source decides."""
        rules = (rule for rule in self.build.toolchains if in_range(version, rule.versions, self.version.scheme))
        return next(rules, None)

    def ldflags(self, version: Version, *, commit: str, epoch: int) -> tuple[str, ...]:
        """Return the linker flags at `version`, filled in. Raises ConfigError for a template that fails."""
        values = {"version": version.number, "commit": commit, "epoch": epoch}
        return tuple(
            render(flag.value, values, where=f"{self.name}: build.ldflags[{index}]")
            for index, flag in enumerate(self.build.ldflags)
            if in_range(version, flag.versions, self.version.scheme)
        )

    def version_output(self, version: Version, variant: Variant, target: Target, *, commit: str, epoch: int) -> str:
        """Return the line that the binary's version command must print."""
        values: Mapping[str, object] = {
            "version": version.number, "commit": commit, "epoch": epoch,
            "os": target.os, "arch": target.arch, "variant": variant.name,
        }  # fmt: skip
        text = variant.version_output or self.build.version_output
        return render(text, values, where=f"{self.name}: build.version_output")

    def artifact(self, version: Version, target: Target, variant: Variant) -> str:
        """Return the name of the binary, from which the names of all that belongs to it are made."""
        values: Mapping[str, object] = {
            "name": self.name, "version": version.file, "os": target.os, "arch": target.arch,
            "variant": variant.name, "suffix": variant.suffix,
        }  # fmt: skip
        return render(self.artifact_name, values, where=f"{self.name}: artifact_name")


def parse_product(text: str, *, where: str) -> Product:
    """Return the product that a TOML text describes; `where` names its file. Raises ConfigError."""
    return parse_document(Product, text, where=where)


def list_products(directory: Path) -> tuple[str, ...]:
    """Return the names of the products below `directory` (`packaging/products`), sorted."""
    return tuple(sorted(path.parent.name for path in directory.glob(f"*/{FILE_NAME}")))


def load_product(directory: Path) -> Product:
    """Return the product in `directory` (`packaging/products/<name>`).

    Raises UsageError for a product that does not exist, ConfigError for a file that is not valid.
    """
    path = directory / FILE_NAME
    if not path.is_file():
        names = list_products(directory.parent)
        near = difflib.get_close_matches(directory.name, names, n=1)
        raise UsageError(
            f"there is no product {directory.name!r}" + (f"; did you mean {near[0]}?" if near else ""),
            details=f"{path} does not exist",
            resolution=f"choose from {', '.join(names)}" if names else f"add a folder with {FILE_NAME}",
        )
    product = parse_product(read_document(path), where=str(path))
    if product.name != directory.name:
        raise ConfigError(
            f"{path}: name: {product.name!r} is not the name of its folder, {directory.name!r}",
            resolution="rename the folder, or correct the name",
        )
    return product
