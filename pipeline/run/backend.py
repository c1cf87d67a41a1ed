"""What a walk asks of an engine and of the machine around it. `local.py` and `dagger.py` answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from pipeline.config.policy import Policy
from pipeline.config.product import Product
from pipeline.images.catalog import Catalog
from pipeline.model.source import Source
from pipeline.model.step import Step
from pipeline.model.tree import Given, Tree
from pipeline.model.version import Version
from pipeline.programs.sign.inspect_key import InspectedKey
from pipeline.run.request import FilePlace, FolderPlace, Request

Directory_co = TypeVar("Directory_co", covariant=True)
"""Where a backend has the files of a tree: a path, or a `dagger.Directory`."""


class Backend(Protocol[Directory_co]):
    """One engine, and what a person has given it."""

    prebuilt: Mapping[str, Tree]
    """Trees that stand for the outputs of steps, by their digests, in all that is evaluated from now on."""

    @property
    def catalog(self) -> Catalog:
        """The images, as this engine gets them."""
        ...

    @property
    def first(self) -> Iterable[Step]:
        """The steps that the engine itself carries out before any other."""
        ...

    def note(self, text: str) -> None:
        """Print one line for the person who watches."""
        ...

    async def source(self, request: Request, product: Product, version: Version) -> Source:
        """Return what the source is, and keep its files for the steps. Raises SourceError and VersionError."""
        ...

    async def bring(self, name: str, place: FolderPlace) -> Given:
        """Make a directory that a person named available to steps as `name`, identified by its content."""
        ...

    def own(self, folder: str) -> FolderPlace:
        """Return a folder of this project, whose path is relative to it."""
        ...

    async def names(self, place: FolderPlace, folder: str = "") -> list[str] | None:
        """Return the content of a directory that a person named, or of a folder in it; None if it does not exist.

        Names of folders end with a slash.
        """
        ...

    async def policy(self, place: FilePlace) -> Policy:
        """Return the policy in a file that a person named. Raises ConfigError."""
        ...

    async def prepare(self, names: Iterable[str]) -> None:
        """Get the images `names`. Raises ImageError for one that is not available."""
        ...

    async def look(self, step: Step) -> str:
        """Carry out a step that looks at an image, and return its file `found`."""
        ...

    async def evaluate(self, tree: Tree) -> Directory_co:
        """Carry out `tree`, whose images are prepared, and return its directory. Raises what the engine raises."""
        ...

    async def read(self, tree: Tree, path: str) -> str:
        """Carry out `tree` and return the text of one of its files."""
        ...

    def remembered(self, request: Request) -> InspectedKey | None:
        """Return what is known of the signing key from the last time, if anything is."""
        ...

    async def key(self, request: Request) -> str:
        """Give steps the signing key, and return where it is from; empty when a key of this run alone is to sign."""
        ...

    def remember(self, described: InspectedKey) -> None:
        """Keep what the signing key turned out to be, for the next time."""
        ...
