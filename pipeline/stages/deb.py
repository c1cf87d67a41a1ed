"""DEB: packages of binaries by dpkg-buildpackage and debhelper, with lintian as a gate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.model.artifact import Artifact, Kind
from pipeline.model.distribution import Format
from pipeline.model.tree import Tree
from pipeline.programs.package import deb
from pipeline.stages import package
from pipeline.stages.context import Context
from pipeline.stages.package import Packaged
from pipeline.stages.program import inside
from pipeline.stages.stage import Made, Stage


def make(context: Context, made: Made) -> Made:
    """Return a DEB of every packaged binary, made when all gates have let it through."""
    wanted = package.wanted(context, made, Format.DEB)
    return Made(artifacts=tuple(_package(context, each, made.gates) for each in wanted))


STAGE = Stage(make=make, needs=("sbom",), verb="package")


def _package(context: Context, packaged: Packaged, gates: Mapping[str, Tree]) -> Artifact:
    distribution, target, built = packaged.distribution, packaged.target, packaged.built
    name = package.name_of(context, packaged.variant)
    version = f"{context.version.deb}-{package.rules(context).revision}{distribution.suffix}"
    file = f"{name}_{version}_{target.deb_arch}.deb"
    step = inside(
        "package.deb",
        deb.Parameters(
            name=name,
            version=version,
            arch=target.deb_arch,
            packaged=package.binary_of(context, packaged, gates),
            out=Path(f"/out/{file}"),
        ),
        title=f"deb {distribution.name} {built.label}",
        image=context.image(distribution.image),
        inputs=package.inputs(context, packaged, gates),
        outputs=(file,),
        epoch=context.epoch,
    )
    return Artifact(
        name=file,
        kind=Kind.PACKAGE,
        tree=step.out,
        target=built.target,
        variant=built.variant,
        subject=built.name,
    )
