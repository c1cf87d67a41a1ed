"""RPM: source packages by rpmbuild, and packages of binaries and of the SELinux module, each rebuilt from its source
package; rpmlint is the gate for all of them.

A source package is one for all architectures. That of a binary names the binary and does not hold it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.model.artifact import Artifact, Kind
from pipeline.model.distribution import Distribution, Format
from pipeline.model.tree import Files, Merge, Tree
from pipeline.programs.package import rpm, rpm_source
from pipeline.stages import package
from pipeline.stages.context import Context
from pipeline.stages.package import Packaged, Prebuilt
from pipeline.stages.program import inside
from pipeline.stages.stage import Made, Stage, gated

EXCEPTIONS = "rpm/rpmlint.toml"


def make(context: Context, made: Made) -> Made:
    """Return an RPM of every packaged binary, and of the SELinux module, without signatures.

    Before them the source RPMs that they are built from. RPMs of binaries are made when all gates have let them
    through; their source RPMs have no program in them.
    """
    wanted = package.wanted(context, made, Format.RPM)
    packages: list[Artifact] = []
    for distribution, variant in dict.fromkeys((each.distribution, each.built.variant) for each in wanted):
        group = [each for each in wanted if (each.distribution, each.built.variant) == (distribution, variant)]
        source = _source(context, group)
        packages += [source, *(_package(context, each, source, made.gates) for each in group)]
    rules = package.rules(context)
    for distribution in rules.of(Format.RPM) if rules.selinux else ():
        source = _selinux_source(context, distribution)
        packages += [source, _selinux(context, distribution, source)]
    return Made(artifacts=tuple(packages))


STAGE = Stage(make=make, needs=("sbom",), verb="package")


def _source(context: Context, group: Sequence[Packaged]) -> Artifact:
    """Return the source package of one variant for one distribution; `group` is that for every architecture."""
    distribution, variant = group[0].distribution, group[0].variant
    program = context.product.build.binary
    prebuilt, sources = [], []
    for each in group:
        # A product with packages has SBOMs, and with them notices.
        assert each.notice is not None
        prebuilt.append(Prebuilt(each.target.rpm_arch, each.built.name, each.notice.name))
        sources += [each.built.tree, each.notice.tree]
    name = package.name_of(context, variant)
    file = f"{name}-{_version(context, distribution)}.nosrc.rpm"
    step = inside(
        "package.rpm_source",
        rpm_source.Parameters(
            name=name,
            spec=f"rpm/{program}.spec",
            held=tuple(each.notice for each in prebuilt),
            named=tuple(each.binary for each in prebuilt),
            out=Path(f"/out/{file}"),
        ),
        title=f"source rpm {distribution.name} {variant.name}",
        image=context.image(distribution.image),
        inputs={
            "files": package.rendered(
                context, package.given(context, Format.RPM), distribution, variant, tuple(prebuilt)
            ),
            "sources": Merge.of(*sources),
        },
        outputs=(file,),
        epoch=context.epoch,
    )
    return Artifact(name=file, kind=Kind.SOURCE_PACKAGE, tree=step.out, variant=group[0].built.variant)


def _package(context: Context, packaged: Packaged, source: Artifact, gates: Mapping[str, Tree]) -> Artifact:
    distribution, target, built = packaged.distribution, packaged.target, packaged.built
    name = package.name_of(context, packaged.variant)
    file = f"{name}-{_version(context, distribution)}.{target.rpm_arch}.rpm"
    step = inside(
        "package.rpm",
        rpm.Parameters(
            arch=target.rpm_arch,
            source=Path(f"/in/source/{source.name}"),
            packaged=package.binary_of(context, packaged, gates),
            out=Path(f"/out/{file}"),
        ),
        title=f"rpm {distribution.name} {built.label}",
        image=context.image(distribution.image),
        inputs=gated({"binary": built.tree, "files": _exceptions(context), "source": source.tree}, gates),
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


def _selinux_source(context: Context, distribution: Distribution) -> Artifact:
    name, program = f"{package.name_of(context, None)}-selinux", context.product.build.binary
    file = f"{name}-{_version(context, distribution)}.src.rpm"
    files = package.files(context.packaging, "rpm", "selinux", without=(f"rpm/{program}.spec.j2", package.SHARED))
    step = inside(
        "package.rpm_source",
        rpm_source.Parameters(name=name, spec=f"rpm/{program}-selinux.spec", out=Path(f"/out/{file}")),
        title=f"source rpm {distribution.name} selinux",
        image=context.image(distribution.image),
        inputs={"files": package.rendered(context, files, distribution, None)},
        outputs=(file,),
        epoch=context.epoch,
    )
    return Artifact(name=file, kind=Kind.SOURCE_PACKAGE, tree=step.out)


def _selinux(context: Context, distribution: Distribution, source: Artifact) -> Artifact:
    file = f"{package.name_of(context, None)}-selinux-{_version(context, distribution)}.noarch.rpm"
    step = inside(
        "package.rpm",
        rpm.Parameters(arch="noarch", source=Path(f"/in/source/{source.name}"), out=Path(f"/out/{file}")),
        title=f"rpm {distribution.name} selinux",
        image=context.image(distribution.image),
        inputs={"files": _exceptions(context), "source": source.tree},
        outputs=(file,),
        epoch=context.epoch,
    )
    return Artifact(name=file, kind=Kind.PACKAGE, tree=step.out)


def _exceptions(context: Context) -> Files:
    return package.files(context.packaging, EXCEPTIONS)


def _version(context: Context, distribution: Distribution) -> str:
    return f"{context.version.rpm}-{package.rules(context).revision}{distribution.suffix}"
