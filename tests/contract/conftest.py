"""The engine under test, once for each engine that there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.model.step import Step
from tests import tiny_root
from tests.contract.adapters import ADAPTERS, Adapter

MakeStep = Callable[..., Step]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root file system, built once."""
    return tiny_root.build(tmp_path_factory.mktemp("tiny") / "root")


@pytest.fixture(params=sorted(ADAPTERS))
def engine(request: pytest.FixtureRequest, tmp_path: Path, tiny: Path) -> Iterator[Adapter]:
    """An engine with an empty store."""
    adapter = ADAPTERS[request.param](tmp_path, tiny)
    yield adapter
    adapter.close()


@pytest.fixture
def step(engine: Adapter) -> MakeStep:
    """Makes a step that runs a shell script."""

    def make(script: str, *, title: str = "test", **fields: Any) -> Step:
        return Step(title=title, image=engine.image, argv=("sh", "-euc", script), **fields)

    return make
