"""The Dagger engine under test. One session, in a thread with its own event loop, serves the whole suite."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import dagger

from pipeline.config.images import BUILDER, load_images
from pipeline.engine.base import Event
from pipeline.engine.dagger.engine import DaggerEngine
from pipeline.host.folders import packaging_folder
from pipeline.images import exported
from pipeline.images.catalog import Catalog
from pipeline.model.image import Image
from pipeline.model.step import Step
from pipeline.model.tree import Tree
from pipeline.oci.export import export
from pipeline.run.dagger_images import looker
from tests import tiny_root
from tests.contract.adapters import DAY

IMAGES = "PIPELINE_TEST_IMAGES"
"""A folder of `pipeline images export` with the image `go`; without it, its reference is pulled."""
LISTENER = "PIPELINE_TEST_LISTENER"
"""The address of this machine as containers of the engine see it, where it is not that of the default route."""

Result = TypeVar("Result")


class _Session:
    """A connection to the engine and the loop that it lives in."""

    def __init__(self) -> None:
        self.log = Path(tempfile.mkstemp(prefix="dagger-", suffix=".log")[1])
        self._output = self.log.open("w", encoding="utf-8")
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        if found := shutil.which("dagger"):
            os.environ.setdefault("_EXPERIMENTAL_DAGGER_CLI_BIN", found)
        self._connection = dagger.Connection(dagger.Config(log_output=self._output))
        self.client = self.run(self._connection.__aenter__())
        atexit.register(self.close)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def said(self) -> str:
        self._output.flush()
        return self.log.read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        self.run(self._connection.__aexit__(*sys.exc_info()))
        self._output.close()
        self.log.unlink()


@cache
def _session() -> _Session:
    return _Session()


@cache
def _builder() -> tuple[Image, dict[str, Path]]:
    """Return the image that `seal` is compiled in, and the archive that its base is in."""
    specs = load_images(packaging_folder())
    folder = Path(os.environ[IMAGES]) if os.environ.get(IMAGES) else None
    roots = exported.read(folder / exported.INDEX) if folder else {}
    catalog = Catalog(specs, home=Path("/nonexistent"), pull=True, local=False, exported=roots)
    archives = {root.content: folder / root.archive for root in roots.values()} if folder else {}
    return catalog.image(BUILDER), archives


class DaggerAdapter:
    """Dagger, over the same tiny root file system as the embedded engine."""

    shows_commands = True
    _numbers = itertools.count()

    def __init__(self, folder: Path, root: Path) -> None:
        self.image = tiny_root.image(root)
        self.listener = os.environ.get(LISTENER) or _own_address()
        self.events: list[Event] = []
        self._folder = folder
        self._session = _session()
        self._before = len(self._session.said())
        archive = root.with_name("tiny.tar")
        if not archive.exists():
            export(archive, [("/", root)], path=self.image.path, name="tiny")
        builder, archives = _builder()
        host = self._session.client.host()
        archives = {**archives, self.image.base.content: archive}
        self.engine = DaggerEngine(
            self._session.client,
            builder,
            archives={content: host.file(str(path)) for content, path in archives.items()},
            observer=self.events.append,
            today=DAY,
        )

    def run(
        self,
        tree: Tree,
        *,
        given: Mapping[str, Path] | None = None,
        secrets: Mapping[str, bytes] | None = None,
        prebuilt: Mapping[str, Tree] | None = None,
    ) -> Path:
        client = self._session.client
        number = next(self._numbers)
        target = self._folder / f"exported-{number}"

        async def work() -> Path:
            found = await self.engine.evaluate(
                tree,
                given={name: client.host().directory(str(path), no_cache=True) for name, path in (given or {}).items()},
                secrets={
                    name: client.set_secret(f"{name}-{number}", value.decode())
                    for name, value in (secrets or {}).items()
                },
                prebuilt=prebuilt,
            )
            await found.export(str(target))
            return target

        return self._session.run(work())

    def look(self, step: Step) -> str:
        async def work() -> str:
            return await looker(self.engine.client, self.engine.archives)(step)

        return self._session.run(work())

    def again(self, today: str = DAY) -> None:
        self.engine = replace(self.engine, today=today)

    def said(self) -> str:
        return "\n".join([self._session.said()[self._before :], *(event.text for event in self.events)])

    def kept(self) -> list[Path]:
        return []

    def close(self) -> None:
        """The session stays for the next test."""


def _own_address() -> str:
    """Return the address from which this machine reaches the world. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
