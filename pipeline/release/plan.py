"""The one place that says which stage feeds which: values in, the graph of a whole release out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pipeline.config.product import Variant
from pipeline.errors import UsageError
from pipeline.model.artifact import Artifact, Kind
from pipeline.model.step import Step
from pipeline.model.target import Target
from pipeline.model.tree import Files, Merge, Pick, Tree
from pipeline.stages import archive, build, deb, exposure, rpm, sbom, scan, sign
from pipeline.stages.context import Context

PACKAGES = {Kind.PACKAGE, Kind.SOURCE_PACKAGE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The graph of one release.

    `tree` is the content of `dist/<version>/`. `packages` are the packages as they were built, without signatures in
    them, and the source packages that they were built from. `judged` is the step whose `verdict.json` says whether the
    gate is open, and `reports` what a person needs to read when it is not.
    """

    context: Context = field(repr=False)
    artifacts: tuple[Artifact, ...]
    binaries: tuple[Artifact, ...]
    packages: tuple[Artifact, ...]
    tree: Tree = field(repr=False)
    judged: Step | None = None
    reports: Tree | None = field(default=None, repr=False)

    @property
    def verdict(self) -> Tree | None:
        """The file `verdict.json` alone, None for a product that is not scanned."""
        return Pick(self.judged.out, paths=("verdict.json",)) if self.judged else None

    @property
    def goals(self) -> tuple[Tree, ...]:
        """What a release evaluates: the verdict first, then everything."""
        return (*([self.verdict] if self.verdict else []), self.tree)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stages:
    """What the stages before the index make."""

    artifacts: tuple[Artifact, ...]
    binaries: tuple[Artifact, ...]
    judged: Step | None = None
    approval: Tree | None = None
    reports: Tree | None = None
    statements: tuple[Artifact, ...] = ()


def plan(context: Context, schemas: Files) -> Release:
    """Return the release of `context` as a value. Nothing runs.

    Raises UsageError when the chosen targets and variants leave nothing to build.
    """
    made = _stages(context, schemas)
    described = _described(context, schemas, made)
    done = sign.finished(context, made.artifacts, described, made.approval, made.statements)
    return Release(
        context=context,
        artifacts=done.artifacts,
        binaries=made.binaries,
        packages=tuple(artifact for artifact in made.artifacts if artifact.kind in PACKAGES),
        tree=done.tree,
        judged=made.judged,
        reports=made.reports,
    )


def remake(context: Context, schemas: Files, release: Tree) -> Tree:
    """Return the files of `release`, without signatures, as `context` gives them again."""
    made = _stages(context, schemas)
    described = _described(context, schemas, made)
    return sign.unsigned(context, made.artifacts, described, made.approval, made.statements, release)


def remake_unscanned(context: Context, schemas: Files) -> Tree:
    """Return what does not depend on scans. That leaves out the index, which names them."""
    stages = tuple(stage for stage in context.product.stages if stage != "scan")
    product = context.product.model_copy(update={"stages": stages})
    return Merge.of(*(artifact.tree for artifact in _stages(replace(context, product=product), schemas).artifacts))


def _described(context: Context, schemas: Files, made: _Stages) -> tuple[Artifact, ...]:
    """Return the artifacts as `release.json` tells of them: on no particular day, and all made on one machine.

    So two releases of the same source have the same index, whenever and on however many machines they were made.
    """
    names = {artifact.name for artifact in made.binaries}
    given = {name: tree for name, tree in context.given.items() if name not in names}
    timeless = replace(context, given=given, options=replace(context.options, today=""))
    made = _stages(timeless, schemas)
    return sign.signed(timeless, made.artifacts, made.approval)


def _stages(context: Context, schemas: Files) -> _Stages:
    binaries, artifacts = _binaries(context, schemas)
    if context.options.require_openssl_fips:
        artifacts.append(build.openssl_fips(context))
    judged, approval, reports = None, None, None
    statements: tuple[Artifact, ...] = ()
    if "scan" in context.product.stages:
        scanned, judged = scan.scan(context, binaries, schemas)
        approval = scan.approval(context, judged)
        reports = Merge.of(*(artifact.tree for artifact in scanned))
        statements = scan.statements(binaries, judged)
        artifacts.extend(scanned)
    packagers = [stage for stage in (deb, rpm) if stage.NAME in context.product.stages]
    gates = {"approval": approval} if approval is not None else {}
    judged_units = exposure.exposure(context) if packagers else None
    if judged_units is not None:
        gates["exposure"] = judged_units.tree
        artifacts.append(judged_units)
    packages = [package for stage in packagers for package in stage.packages(context, artifacts, gates)]
    artifacts += packages
    if "sbom" in context.product.stages:
        installable = [package for package in packages if package.kind is Kind.PACKAGE]
        artifacts += sbom.of_packages(context, installable, artifacts, schemas)
    artifacts.sort(key=lambda artifact: artifact.name)
    return _Stages(
        artifacts=tuple(artifacts),
        binaries=tuple(binaries),
        judged=judged,
        approval=approval,
        reports=reports,
        statements=statements,
    )


def _binaries(context: Context, schemas: Files) -> tuple[list[Artifact], list[Artifact]]:
    """Return the binaries, and all artifacts that are about one of them, the binaries included."""
    module_cache = build.modules(context)
    binaries: list[Artifact] = []
    artifacts: list[Artifact] = []
    for target, variant in matrix(context):
        built = build.binary(context, target, variant, module_cache)
        binaries.append(built)
        artifacts += [built, build.proof(context, built, target, variant)]
        licenses = module_cache or context.source.tree
        about = sbom.sboms(context, built, schemas, licenses) if "sbom" in context.product.stages else ()
        artifacts += about
        if "archive" in context.product.stages:
            artifacts.append(archive.archive(context, built, about))
    return binaries, artifacts


def matrix(context: Context) -> list[tuple[Target, Variant]]:
    """Return the targets and variants to build: all that the product has, or those that were chosen.

    Raises UsageError for a choice that the product does not have.
    """
    known = {str(target): target for target in context.product.targets}
    unknown = [name for name in context.options.targets if name not in known]
    if unknown:
        raise UsageError(
            f"{context.product.name} is not built for {', '.join(unknown)}",
            resolution=f"choose among: {', '.join(known)}",
        )
    targets = [known[name] for name in known if not context.options.targets or name in context.options.targets]
    return [(target, variant) for target in targets for variant in context.product.variants(context.options.variants)]
