"""Exposure: how exposed the services of the packages are, as systemd computes it before anything is packaged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.model.artifact import Artifact, Kind
from pipeline.model.distribution import Format
from pipeline.programs.package import exposure as program
from pipeline.stages import package
from pipeline.stages.context import Context
from pipeline.stages.program import inside
from pipeline.stages.stage import Made, Stage

IMAGE = "rpm-ol9"
"""Of the distributions that packages are made for, the one whose systemd (252) can check units in files: 250 is the
first that does, and Ubuntu 22.04 has 249, Oracle Linux 8 has 239."""
NAME = "exposure.json"


def make(context: Context, made: Made) -> Made:  # noqa: ARG001 - units are decided before anything is compiled
    """Return `exposure.json`: every service of every package, whatever targets and variants this run is for.

    Nothing for a product whose packages have no service. The step fails when systemd objects to a unit, or when a
    service is more exposed than the product allows, so it is a gate.
    """
    formats = [format_ for format_ in Format if format_.value in context.product.stages]
    if not formats or not any(path.endswith((".service", ".service.j2")) for path, _ in context.packaging.entries):
        return Made()
    decided = exposure(context, formats)
    return Made(artifacts=(decided,), gates={"exposure": decided.tree})


STAGE = Stage(make=make, chosen=False)


def exposure(context: Context, formats: Sequence[Format]) -> Artifact:
    """Return systemd's verdict on the services in the packages of `formats`."""
    rules = package.rules(context)
    packages = [
        (f"{distribution.name}-{name}", distribution, context.product.variant(name))
        for format_ in formats
        for distribution in rules.of(format_)
        for name in rules.variants
    ]
    step = inside(
        "package.exposure",
        program.Parameters(
            packages=tuple(
                program.CheckedPackage(
                    label=label,
                    name=package.name_of(context, variant),
                    format=distribution.format.value,
                    files=Path("/in", label),
                )
                for label, distribution, variant in packages
            ),
            program=context.product.build.binary,
            limit=rules.exposure_tenths,
        ),
        title="exposure",
        image=context.image(IMAGE),
        inputs={
            label: package.rendered(context, package.given(context, distribution.format), distribution, variant)
            for label, distribution, variant in packages
        },
        outputs=(NAME,),
        epoch=context.epoch,
    )
    return Artifact(name=NAME, kind=Kind.EXPOSURE, tree=step.out)
