"""The graph of a whole release: what the stages of the table make of the values, indexed and signed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipeline.errors import UsageError
from pipeline.model.artifact import Artifact, Kind
from pipeline.model.tree import Merge, Tree
from pipeline.stages import sign
from pipeline.stages.context import Context
from pipeline.stages.prebuilt import prebuilt
from pipeline.stages.stage import Made
from pipeline.stages.table import STAGES, stages_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The graph of one release.

    `parts` is what each stage has made, by its name: packages without signatures in them, for example. `made` is all of
    that together. `artifacts` are the files that the index tells of, signed where they are signed inside, and the
    index. `tree` is the content of `dist/<version>/`. `prebuilt` has trees that stand for the outputs of steps, by
    their digests: what other machines have compiled.
    """

    context: Context = field(repr=False)
    parts: Mapping[str, Made]
    made: Made = field(repr=False)
    artifacts: tuple[Artifact, ...]
    tree: Tree = field(repr=False)
    prebuilt: Mapping[str, Tree] = field(default_factory=dict, repr=False)

    @property
    def binaries(self) -> tuple[Artifact, ...]:
        """The binaries, for each target and variant."""
        return self.made.of(Kind.BINARY)

    @property
    def goals(self) -> tuple[Tree, ...]:
        """What a release evaluates: the verdict first, then everything."""
        return (*([self.made.verdict] if self.made.verdict else []), self.tree)

    def part(self, verb: str) -> Merge:
        """Return what `pipeline <verb>` makes of the release. Raises UsageError when none of its stages is for that."""
        if not any(STAGES[name].verb == verb for name in self.parts):
            others = [name for name, stage in STAGES.items() if stage.verb == verb]
            raise UsageError(
                f"{self.context.product.name} has no stage for `pipeline {verb}`",
                resolution=f"add {' or '.join(others)} to `stages` in its product.toml (docs/extending.md)",
            )
        wanted = [made for name, made in self.parts.items() if verb in (STAGES[name].verb, *STAGES[name].also)]
        return Merge.of(*(artifact.tree for made in wanted for artifact in made.artifacts))


def plan(context: Context) -> Release:
    """Return the release of `context` as a value. Nothing runs.

    Raises UsageError when the chosen targets and variants leave nothing to build, or another machine's binaries are not
    of this release, and ConfigError for `stages` in product.toml that do not exist.
    """
    parts = _parts(context)
    made = _together(parts)
    done = sign.finished(context, made)
    return Release(
        context=context,
        parts=parts,
        made=made,
        artifacts=done.artifacts,
        tree=done.tree,
        prebuilt=prebuilt(context, made),
    )


def remake(context: Context, release: Tree) -> Tree:
    """Return the files of `release`, without signatures, as `context` gives them again."""
    made = _together(_parts(context))
    return sign.unsigned(context, made, release)


def remake_unscanned(context: Context) -> Tree:
    """Return what does not depend on scans. That leaves out the index, which names them."""
    stages = tuple(stage for stage in context.product.stages if stage != "scan")
    product = context.product.model_copy(update={"stages": stages})
    return Merge.of(*(artifact.tree for artifact in _together(_parts(replace(context, product=product))).artifacts))


def _parts(context: Context) -> dict[str, Made]:
    """Return what each stage of the product makes, in the order of the table. Each sees what was made before."""
    parts: dict[str, Made] = {}
    before = Made()
    for name, stage in stages_of(context.product).items():
        parts[name] = stage.make(context, before)
        before += parts[name]
    return parts


def _together(parts: Mapping[str, Made]) -> Made:
    """Return all `parts` as one, with the artifacts sorted by name."""
    made = sum(parts.values(), Made())
    return replace(made, artifacts=tuple(sorted(made.artifacts, key=lambda artifact: artifact.name)))
