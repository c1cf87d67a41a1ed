"""Packages: what the stages `deb` and `rpm` share: the files they are made from, names, versions and dates."""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import format_datetime
from functools import lru_cache
from pathlib import Path

from pipeline.config.packages import Packages
from pipeline.config.product import Product, Variant
from pipeline.config.template import render_files
from pipeline.errors import ConfigError
from pipeline.model.artifact import Artifact, Kind
from pipeline.model.distribution import Distribution, Format
from pipeline.model.target import TARGETS, Target
from pipeline.model.tree import File, Files, Merge, Tree
from pipeline.programs.package.package import PackagedBinary
from pipeline.stages.context import Context
from pipeline.stages.stage import Made, gated

IGNORED = (".", "__pycache__")
"""How the names begin of what editors and interpreters leave in a folder."""

SHARED = "rpm/reproducible.inc"
"""Part of both spec files."""

EARLIEST = int(dt.datetime(2000, 1, 1, tzinfo=dt.UTC).timestamp())
"""Of a changelog: rpm and rpmlint refuse dates before 1990, and a plain directory has no time of a commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packaged:
    """One binary that becomes a package of one distribution, with the notice about its licenses."""

    built: Artifact
    variant: Variant
    target: Target
    distribution: Distribution
    notice: Artifact | None


@dataclass(frozen=True, slots=True)
class Prebuilt:
    """A binary and its notice, as a spec file names them: sources that are not compiled there."""

    arch: str
    binary: str
    notice: str


def load_packaging(folder: Path, product: Product) -> Files:
    """Read the files that packages of `product` are made from; `folder` is the product's own.

    The one place of these stages that reads files. Raises ConfigError if the folder does not exist.
    """
    if product.packages is None:
        return Files(())
    root = (folder / product.packages.files).resolve()
    if not (root / "Makefile").is_file():
        raise ConfigError(
            f"the product {product.name} has packages, but {root} has no Makefile",
            resolution="correct `packages.files` in product.toml, or add the Makefile (docs/extending.md)",
        )
    found: dict[str, File] = {}
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        described = len(parts) == 1 and path.suffix == ".toml"
        if described or parts[0] == product.scan.advisories or any(part.startswith(IGNORED) for part in parts):
            continue
        if path.is_file():
            found["/".join(parts)] = File(path.read_bytes(), 0o755 if path.stat().st_mode & 0o100 else 0o644)
    return Files.of(found)


def wanted(context: Context, made: Made, format_: Format) -> list[Packaged]:
    """Return what becomes a package of this format: every packaged variant, for every distribution."""
    packages = rules(context)
    notices = {notice.subject: notice for notice in made.of(Kind.NOTICE)}
    return [
        Packaged(
            built=built,
            variant=context.product.variant(built.variant),
            target=TARGETS[built.target],
            distribution=distribution,
            notice=notices.get(built.name),
        )
        for built in made.of(Kind.BINARY)
        if built.variant in packages.variants
        for distribution in packages.of(format_)
    ]


def rules(context: Context) -> Packages:
    """Return the product's table `[packages]`, which a product with these stages has."""
    assert context.product.packages is not None
    return context.product.packages


def name_of(context: Context, variant: Variant | None) -> str:
    """Return the name of a variant's package; without a variant, of what belongs to all of them."""
    return context.product.name + (variant.suffix if variant else "")


@lru_cache(maxsize=64)
def files(packaging: Files, *only: str, without: tuple[str, ...] = ()) -> Files:
    """Return the packaging files in the folders `only` (all when none is named), but those that are in `without`.

    Both name folders or single files.
    """

    def among(path: str, places: Sequence[str]) -> bool:
        return any(path == place or path.startswith(f"{place}/") for place in places)

    entries = packaging.entries
    return Files(tuple((p, file) for p, file in entries if (not only or among(p, only)) and not among(p, without)))


