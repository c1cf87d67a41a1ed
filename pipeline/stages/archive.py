"""Archive: each binary in a tar.gz with what belongs to it, the same bytes wherever it is packed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.model.artifact import Artifact, Kind
from pipeline.model.tree import Merge, Pick, Tree
from pipeline.programs.package import tarball
from pipeline.stages import package
from pipeline.stages.context import Context
from pipeline.stages.program import inside
from pipeline.stages.stage import Made, Stage

NOTICE = "NOTICE"
"""The list of licenses, by the name that the packaging files have for it."""


def make(context: Context, made: Made) -> Made:
    """Return the archive of every binary, with what was made about its contents."""
    about = made.of(Kind.SBOM, Kind.NOTICE)
    return Made(
        artifacts=tuple(
            archive(context, built, [each for each in about if each.subject == built.name])
            for built in made.of(Kind.BINARY)
        )
    )


STAGE = Stage(make=make)


def archive(context: Context, built: Artifact, companions: Sequence[Artifact]) -> Artifact:
    """Return `<binary>.tar.gz`: the program under its own name, `companions`, and the product's files of the source.

    A binary that is packaged brings the files its packages install, with the Makefile that installs them.
    """
    name = f"{built.name}.tar.gz"
    files: list[Tree] = [built.tree, *(companion.tree for companion in companions)]
    names = {built.name: context.product.build.binary}
    if context.product.packages and built.variant in context.product.packages.variants:
        files.append(package.installed(context, context.product.variant(built.variant)))
        names.update({each.name: NOTICE for each in companions if each.kind is Kind.NOTICE})
    if context.product.archive.files:
        files.append(Pick(context.source.tree, paths=context.product.archive.files))
    step = inside(
        "package.tarball",
        tarball.Parameters(prefix=built.name, rename=names, out=Path(f"/out/{name}")),
        title=f"archive {built.label}",
        image=context.image("debian"),
        inputs={"tree": Merge.of(*files)},
        outputs=(name,),
        epoch=context.epoch,
    )
    return Artifact(
        name=name,
        kind=Kind.ARCHIVE,
        tree=step.out,
        target=built.target,
        variant=built.variant,
        subject=built.name,
    )
