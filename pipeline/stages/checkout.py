"""Source: what a repository or a directory is that an engine has, found by a step where this machine cannot look."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.config.product import Product
from pipeline.errors import SourceError, StepFailedError, VersionError
from pipeline.model.guard import unknown_tag
from pipeline.model.image import Image
from pipeline.model.source import Source, go_directive, go_module, go_toolchain
from pipeline.model.step import Step
from pipeline.model.tree import BASE_EPOCH, Tree
from pipeline.model.version import Version
from pipeline.programs.source.checkout import Checkout, Parameters
from pipeline.source.git import ATTRIBUTES, CONFIG
from pipeline.source.location import parse_url
from pipeline.stages.program import inside

FOUND = "source.json"
FILES = "tree"


def checkout(source: Tree, params: Parameters, *, image: Image) -> Step:
    """Return the step that says what `source` is (`source.json`) and lays out its files (`tree/`)."""
    return inside(
        "source.checkout",
        params,
        title="read the source",
        image=image,
        inputs={"source": source},
        outputs=(FOUND,),
    )


def parameters(
    product: Product,
    version: Version,
    *,
    revision: str = "",
    commit: str = "",
    snapshot: bool = False,
    epoch: int = BASE_EPOCH,
) -> Parameters:
    """Return what the program has to know. `revision` is the commit that was fetched for the version's tag.

    `epoch` is the time of a directory that is not a repository, in seconds since 1970.
    """
    return Parameters(
        ref=version.git_ref(product.source.tag),
        revision=revision,
        commit=commit,
        folder=product.source.path,
        module=product.source.module,
        snapshot=snapshot,
        epoch=epoch,
        config=CONFIG,
        attributes=ATTRIBUTES,
    )


def source_of(checkout: Checkout, product: Product, version: Version) -> Source:
    """Return the source that the program has found. Raises VersionError when it has no such tag."""
    found = checkout.source
    if found is None:
        raise no_such_tag(product, version, checkout.tags, where="--source")
    return Source(
        identity=f"git-tree:{found.tree}",
        revision=found.revision,
        ref=found.ref,
        epoch=found.epoch,
        url=parse_url(product.source.git).fetch_url if found.ref else "",
        module=go_module(found.go_mod),
        go_directive=go_directive(found.go_mod),
        go_toolchain=go_toolchain(found.go_mod),
        vendored=found.vendored,
        verified=found.verified,
        snapshot=found.snapshot,
        dirty=found.dirty,
    )


def no_such_tag(product: Product, version: Version, tags: Sequence[str], *, where: str) -> VersionError:
    """Return the error for a version whose tag is not among `tags`."""
    rules = product.source.tag, product.version.scheme
    problem = unknown_tag(version, style=rules[0], scheme=rules[1], tags=tags)
    return VersionError(problem.brief, details=f"Looked in {where}", resolution=problem.resolution)


def unusable(step: Step, error: StepFailedError) -> SourceError | None:
    """Return the error for a source that `step` has refused with a reason; nothing for any other failure."""
    output = [line.removeprefix("error: ") for line in error.output if line.startswith("error: ")]
    if step.digest != error.digest or not output:
        return None
    return SourceError(output[0], details="\n".join(output[1:]), resolution="correct it, or give another --source")
