"""Sign: signatures inside of RPMs, then the index over the signed files, then a detached signature for every file.

An RPM that carries its signature is another file than before, so it is signed before it is indexed. The time in that
signature is the commit's, or that of the key where it is younger, so that the same key gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pipeline.model.artifact import Artifact, Kind
from pipeline.model.distribution import Format
from pipeline.model.image import Image
from pipeline.model.step import Caching
from pipeline.model.tree import Merge, Pick, Tree
from pipeline.programs.sign import rpm_sign, sign_once
from pipeline.stages import index as finish
from pipeline.stages.context import Context
from pipeline.stages.program import inside
from pipeline.stages.stage import Made, gated


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A whole release: its artifacts, signed where they are signed inside, and the tree with all signatures."""

    artifacts: tuple[Artifact, ...]
    tree: Tree = field(repr=False)


def finished(context: Context, made: Made) -> Finished:
    """Return the release that what was `made` becomes.

    Statements have a day, so the index names them without their digests, and their own signatures cover them.
    """
    if context.options.ephemeral_key and any(map(_is_rpm, made.artifacts)):
        return _in_one_step(context, made)
    ready = signed(context, made)
    indexed = finish.index(context, replace(made, artifacts=ready), ready)
    files = Merge.of(*(artifact.tree for artifact in (*ready, *made.statements)), indexed.tree)
    return Finished(artifacts=(*ready, indexed), tree=Merge.of(files, finish.signatures(context, files)))


def signed(context: Context, made: Made) -> tuple[Artifact, ...]:
    """Return the artifacts with every RPM signed, by the key that signs the release, once all gates are open."""
    packages = [artifact for artifact in made.artifacts if _is_rpm(artifact)]
    if not packages or context.options.ephemeral_key:
        return made.artifacts
    step = inside(
        "sign.rpm_sign",
        rpm_sign.Parameters(finish.chosen_key(context.options.signing_fingerprint)),
        title="sign rpms",
        image=_image(context),
        inputs=gated({"packages": Merge.of(*(package.tree for package in packages))}, made.gates),
        outputs=tuple(sorted(package.name for package in packages)),
        secrets=("signing-key",),
        epoch=context.epoch,
    )
    return tuple(
        replace(artifact, tree=Pick(step.out, paths=(artifact.name,))) if _is_rpm(artifact) else artifact
        for artifact in made.artifacts
    )


def unsigned(context: Context, made: Made, release: Tree) -> Tree:
    """Return the files of a release that was made before, without signatures, for those who do not have its key.

    The index is over the RPMs of `release`, which have their signatures inside, and names the steps that signed them.
    """
    ready = tuple(
        replace(each, tree=Pick(release, paths=(each.name,))) if _is_rpm(each) else each for each in made.artifacts
    )
    indexed = finish.index(context, replace(made, artifacts=ready), signed(context, made))
    return Merge.of(*(artifact.tree for artifact in (*made.artifacts, *made.statements)), indexed.tree)


def _in_one_step(context: Context, made: Made) -> Finished:
    """Return the release signed by a key of one step: no other step can have it, so that step does all of the above."""
    packages = sorted(artifact.name for artifact in made.artifacts if _is_rpm(artifact))
    step = inside(
        "sign.sign_once",
        sign_once.Parameters(
            key=finish.chosen_key(""),
            index=finish.index_parameters(context, made, made.artifacts),
            packages=tuple(packages),
        ),
        title="sign rpms, index and sign with a key of this run",
        image=_image(context),
        inputs={
            **finish.index_inputs(made),
            "statements": Merge.of(*(statement.tree for statement in made.statements)),
        },
        outputs=(*finish.INDEX, *packages, "signing-key.asc"),
        caching=Caching.NEVER,
        epoch=context.epoch,
    )
    ready = tuple(
        replace(artifact, tree=Pick(step.out, paths=(artifact.name,))) if _is_rpm(artifact) else artifact
        for artifact in made.artifacts
    )
    indexed = Artifact(name="release.json", kind=Kind.INDEX, tree=step.out)
    others = [artifact.tree for artifact in (*made.artifacts, *made.statements) if not _is_rpm(artifact)]
    return Finished(artifacts=(*ready, indexed), tree=Merge.of(*others, step.out))


def _is_rpm(artifact: Artifact) -> bool:
    return artifact.name.endswith(".rpm")


def _image(context: Context) -> Image:
    """Return the image with rpmsign: that of the last RPM distribution that the product has, so the newest."""
    assert context.product.packages is not None
    return context.image(context.product.packages.of(Format.RPM)[-1].image)
