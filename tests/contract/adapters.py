"""The engines that the contract suite runs over, each behind the same small face.

To add one: write a class with the members of `Adapter`, and a line in `ADAPTERS`. Dagger is among them only where
there is an engine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import anyio

from pipeline.engine.base import Event, Secret
from pipeline.engine.local import LocalEngine, NetworkSettings
from pipeline.images.needs import FOUND
from pipeline.model.image import Image
from pipeline.model.step import Step
from pipeline.model.tree import Tree
from tests import tiny_root
from tests.conftest import DAGGER_HOST, require_tool

DAY = "2026-01-01"


class Adapter(Protocol):
    """One engine under test."""

    image: Image
    """An image with a POSIX shell, bash and basic tools."""
    shows_commands: bool
    """Whether the engine shows every command line before anything can look for secrets in it."""
    listener: str
    """The address at which a step with network reaches a server that the test starts on this machine."""
    events: list[Event]
    """What the engine has told its observer."""

    def run(
        self,
        tree: Tree,
        *,
        given: Mapping[str, Path] | None = None,
        secrets: Mapping[str, bytes] | None = None,
        prebuilt: Mapping[str, Tree] | None = None,
    ) -> Path:
        """Evaluate `tree` and return a directory of this machine with its files."""
        ...

    def look(self, step: Step) -> str:
        """Return what a step that looks into its image has found, carried out as a session does that."""
        ...

    def again(self, today: str = DAY) -> None:
        """Start the engine afresh over the same store, as the next invocation would; it is told that day."""
        ...

    def said(self) -> str:
        """Return everything that the engine has logged or told its observer."""
        ...

    def kept(self) -> list[Path]:
        """Return the directories of this machine in which the engine keeps anything."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class LocalAdapter:
    """The embedded engine over a tiny root file system."""

    listener = "127.0.0.1"
    shows_commands = False

    def __init__(self, folder: Path, root: Path) -> None:
        require_tool("bwrap")
        self.image = tiny_root.image(root)
        self.home = folder / "home"
        self.events: list[Event] = []
        self._roots = {self.image.base.content: root}
        self.engine = self._open(DAY)

    def _open(self, today: str) -> LocalEngine:
        network = NetworkSettings()
        observer = self.events.append
        return LocalEngine(self.home, roots=self._roots, jobs=4, observer=observer, network=network, today=today)

    def run(
        self,
        tree: Tree,
        *,
        given: Mapping[str, Path] | None = None,
        secrets: Mapping[str, bytes] | None = None,
        prebuilt: Mapping[str, Tree] | None = None,
    ) -> Path:
        wrapped = {name: Secret(value) for name, value in (secrets or {}).items()}

        async def work() -> Path:
            return await self.engine.evaluate(tree, given=given, secrets=wrapped, prebuilt=prebuilt)

        return anyio.run(work)

    def look(self, step: Step) -> str:
        return (self.run(step.out) / FOUND).read_text()

    def again(self, today: str = DAY) -> None:
        self.engine.close()
        self.engine = self._open(today)

    def said(self) -> str:
        logs = [path.read_text(encoding="utf-8", errors="replace") for path in (self.home / "logs").iterdir()]
        return "\n".join([*logs, *(event.text for event in self.events)])

    def kept(self) -> list[Path]:
        return [self.home]

    def close(self) -> None:
        self.engine.close()


def _dagger(folder: Path, root: Path) -> Adapter:
    # Imported here: dagger-io takes half a second, and the embedded engine's tests need none of it.
    from tests.contract.dagger_adapter import DaggerAdapter

    return DaggerAdapter(folder, root)


ADAPTERS: dict[str, Callable[[Path, Path], Adapter]] = {"local": LocalAdapter}
if os.environ.get(DAGGER_HOST):
    ADAPTERS["dagger"] = _dagger
