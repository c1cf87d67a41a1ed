"""The table of stages: what is in it, who names the same stages, and what a stage may do to a release."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.parser import build_parser
from pipeline.config.product import list_products, load_product
from pipeline.dagger_module.pipeline import Pipeline
from pipeline.errors import ConfigError, UsageError
from pipeline.model.artifact import Artifact, Kind
from pipeline.model.graph import predecessors
from pipeline.model.step import Step
from pipeline.release import plan as planning
from pipeline.stages import table
from pipeline.stages.context import Context
from pipeline.stages.stage import Made, Stage, gated
from pipeline.stages.table import ORDER, STAGES, stages_of
from tests.unit.test_release_graph import PRODUCTS, context, made, titles

PROJECT = Path(__file__).parents[2]
FINISH = ["sign", "index"]
"""What comes after all stages, whichever they are."""


def with_stages(*names: str) -> Context:
    c = context()
    return replace(c, product=c.product.model_copy(update={"stages": names}))


def test_the_table_has_every_stage_by_the_name_of_its_file() -> None:
    assert all(isinstance(stage, Stage) for stage in STAGES.values())
    folder = PROJECT / "pipeline" / "stages"
    assert set(ORDER) == {path.stem for path in folder.glob("*.py") if "\nSTAGE = " in path.read_text()}


def test_the_stages_of_the_products_exist() -> None:
    for name in list_products(PRODUCTS):
        product = load_product(PRODUCTS / name)
        assert set(product.stages) <= set(stages_of(product))


def test_the_documentation_has_the_table_in_the_same_order() -> None:
    text = (PROJECT / "docs" / "architecture.md").read_text()
    section = text[text.index("\n## Stages\n") :]
    assert re.findall(r"^\| `(\w+)` \|", section[: section.index("\n## ", 1)], re.MULTILINE) == [*ORDER, *FINISH]


def test_the_verbs_of_both_faces_are_those_of_the_stages() -> None:
    verbs = {stage.verb for stage in STAGES.values() if stage.verb}
    assert {verb for stage in STAGES.values() for verb in stage.also} <= verbs
    choices = build_parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    handlers = {name: parser.get_default("handler") for name, parser in choices.items()}  # type: ignore[union-attr]
    assert {name for name, handler in handlers.items() if handler == "release:run"} == {*verbs, "release"}
    assert all(callable(getattr(Pipeline, verb)) for verb in verbs)


def test_a_stage_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(ConfigError) as caught:
        made(with_stages("sbom", "scna"))
    assert "stages[1]: there is no stage 'scna' to choose; did you mean `scan`?" in str(caught.value)
    assert "Allowed: sbom, archive, scan, deb, rpm\n" in str(caught.value)


def test_a_stage_of_every_release_is_not_chosen() -> None:
    with pytest.raises(ConfigError, match="there is no stage 'build' to choose"):
        stages_of(with_stages("build").product)


def test_a_stage_without_one_that_it_needs_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="'deb' needs 'sbom'") as caught:
        stages_of(with_stages("deb", "scan").product)
    assert "add 'sbom' to `stages`" in str(caught.value)


def test_a_release_without_any_chosen_stage_is_binaries_and_their_proofs() -> None:
    release = made(with_stages())
    assert {artifact.kind for artifact in release.artifacts} == {Kind.BINARY, Kind.PROOF, Kind.INDEX}
    assert release.goals == (release.tree,)


def test_each_verb_makes_the_artifacts_of_its_stages() -> None:
    release = made()
    of_binaries = {f"{binary.name}{end}" for binary in release.binaries for end in ("", ".proof.json")}
    about = {f"{binary.name}.{end}" for binary in release.binaries for end in ("cdx.json", "spdx.json", "NOTICE.txt")}
    assert names(release, "build") == of_binaries
    assert names(release, "sbom") == of_binaries | about
    assert names(release, "scan") == {"openvex.json", "scan.json", "scan.md", "scan.sarif"}
    assert {name.rsplit(".", 1)[1] for name in names(release, "package")} == {"deb", "rpm"}


def names(release: planning.Release, verb: str) -> set[str]:
    """Return the names of the artifacts whose trees `verb` evaluates."""
    trees = {tree.digest for _, tree in release.part(verb).parts}
    return {artifact.name for artifact in release.made.artifacts if artifact.tree.digest in trees}


def test_a_verb_without_a_stage_says_which_to_add() -> None:
    for verb, stages in (("scan", "scan"), ("sbom", "sbom"), ("package", "deb or rpm")):
        with pytest.raises(UsageError, match=f"no stage for `pipeline {verb}`") as caught:
            made(with_stages()).part(verb)
        assert f"add {stages} to `stages`" in caught.value.resolution


def test_a_gate_of_any_stage_holds_back_packages_the_index_and_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(c: Context, before: Made) -> Made:
        assert before.of(Kind.SBOM)
        assert not before.of(Kind.PACKAGE)
        step = Step(title="look at the licenses", image=c.image("debian"), argv=("true",))
        return Made(gates={"licenses": step.out})

    stages = dict(STAGES)
    monkeypatch.setattr(
        table,
        "STAGES",
        {name: stages[name] for name in ORDER[:4]} | {"licenses": Stage(make=make, chosen=False)} | stages,
    )
    steps = titles(made())
    waiting = {title for title, step in steps.items() if steps["look at the licenses"] in predecessors(step)}
    assert {
        "index and checksums",
        "sign rpms",
        "deb ubuntu22.04 linux-amd64 fips",
        "rpm ol9 linux-arm64 standard",
    } <= waiting


def test_a_gate_with_the_name_of_an_input_or_of_another_gate_is_refused() -> None:
    tree = Artifact(name="a.json", kind=Kind.REPORT, tree=context().source.tree).tree
    with pytest.raises(ValueError, match="not artifacts"):
        gated({"artifacts": tree}, {"artifacts": tree})
    with pytest.raises(ValueError, match="not approval"):
        _ = Made(gates={"approval": tree}) + Made(gates={"approval": tree})
    with pytest.raises(ValueError, match="one verdict"):
        _ = Made(verdict=tree) + Made(verdict=tree)
    with pytest.raises(ValueError, match="one verdict"):
        _ = Made(reports=tree) + Made(reports=tree)
