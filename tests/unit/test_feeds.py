"""Scanner databases that are not to be had: the run goes on, and the gate is told why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from pipeline.cli.progress import Progress
from pipeline.engine import failure
from pipeline.errors import EngineError, StepFailedError
from pipeline.model.tree import Output, Tree
from pipeline.run import feeds
from pipeline.run.local import local_backend
from pipeline.run.request import Request
from pipeline.run.walk import Walk
from pipeline.stages.context import Context, Databases
from tests.unit.test_release_graph import context, made

FEED = replace(context(), options=replace(context().options, databases=Databases.FEED))
BINARIES = [binary.tree for binary in made(FEED).binaries]
LABELS = [f"{target} {variant}" for target in ("linux-amd64", "linux-arm64") for variant in ("standard", "fips")]
WHY = 'step "trivy database from its feed" failed with exit code 1 (FATAL connection refused); the next run tries again'


def fetched(
    given: Context, fail: str, error: type[Exception] = StepFailedError
) -> tuple[Context, list[str], list[str]]:
    """Return the context, the titles of the steps that were evaluated, and what was said, when one step fails."""
    asked: list[str] = []
    said: list[str] = []

    async def evaluate(tree: Tree) -> None:
        assert isinstance(tree, Output)
        asked.append(tree.step.title)
        if tree.step.title.startswith(fail):
            if error is not StepFailedError:
                raise error("broken")
            output = ["INFO trying", "FATAL  connection refused", ""]
            raise failure.failed(tree.step, failure.ended_with(1), output=output, log="/logs/1")

    return anyio.run(feeds.fetched, given, evaluate, said.append, BINARIES), asked, said


def test_a_feed_that_fails_leaves_its_reason_and_the_others_their_databases() -> None:
    found, asked, said = fetched(FEED, "trivy database")
    assert found.missing == {"trivy": WHY}
    feeds_asked = [f"{name} database from its feed" for name in ("grype", "trivy", "govulncheck")]
    assert sorted(asked) == sorted([*feeds_asked, *(f"build {label}" for label in LABELS)])
    assert said == [f"trivy: no database: {WHY}; log: /logs/1"]


def test_an_engine_that_cannot_work_is_no_missing_database() -> None:
    with pytest.raises(EngineError):
        fetched(FEED, "trivy database", EngineError)


def test_nothing_is_fetched_for_databases_that_are_there() -> None:
    assert fetched(context(), "")[1] == []


def test_a_folder_without_a_database_or_with_an_empty_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "trivy").mkdir()

    def missing() -> dict[str, str]:
        request = Request(scan_db=str(tmp_path))
        with local_backend(request, Progress()) as backend:
            return anyio.run(Walk(request, backend)._missing)

    assert missing() == {
        "grype": "the folder of --scan-db has nothing in grype/",
        "trivy": "the folder of --scan-db has nothing in trivy/",
    }
    for name in ("grype", "trivy"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "database").touch()
    assert missing() == {}