def given(context: Context, format_: Format) -> Files:
    """Return the files that a package of a binary is made from in this format, templates not filled in.

    The package of the SELinux module has files of its own, and the spec files have `SHARED` in them already.
    """
    selinux = f"rpm/{context.product.build.binary}-selinux.spec.j2"
    return files(context.packaging, without=(*format_.others, "selinux", SHARED, selinux))


def installed(context: Context, variant: Variant) -> Files:
    """Return what a package of `variant` installs on any distribution, and the Makefile that does it."""
    return rendered(
        context,
        files(context.packaging, without=tuple(folder for each in Format for folder in each.folders)),
        None,
        variant,
    )


def rendered(
    context: Context,
    from_: Files,
    distribution: Distribution | None,
    variant: Variant | None,
    prebuilt: tuple[Prebuilt, ...] = (),
) -> Files:
    """Return `from_` with its templates filled in for one package, or for the archive: that has no distribution.

    `prebuilt` is for the templates of a source package.
    """
    where = f"packaging of {context.product.name} for {distribution.name if distribution else 'archives'}"
    named = {**values(context, distribution, variant), "prebuilt": prebuilt}
    return _filled(from_, tuple(named.items()), context.packaging, where)


@lru_cache(maxsize=256)
def _filled(given: Files, pairs: tuple[tuple[str, Hashable], ...], library: Files, where: str) -> Files:
    """Fill in templates once for each package: a graph is made several times in a run."""
    return render_files(given, dict(pairs), library=library, where=where)


def values(context: Context, distribution: Distribution | None, variant: Variant | None) -> dict[str, Hashable]:
    """Return what the templates of a package may use; without a distribution, what it decides is missing."""
    product, packages, version = context.product, rules(context), context.version
    names = [product.name + product.variant(name).suffix for name in packages.variants]
    made = dt.datetime.fromtimestamp(max(context.epoch, EARLIEST), dt.UTC)
    paragraphs = [" ".join(paragraph.split()) for paragraph in product.description.strip().split("\n\n")]
    name = name_of(context, variant)
    decided: dict[str, Hashable] = {}
    if distribution:
        upstream = distribution.format.version(version)
        release = f"{packages.revision}{distribution.suffix}"
        decided = {"distribution": distribution, "release": release, "upstream": upstream}
    return {
        **decided,
        "binary": product.build.binary,
        "changed_deb": format_datetime(made),
        "changed_rpm": made.strftime("%a %b %d %Y"),
        "commit": context.source.commit,
        "description": tuple(tuple(textwrap.wrap(paragraph, 76)) for paragraph in paragraphs),
        "epoch": context.epoch,
        "fips": variant.fips if variant else False,
        "homepage": product.homepage,
        "license": product.license,
        "maintainer": product.maintainer,
        "name": name,
        "others": tuple(other for other in names if other != name),
        "product": product.name,
        "selinux": packages.selinux,
        "summary": product.summary,
        "title": product.title,
        "variant": variant.name if variant else "",
        "vendor": product.vendor,
        "version": version.number,
        "year": made.year,
    }


def binary_of(context: Context, packaged: Packaged, gates: Mapping[str, Tree]) -> PackagedBinary:
    """Return what the program that makes a package is told of its binary, with the approval that is among `gates`."""
    return PackagedBinary(
        binary=packaged.built.name,
        approval=Path("/in/approval/approval.json") if "approval" in gates else None,
        notice=packaged.notice.name if packaged.notice else "",
        program=context.product.build.binary,
    )


def inputs(context: Context, packaged: Packaged, gates: Mapping[str, Tree]) -> dict[str, Tree]:
    """Return the inputs of the step that makes a package, after what `gates` let through."""
    notice: list[Tree | tuple[str, Tree]] = [packaged.notice.tree] if packaged.notice else []
    own = given(context, packaged.distribution.format)
    return gated(
        {
            "binary": Merge.of(packaged.built.tree, *notice),
            "files": rendered(context, own, packaged.distribution, packaged.variant),
        },
        gates,
    )
