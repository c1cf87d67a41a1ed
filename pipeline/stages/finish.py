"""Index, checksums, signatures: what turns a set of artifacts into a release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.model.artifact import Artifact, Kind
from pipeline.model.graph import steps_of
from pipeline.model.image import Image
from pipeline.model.step import Effect, ExitCode, Step
from pipeline.model.tree import Merge, Output, Tree
from pipeline.stages.context import Context
from pipeline.stages.inside import inside

EPHEMERAL_IDENTITY = "Key of one run - not for shipping <ephemeral@localhost>"


def index(
    context: Context, artifacts: Sequence[Artifact], described: Sequence[Artifact], approval: Tree | None
) -> Artifact:
    """Return `release.json` with its checksums: what each artifact is, its digest, and the step that made it.

    `described` are the same artifacts as the index tells of them.
    """
    everything = Merge.of(*(artifact.tree for artifact in artifacts))
    inputs: dict[str, Tree] = {"artifacts": everything}
    if approval is not None:
        inputs["approval"] = approval
    step = inside(
        "index",
        {
            "artifacts_dir": "/in/artifacts",
            "out": "/out",
            "product": {
                "name": context.product.name,
                "title": context.product.title,
                "license": context.product.license,
            },
            "version": context.version.number,
            "snapshot": context.options.snapshot,
            "source": {
                "url": context.source.url,
                "commit": context.source.revision,
                "verified": context.source.verified,
                "dirty": context.source.dirty,
                "ref": context.source.ref,
                "tree": context.source.identity,
                "epoch": context.epoch,
            },
            "artifacts": [_describe(artifact) for artifact in described],
            "images": [_image(image) for image in _images(Merge.of(*(artifact.tree for artifact in described)))],
        },
        title="index and checksums",
        image=context.image("debian"),
        inputs=inputs,
        outputs=("SHA256SUMS", "SHA512SUMS", "release.json"),
        epoch=context.epoch,
    )
    return Artifact(name="release.json", kind=Kind.INDEX, media_type="application/json", tree=step.out)


def inspect_key(image: Image) -> Step:
    """Return the step that reads the signing key and says which it is: `key.json` with its fingerprint."""
    return inside(
        "inspect_key",
        {"out": "/out/key.json"},
        title="inspect the signing key",
        image=image,
        inputs={},
        outputs=("key.json",),
        secrets=("signing-key",),
        effect=Effect.VOLATILE,
    )


def signatures(context: Context, release: Tree) -> Tree:
    """Return a detached signature for every file of `release`, and the public key to check them with."""
    options = context.options
    fingerprint = "" if options.ephemeral_key else options.signing_fingerprint
    return sign(release, image=context.image("debian"), fingerprint=fingerprint, epoch=context.epoch)


def sign(files: Tree, *, image: Image, fingerprint: str, epoch: int) -> Tree:
    """Return the signatures of `files` by the secret `signing-key`, which must have that fingerprint.

    Without one, by a key that the step makes for itself and keeps from everybody: its result is never the same.
    """
    key = {"fingerprint": fingerprint} if fingerprint else {"ephemeral_identity": EPHEMERAL_IDENTITY}
    return inside(
        "sign",
        {"artifacts_dir": "/in/artifacts", "out": "/out", **key},
        title="sign",
        image=image,
        inputs={"artifacts": files},
        outputs=("signing-key.asc",),
        secrets=("signing-key",) if fingerprint else (),
        effect=Effect.PURE if fingerprint else Effect.VOLATILE,
        epoch=epoch,
    ).out


def verify(image: Image, inputs: Mapping[str, Tree], *, key: str, fingerprint: str) -> Step:
    """Return the step that checks the release in the input `release`: `verification.json` with what it found."""
    return inside(
        "verify",
        {"release": "/in/release", "key": key, "fingerprint": fingerprint, "out": "/out/verification.json"},
        title="verify the release",
        image=image,
        inputs=inputs,
        outputs=("verification.json",),
        exit_code=ExitCode.IS_DATA,
    )


def _describe(artifact: Artifact) -> dict[str, str]:
    step = artifact.made_by
    return {
        "name": artifact.name,
        "kind": artifact.kind.value,
        "media_type": artifact.media_type,
        "target": artifact.target,
        "variant": artifact.variant,
        "subject": artifact.subject,
        "step": step.digest if step else "",
        "step_title": step.title if step else "",
    }


def _images(tree: Tree) -> list[Image]:
    found = {step.image.digest: step.image for step in steps_of(tree)}
    return sorted(found.values(), key=lambda image: (image.name, image.digest))


def _image(image: Image) -> dict[str, object]:
    layers = [
        {"mount": mount, "step": tree.step.digest if isinstance(tree, Output) else tree.digest}
        for mount, tree in image.layers
    ]
    return {
        "name": image.name,
        "digest": image.digest,
        "base": image.base.name,
        "content": image.base.content,
        "reference": image.base.reference,
        "stands_in_for": image.base.stands_in_for,
        "layers": layers,
    }
