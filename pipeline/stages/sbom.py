"""SBOM: what is inside each binary, as CycloneDX and SPDX, and the licenses of it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from pipeline.model.artifact import Artifact, Kind
from pipeline.model.step import WORK, Step
from pipeline.model.tree import Files, Pick, Tree
from pipeline.programs.sbom import sbom
from pipeline.programs.sbom.license_policy import LicensePolicy
from pipeline.stages.build import modules
from pipeline.stages.context import Context
from pipeline.stages.program import inside
from pipeline.stages.stage import Made, Stage

FORMATS = ("cdx.json", "spdx.json")

SYFT_ENV = {
    "HOME": WORK,
    "SYFT_CACHE_TTL": "0",
    "SYFT_CHECK_FOR_APP_UPDATE": "false",
    "XDG_CACHE_HOME": f"{WORK}/cache",
}


def make(context: Context, made: Made) -> Made:
    """Return both documents, and the notice on licenses, of every binary."""
    licenses = modules(context) or context.source.tree
    return Made(artifacts=tuple(each for built in made.of(Kind.BINARY) for each in sboms(context, built, licenses)))


STAGE = Stage(make=make, verb="sbom")


def catalogue(context: Context, built: Artifact, licenses: Tree) -> Tree:
    """Return syft's own two documents about `built`, as it wrote them: `cdx.json` and `spdx.json`.

    `licenses` holds the modules' license files: Go's module cache, or the source with its `vendor` folder.
    """
    step = Step(
        title=f"syft {built.label}",
        image=context.image("syft"),
        argv=(
            "syft",
            "scan",
            f"file:/in/binary/{built.name}",
            "--output=cyclonedx-json@1.6=/out/cdx.json",
            "--output=spdx-json@2.3=/out/spdx.json",
            f"--source-name={built.name}",
            f"--source-version={context.version.number}",
            "--quiet",
        ),
        inputs=(("binary", built.tree), ("modules", licenses)),
        env=tuple(sorted({**SYFT_ENV, **_license_environment(context)}.items())),
        epoch=context.epoch,
        outputs=("cdx.json", "spdx.json"),
    )
    return step.out


def _license_environment(context: Context) -> dict[str, str]:
    if context.source.vendored:
        folder = str(PurePosixPath("/in/modules", context.product.source.module, "vendor"))
        return {"SYFT_GOLANG_SEARCH_LOCAL_VENDOR_LICENSES": "true", "SYFT_GOLANG_LOCAL_VENDOR_DIR": folder}
    return {"SYFT_GOLANG_SEARCH_LOCAL_MOD_CACHE_LICENSES": "true", "SYFT_GOLANG_LOCAL_MOD_CACHE_DIR": "/in/modules"}


def sboms(context: Context, built: Artifact, licenses: Tree) -> tuple[Artifact, ...]:
    """Return the CycloneDX and the SPDX document of `built`, valid and without random parts, and its licenses."""
    names = {suffix: f"{built.name}.{suffix}" for suffix in FORMATS}
    notice, rules = f"{built.name}.NOTICE.txt", context.policy.licenses
    step = inside(
        "sbom.sbom",
        sbom.Parameters(
            cyclonedx=Path("/in/raw/cdx.json"),
            spdx=Path("/in/raw/spdx.json"),
            binary=Path(f"/in/binary/{built.name}"),
            name=context.product.name,
            version=context.version.number,
            supplier=context.product.vendor,
            license=context.product.license,
            licenses=LicensePolicy(rules.allow, rules.deny, rules.unknown),
            out_cyclonedx=Path("/out", names["cdx.json"]),
            out_spdx=Path("/out", names["spdx.json"]),
            out_notice=Path("/out", notice),
        ),
        title=f"sbom {built.label}",
        image=context.image("sbom"),
        inputs={"raw": catalogue(context, built, licenses), "binary": built.tree, "schemas": context.schemas},
        outputs=(*names.values(), notice),
        epoch=context.epoch,
    )
    return (*documents(step, built), _about(step, built, notice, Kind.NOTICE))


def documents(step: Step, subject: Artifact) -> tuple[Artifact, ...]:
    """Return the two documents about `subject` that `step` makes."""
    return tuple(_about(step, subject, f"{subject.name}.{suffix}", Kind.SBOM) for suffix in FORMATS)


def _about(step: Step, subject: Artifact, name: str, kind: Kind) -> Artifact:
    return Artifact(
        name=name,
        kind=kind,
        tree=Pick(step.out, paths=(name,)),
        target=subject.target,
        variant=subject.variant,
        subject=subject.name,
    )


def load_schemas(packaging: Path) -> Files:
    """Read the official JSON schemas of SBOMs and reports. The one place of this stage that reads files."""
    folder = packaging / "schemas"
    return Files.of({path.name: path.read_bytes() for path in sorted(folder.glob("*.json"))})
