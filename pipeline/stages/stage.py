"""What a stage is: a plain function from the values of a release, and what was made before, to what it adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.model.artifact import Artifact, Kind
from pipeline.model.tree import Tree
from pipeline.stages.context import Context


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What one stage adds to a release, or several stages together.

    No package is made, and nothing is indexed or signed, before the steps of all `gates` have succeeded; a gate is an
    input of those steps, under its name. `verdict` is the file `verdict.json`, which says whether the release may go
    out, and `reports` is what a person reads when it may not. `statements` have a day: the index names them without
    their digests.
    """

    artifacts: tuple[Artifact, ...] = ()
    statements: tuple[Artifact, ...] = ()
    gates: Mapping[str, Tree] = field(default_factory=dict, repr=False)
    verdict: Tree | None = field(default=None, repr=False)
    reports: Tree | None = field(default=None, repr=False)

    def __add__(self, other: Made) -> Made:
        """Return both together. Raises ValueError for two gates with one name, or two verdicts."""
        if (self.verdict and other.verdict) or (self.reports and other.reports):
            raise ValueError("a release has one verdict, with its reports")
        return Made(
            artifacts=(*self.artifacts, *other.artifacts),
            statements=(*self.statements, *other.statements),
            gates=gated(self.gates, other.gates),
            verdict=self.verdict or other.verdict,
            reports=self.reports or other.reports,
        )

    def of(self, *kinds: Kind) -> tuple[Artifact, ...]:
        """Return the artifacts of `kinds`, in the order in which they were made."""
        return tuple(artifact for artifact in self.artifacts if artifact.kind in kinds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage, `STAGE` of the file with its name. `pipeline/stages/table.py` lists them.

    `make` gets the values of the release, and what the stages above it in the table have made. A stage that is not
    `chosen` is part of every release, and adds nothing where there is nothing to do; the others are named in
    `stages` of product.toml, together with those that they need. `pipeline VERB` delivers what the stages with that
    verb make, and those that have it in `also`.
    """

    make: Callable[[Context, Made], Made]
    chosen: bool = True
    needs: tuple[str, ...] = ()
    verb: str = ""
    also: tuple[str, ...] = ()


def gated(inputs: Mapping[str, Tree], gates: Mapping[str, Tree]) -> dict[str, Tree]:
    """Return the inputs of a step that waits for `gates`. Raises ValueError for a gate with the name of an input."""
    twice = inputs.keys() & gates.keys()
    if twice:
        raise ValueError(f"a gate needs a name of its own, not {', '.join(sorted(twice))}")
    return {**inputs, **gates}
