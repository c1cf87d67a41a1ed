"""Package SBOM: what is inside each package, every file of it, on top of what is known of its binary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.model.artifact import Artifact, Kind
from pipeline.model.tree import Merge
from pipeline.programs.package import contents
from pipeline.programs.sbom import package_sbom
from pipeline.stages.context import Context
from pipeline.stages.program import inside
from pipeline.stages.sbom import FORMATS, documents
from pipeline.stages.stage import Made, Stage


def make(context: Context, made: Made) -> Made:
    """Return the CycloneDX and the SPDX document of each package that is installed, if the binaries have theirs."""
    known = {artifact.name: artifact for artifact in made.of(Kind.SBOM)}
    packages = made.of(Kind.PACKAGE) if known else ()
    return Made(artifacts=tuple(each for package in packages for each in _of_package(context, package, known)))


STAGE = Stage(make=make, chosen=False)


def _of_package(context: Context, package: Artifact, known: Mapping[str, Artifact]) -> tuple[Artifact, ...]:
    made_by = package.made_by
    assert made_by is not None
    listed = inside(
        "package.contents",
        contents.Parameters(package=Path("/in/package", package.name)),
        title=f"contents of {made_by.title}",
        image=made_by.image,
        inputs={"package": package.tree},
        outputs=("contents.json",),
        epoch=context.epoch,
    )
    names = {suffix: f"{package.name}.{suffix}" for suffix in FORMATS}
    binary = {suffix: known[f"{package.subject}.{suffix}"] for suffix in FORMATS} if package.subject else {}
    given = {suffix: Path("/in/binary", artifact.name) for suffix, artifact in binary.items()}
    step = inside(
        "sbom.package_sbom",
        package_sbom.Parameters(
            file=package.name,
            cyclonedx=given.get("cdx.json"),
            spdx=given.get("spdx.json"),
            supplier=context.product.vendor,
            license=context.product.license,
            out_cyclonedx=Path("/out", names["cdx.json"]),
            out_spdx=Path("/out", names["spdx.json"]),
        ),
        title=f"sbom of {made_by.title}",
        image=context.image("sbom"),
        inputs={
            "contents": listed.out,
            "schemas": context.schemas,
            **({"binary": Merge.of(*(artifact.tree for artifact in binary.values()))} if binary else {}),
        },
        outputs=tuple(names.values()),
        epoch=context.epoch,
    )
    return documents(step, package)
