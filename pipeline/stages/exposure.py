"""Exposure: how exposed the services are that the packages install, judged by systemd itself before any is packaged."""

from __future__ import annotations

from pipeline.model.artifact import Artifact, Kind
from pipeline.model.distribution import Format
from pipeline.stages import deb, package, rpm
from pipeline.stages.context import Context
from pipeline.stages.program import inside

IMAGE = "rpm-ol9"
"""Of the distributions that packages are made for, the one whose systemd (252) can judge units of files: 250 is the
first that does, and Ubuntu 22.04 has 249, Oracle Linux 8 has 239."""
NAME = "exposure.json"


def exposure(context: Context) -> Artifact | None:
    """Return `exposure.json`: every service of every package, whatever targets and variants this run is for.

    None for a product whose packages have no service. The step fails when systemd objects to a unit, or when a service
    is more exposed than the product allows.
    """
    if not any(path.endswith((".service", ".service.j2")) for path, _ in context.packaging.entries):
        return None
    rules = package.rules(context)
    given = {Format.DEB: deb.given(context), Format.RPM: rpm.given(context)}
    stages = context.product.stages
    packages = [
        (f"{distribution.name}-{name}", distribution, context.product.variant(name))
        for format_ in Format
        if format_.value in stages
        for distribution in rules.of(format_)
        for name in rules.variants
    ]
    step = inside(
        "package.exposure",
        {
            "limit": rules.exposure_tenths,
            "out": f"/out/{NAME}",
            "packages": [
                {
                    "files": f"/in/{label}",
                    "format": distribution.format.value,
                    "label": label,
                    "name": package.name_of(context, variant),
                }
                for label, distribution, variant in packages
            ],
            "program": context.product.build.binary,
        },
        title="exposure",
        image=context.image(IMAGE),
        inputs={
            label: package.rendered(context, given[distribution.format], distribution, variant)
            for label, distribution, variant in packages
        },
        outputs=(NAME,),
        epoch=context.epoch,
    )
    return Artifact(name=NAME, kind=Kind.EXPOSURE, tree=step.out)
