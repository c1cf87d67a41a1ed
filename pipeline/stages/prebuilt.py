"""Binaries that other machines compiled: they stand for the outputs of the steps that would compile them here.

So the graph, and every digest in it, is the same on however many machines a release is made.
"""

from __future__ import annotations

from pipeline.errors import UsageError
from pipeline.model.artifact import Artifact, Kind
from pipeline.model.step import Step
from pipeline.model.tree import Given, Pick, Tree
from pipeline.stages.context import Context
from pipeline.stages.stage import Made


def prebuilt(context: Context, made: Made) -> dict[str, Tree]:
    """Return the tree that stands for the output of each step that need not compile, by the digest of the step.

    Raises UsageError for a folder of another machine that has no binary of this release, or files of another one.
    """
    binaries = [binary for binary in made.of(Kind.BINARY) if binary.name in context.prebuilt]
    found = {binary.name: context.prebuilt[binary.name] for binary in binaries}
    foreign = sorted(context.prebuilt.keys() - {artifact.name for artifact in made.artifacts})
    useless = sorted({tree.name for tree in context.prebuilt.values()} - {tree.name for tree in found.values()})
    if foreign or useless:
        raise UsageError(
            f"--from brings what this release does not make: {', '.join(foreign)}"
            if foreign
            else "a folder of --from has no binary of this release",
            details="this release makes: " + ", ".join(binary.name for binary in made.of(Kind.BINARY)),
            resolution="run `build` on the other machine with the same --product and --tag, and choose its targets and"
            " variants here too, or leave that folder out",
        )
    return {_step(binary).digest: _take(context, found[binary.name], binary.name) for binary in binaries}


def _step(binary: Artifact) -> Step:
    assert binary.made_by is not None
    return binary.made_by


def _take(context: Context, folder: Given, name: str) -> Tree:
    """Return the output of the step that takes over a binary: on its way between machines it may have lost its mode."""
    return Step(
        title=f"take over {name}",
        image=context.image("debian"),
        argv=("install", "-m", "0755", f"/in/prebuilt/{name}", f"/out/{name}"),
        inputs=(("prebuilt", Pick(folder, paths=(name,))),),
        epoch=context.epoch,
        outputs=(name,),
    ).out
