"""Trees: immutable descriptions of a directory, and what carries one out to files is an engine.

Every file an engine lays out from a tree has the modification time that its step states (see `Step.epoch`);
files of `Files` and `Given` have `BASE_EPOCH`. Owners are never part of a tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

from pipeline.model.identity import Identified, identify, sha256_hex

if TYPE_CHECKING:
    from pipeline.model.step import Step

BASE_EPOCH = 315532800
"""1980-01-01T00:00:00Z in seconds: the earliest time that a zip archive can hold."""


def check_path(path: str) -> str:
    """Return `path` if it is relative, normalised, inside its tree and free of control characters.

    Raises ValueError otherwise: a path that reaches out of its tree is a programming error in a stage.
    """
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or str(pure) != path or not path.isprintable():
        raise ValueError(f"not a relative path inside a tree: {path!r}")
    return path


@dataclass(frozen=True, slots=True)
class File:
    """One literal file: its bytes and its permission bits."""

    content: bytes = field(repr=False)
    mode: int = 0o644

    @staticmethod
    def text(content: str, *, mode: int = 0o644) -> File:
        """Return a file with `content` encoded as UTF-8."""
        return File(content.encode("utf-8"), mode)


@dataclass(frozen=True, slots=True, eq=False)
class Files(Identified):
    """Literal files by relative path, sorted. Parent directories are implied, with mode 0755."""

    entries: tuple[tuple[str, File], ...] = field(repr=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        paths = [check_path(path) for path, _ in self.entries]
        if paths != sorted(set(paths)):
            raise ValueError("the paths of Files must be sorted and unique")
        listing = [[path, file.mode, sha256_hex(file.content)] for path, file in self.entries]
        object.__setattr__(self, "digest", identify("files/1", listing))

    @staticmethod
    def of(entries: Mapping[str, File | str | bytes]) -> Files:
        """Return a tree of `entries`; text is encoded as UTF-8, mode 0644 unless a `File` says otherwise."""
        files = {}
        for path, value in entries.items():
            if isinstance(value, File):
                files[path] = value
            else:
                files[path] = File(value.encode("utf-8") if isinstance(value, str) else value)
        return Files(tuple(sorted(files.items())))


@dataclass(frozen=True, slots=True, eq=False)
class Given(Identified):
    """A directory that comes from outside: a source checkout, a scanner database.

    `identity` says which one, as `scheme:value`: `git-tree:<sha1>`, or `sha256:<hex>` of its content listing.
    The code that builds the graph vouches for it; the engine receives the directory under `name`.
    """

    name: str
    identity: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", identify("given/1", self.identity))


@dataclass(frozen=True, slots=True, eq=False)
class Output(Identified):
    """What a step leaves in `/out`."""

    step: Step = field(repr=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", identify("output/1", self.step.digest))


@dataclass(frozen=True, slots=True, eq=False)
class Merge(Identified):
    """Several trees in one directory, each below its prefix (empty for the top).

    Two trees that both bring the same file are an error of the engine that lays them out, never a silent win.
    """

    parts: tuple[tuple[str, Tree], ...] = field(repr=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        for prefix, _ in self.parts:
            if prefix:
                check_path(prefix)
        object.__setattr__(self, "digest", identify("merge/1", [[p, t.digest] for p, t in self.parts]))

    @staticmethod
    def of(*parts: Tree | tuple[str, Tree]) -> Merge:
        """Return the union of `parts`: a bare tree is at the top, a pair `(prefix, tree)` below its prefix."""
        return Merge(tuple(part if isinstance(part, tuple) else ("", part) for part in parts))


@dataclass(frozen=True, slots=True, eq=False)
class Pick(Identified):
    """The named files or directories of `tree`, at their own paths seen from `root`.

    With no paths: everything below `root`. A path that does not exist is an error that names it, unless it is
    listed in `optional`.
    """

    tree: Tree = field(repr=False)
    paths: tuple[str, ...] = ()
    root: str = ""
    optional: tuple[str, ...] = ()
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        for path in (*self.paths, *self.optional, *([self.root] if self.root else [])):
            check_path(path)
        fields = [self.tree.digest, self.root, sorted(self.paths), sorted(self.optional)]
        object.__setattr__(self, "digest", identify("pick/1", fields))


Tree: TypeAlias = Files | Given | Output | Merge | Pick

EMPTY = Files(())


def children(tree: Tree) -> tuple[Tree, ...]:
    """Return the trees that `tree` is combined from; a step's inputs are not among them."""
    match tree:
        case Merge():
            return tuple(part for _, part in tree.parts)
        case Pick():
            return (tree.tree,)
        case _:
            return ()
