"""RPM: packages of binaries and the SELinux module by rpmbuild, with rpmlint as a gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.model.artifact import Artifact, Kind
from pipeline.model.distribution import Distribution, Format
from pipeline.model.tree import Files, Tree
from pipeline.stages import package
from pipeline.stages.context import Context
from pipeline.stages.inside import inside
from pipeline.stages.package import Packaged

MEDIA_TYPE = "application/x-rpm"
NAME = Format.RPM.value
OTHERS = ("apparmor", "deb", "selinux")
"""The folders that are for DEB only, or for the package of the SELinux module."""


def given(context: Context) -> Files:
    """Return the files that an RPM of a binary is made from, templates not filled in."""
    return package.files(context.packaging, without=(*OTHERS, f"rpm/{context.product.build.binary}-selinux.spec.j2"))


def packages(context: Context, artifacts: Sequence[Artifact], gates: Mapping[str, Tree]) -> list[Artifact]:
    """Return an RPM of every packaged binary among `artifacts`, and of the SELinux module, without signatures.

    Those of binaries are made when all `gates` have let them through.
    """
    made = [_package(context, each, gates) for each in package.wanted(context, artifacts, Format.RPM)]
    rules = package.rules(context)
    return made + ([_selinux(context, each) for each in rules.of(Format.RPM)] if rules.selinux else [])


def _package(context: Context, packaged: Packaged, gates: Mapping[str, Tree]) -> Artifact:
    distribution, target, built = packaged.distribution, packaged.target, packaged.built
    name = package.name_of(context, packaged.variant)
    file = f"{name}-{_version(context, distribution)}.{target.rpm_arch}.rpm"
    program = context.product.build.binary
    step = inside(
        "rpm",
        {
            "arch": target.rpm_arch,
            "binary": built.name,
            "notice": packaged.notice.name if packaged.notice else "",
            "out": f"/out/{file}",
            "program": program,
            "spec": f"rpm/{program}.spec",
        },
        title=f"rpm {distribution.name} {built.label}",
        image=context.image(distribution.image),
        inputs=package.inputs(context, packaged, given(context), gates),
        outputs=(file,),
        epoch=context.epoch,
        uses=("package",),
    )
    return Artifact(
        name=file,
        kind=Kind.PACKAGE,
        media_type=MEDIA_TYPE,
        tree=step.out,
        target=built.target,
        variant=built.variant,
        subject=built.name,
    )


def _selinux(context: Context, distribution: Distribution) -> Artifact:
    file = f"{package.name_of(context, None)}-selinux-{_version(context, distribution)}.noarch.rpm"
    program = context.product.build.binary
    files = package.files(context.packaging, "rpm", "selinux", without=(f"rpm/{program}.spec.j2",))
    step = inside(
        "rpm",
        {"arch": "noarch", "out": f"/out/{file}", "spec": f"rpm/{program}-selinux.spec"},
        title=f"rpm {distribution.name} selinux",
        image=context.image(distribution.image),
        inputs={"files": package.rendered(context, files, distribution, None)},
        outputs=(file,),
        epoch=context.epoch,
        uses=("package",),
    )
    return Artifact(name=file, kind=Kind.PACKAGE, media_type=MEDIA_TYPE, tree=step.out)


def _version(context: Context, distribution: Distribution) -> str:
    return f"{context.version.rpm}-{package.rules(context).revision}{distribution.suffix}"
