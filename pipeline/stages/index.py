"""Index, checksums, signatures: what turns a set of artifacts into a release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from pipeline.model.artifact import Artifact, Kind, maker_of
from pipeline.model.graph import steps_of
from pipeline.model.image import Image
from pipeline.model.step import Caching, ExitCode, Step
from pipeline.model.tree import Merge, Output, Tree
from pipeline.programs.sign import index as indexing
from pipeline.programs.sign import inspect_key as inspecting
from pipeline.programs.sign import release_index
from pipeline.programs.sign import sign as signing
from pipeline.programs.verify import verify as verifying
from pipeline.signing.keys import DEVELOPMENT_IDENTITY
from pipeline.stages.context import Context, Options
from pipeline.stages.program import inside
from pipeline.stages.stage import Made, gated

INDEX = ("SHA256SUMS", "SHA512SUMS", "release.json")
EPHEMERAL_IDENTITY = "Key of one run - not for shipping <ephemeral@localhost>"


def index(context: Context, made: Made, described: Sequence[Artifact]) -> Artifact:
    """Return `release.json` with its checksums: what each artifact is, its digest, and the step that made it.

    `described` are the artifacts with the steps that made them, where those of `made` are files of another release.
    """
    step = inside(
        "sign.index",
        index_parameters(context, made, described),
        title="index and checksums",
        image=context.image("debian"),
        inputs=index_inputs(made),
        outputs=INDEX,
        epoch=context.epoch,
    )
    return Artifact(name="release.json", kind=Kind.INDEX, tree=step.out)


def index_inputs(made: Made) -> dict[str, Tree]:
    """Return what the index is made from: every file of the release, once all gates are open."""
    return gated({"artifacts": Merge.of(*(artifact.tree for artifact in made.artifacts))}, made.gates)


def index_parameters(context: Context, made: Made, described: Sequence[Artifact]) -> indexing.Parameters:
    """Return what the index is told: the product, its source, its key, each artifact, the images of their steps."""
    product, source = context.product, context.source
    told = release_index.ReleaseIndex(
        product=release_index.AboutProduct(product.name, product.title, product.license),
        version=context.version.number,
        snapshot=context.options.snapshot,
        source=release_index.AboutSource(
            url=source.url,
            ref=source.ref,
            commit=source.revision,
            tree=source.identity,
            epoch=context.epoch,
            verified=source.verified,
            dirty=source.dirty,
        ),
        artifacts=(),
        toolchain=release_index.AboutToolchain(name="go", **asdict(context.toolchain)),
        images=tuple(_image(image) for image in _images(Merge.of(*(artifact.tree for artifact in described)))),
        signing=_signing(context.options),
        statements=tuple(
            release_index.DatedStatement(statement.name, statement.subject) for statement in made.statements
        ),
    )
    gate = Path("/in/approval/approval.json") if "approval" in made.gates else None
    return indexing.Parameters(told, tuple(_describe(artifact) for artifact in described), approval=gate)


def _signing(options: Options) -> release_index.AboutKey:
    if options.ephemeral_key:
        return release_index.AboutKey(development=True)
    return release_index.AboutKey(options.signing_development, options.signing_fingerprint)


def inspect_key(image: Image) -> Step:
    """Return the step that reads the signing key and says which it is: `key.json` with its fingerprint."""
    return inside(
        "sign.inspect_key",
        inspecting.Parameters(),
        title="inspect the signing key",
        image=image,
        inputs={},
        outputs=("key.json",),
        secrets=("signing-key",),
        caching=Caching.NEVER,
    )


def signed_by(options: Options, key: inspecting.InspectedKey) -> Options:
    """Return `options` for a release by the key that `inspect_key` found.

    Whether it is a development key is told by the key itself, so that each engine says the same of the same key.
    """
    development = key.user_id in {DEVELOPMENT_IDENTITY, EPHEMERAL_IDENTITY}
    return replace(options, signing_fingerprint=key.fingerprint, signing_development=development)


def signatures(context: Context, release: Tree) -> Tree:
    """Return a detached signature for every file of `release`, and the public key to check them with."""
    options = context.options
    fingerprint = "" if options.ephemeral_key else options.signing_fingerprint
    return sign(release, image=context.image("debian"), fingerprint=fingerprint, epoch=context.epoch)


def sign(files: Tree, *, image: Image, fingerprint: str, epoch: int) -> Output:
    """Return the signatures of `files` by the secret `signing-key`, which must have that fingerprint.

    Without one, by a key that the step makes for itself and keeps from everybody: its result is never the same.
    """
    return inside(
        "sign.sign",
        signing.Parameters(chosen_key(fingerprint)),
        title="sign",
        image=image,
        inputs={"artifacts": files},
        outputs=("signing-key.asc",),
        secrets=("signing-key",) if fingerprint else (),
        caching=Caching.BY_DIGEST if fingerprint else Caching.NEVER,
        epoch=epoch,
    ).out


def chosen_key(fingerprint: str) -> signing.ChosenKey:
    """Return the key with that fingerprint; without one, a key that a step makes for itself."""
    return signing.ChosenKey(fingerprint, "" if fingerprint else EPHEMERAL_IDENTITY)


def verify(image: Image, inputs: Mapping[str, Tree], *, key: str, fingerprint: str) -> Step:
    """Return the step that checks the release in the input `release`: `verification.json` with what it found."""
    return inside(
        "verify.verify",
        verifying.Parameters("/in/release", key, fingerprint, out="/out/verification.json"),
        title="verify the release",
        image=image,
        inputs=inputs,
        outputs=("verification.json",),
        exit_code=ExitCode.IS_DATA,
    )


def _describe(artifact: Artifact) -> release_index.Described:
    step = artifact.made_by
    return release_index.Described(
        name=artifact.name,
        kind=artifact.kind.value,
        media_type=artifact.media_type,
        target=artifact.target,
        variant=artifact.variant,
        subject=artifact.subject,
        step=step.digest if step else "",
        step_title=step.title if step else "",
        optional=artifact.optional,
    )


def _images(tree: Tree) -> list[Image]:
    """Return the images of all steps, sorted. Two names for one root are two images: each stands in for its own."""
    found = {(step.image.name, step.image.digest): step.image for step in steps_of(tree)}
    return [found[key] for key in sorted(found)]


def _image(image: Image) -> release_index.AboutImage:
    base = image.base
    return release_index.AboutImage(
        name=image.name,
        digest=image.digest,
        base=base.name,
        content=base.content,
        reference=base.reference,
        resolved=base.resolved,
        stands_in_for=base.stands_in_for,
        layers=tuple(release_index.Layer(mount, (maker_of(tree) or tree).digest) for mount, tree in image.layers),
        made_from=base.made_from,
        packages=base.installed if base.made_from else (),
    )
