"""Laying out trees that no step makes: literal files, what comes from outside, and combinations."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from pipeline.engine.failure import not_given
from pipeline.engine.local.entry import Materialized
from pipeline.errors import EngineError
from pipeline.host.content import FOLDER, Item, Listing, SpecialFileError, copy_items, scan
from pipeline.model.step import Step
from pipeline.model.tree import BASE_EPOCH, Files, Given, Merge, Output, Pick, Tree

Placed = dict[str, tuple[Item, str]]
"""What will be at each path, and where its bytes come from."""

_IMPLIED = 0o755
"""Permission bits of a directory that nobody named."""


def lay_out(tree: Tree, target: Path, parts: Sequence[Materialized], given: Mapping[str, Path]) -> Listing | None:
    """Make the files of `tree` in the empty directory `target`, out of its laid-out `parts`.

    Returns the listing if it is known from those of the parts. Raises EngineError for trees that do not fit
    together, and OSError.
    """
    match tree:
        case Files():
            _write(tree, target)
        case Given():
            _copy_in(tree, target, given)
        case Merge():
            named = [(prefix, part.listing(), part.path) for (prefix, _), part in zip(tree.parts, parts, strict=True)]
            return _copy(merge(named), target)
        case Pick():
            return _copy(pick(tree, parts[0].listing(), parts[0].path), target)
        case Output():
            raise AssertionError("an output is laid out by its step")
    return None


def merge(parts: Sequence[tuple[str, Listing, Path]]) -> Placed:
    """Return the union of listings, each below its prefix. Raises EngineError for a path that two bring."""
    placed: Placed = {}
    for prefix, items, root in parts:
        if prefix:
            _imply(placed, prefix)
            _place(placed, Item(prefix, FOLDER, _IMPLIED), "")
        for item in items:
            path = f"{prefix}/{item.path}" if prefix else item.path
            _place(placed, item._replace(path=path), f"{root}/{item.path}")
    return placed


def pick(tree: Pick, items: Listing, root: Path) -> Placed:
    """Return what `tree` picks of a listing. Raises EngineError for a path that does not exist."""
    placed: Placed = {}
    by_path = {item.path: item for item in items}
    base = f"{tree.root}/" if tree.root else ""
    missing = [path for path in tree.paths if base + path not in by_path]
    if missing:
        raise EngineError(
            f"{describe(tree.tree)} has no {', '.join(base + path for path in missing)}",
            details="it has: " + (", ".join(sorted(by_path)[:20]) or "nothing"),
        )
    for path in (*tree.paths, *tree.optional):
        if base + path not in by_path:
            continue
        for parent in reversed(PurePosixPath(path).parents[:-1]):
            placed[str(parent)] = (by_path[f"{base}{parent}"]._replace(path=str(parent)), f"{root}/{base}{parent}")
        for item in items:
            if item.path == base + path or item.path.startswith(f"{base}{path}/"):
                placed[item.path[len(base) :]] = (item._replace(path=item.path[len(base) :]), f"{root}/{item.path}")
    return placed


def describe(tree: Tree) -> str:
    """Return what people call a tree."""
    match tree:
        case Files():
            return "a set of files"
        case Given():
            return f"what was given as {tree.name}"
        case Output():
            return f'the output of step "{tree.step.title}"'
        case Merge():
            return "a combination of trees"
        case Pick():
            return f"a part of {describe(tree.tree)}"


def _write(tree: Files, target: Path) -> None:
    placed: Placed = {}
    for path, file in tree.entries:
        _imply(placed, path)
        _place(placed, Item(path, "f", file.mode), "")
    copy_items([entry for _, entry in sorted(placed.items()) if entry[0].kind == FOLDER], target, BASE_EPOCH)
    for path, file in tree.entries:
        (target / path).write_bytes(file.content)
        (target / path).chmod(file.mode)


def _copy_in(tree: Given, target: Path, given: Mapping[str, Path]) -> None:
    source = given.get(tree.name)
    if source is None:
        raise EngineError(
            f"the directory {tree.name!r} that this needs was not given", details=f"its identity: {tree.identity}"
        )
    if not source.is_dir():
        raise EngineError(
            f"{source}, given as {tree.name!r}, is not a directory", resolution="give a directory that exists"
        )
    try:
        items = scan(source, hashed=False)
    except SpecialFileError as error:
        raise EngineError(
            f"{source}, given as {tree.name!r}, cannot be used: {error}", resolution="remove it from there"
        ) from error
    copy_items([(item, f"{source}/{item.path}") for item in items], target, BASE_EPOCH)


def _copy(placed: Placed, target: Path) -> Listing:
    entries = [entry for _, entry in sorted(placed.items())]
    copy_items(entries, target, BASE_EPOCH)
    return tuple(item for item, _ in entries)


def _imply(placed: Placed, path: str) -> None:
    for parent in reversed(PurePosixPath(path).parents[:-1]):
        _place(placed, Item(str(parent), FOLDER, _IMPLIED), "")


def _place(placed: Placed, item: Item, source: str) -> None:
    """Put `item` at its path. Directories unite, with the bits of both; anything else must be alone there."""
    present = placed.get(item.path)
    if present is None:
        placed[item.path] = (item, source)
    elif present[0].kind == item.kind == FOLDER:
        placed[item.path] = (item._replace(mode=item.mode | present[0].mode), source or present[1])
    else:
        raise EngineError(
            f"two merged trees both have {item.path}",
            resolution="put one of them below a prefix, or pick only the paths that you need",
        )


def view(node: Pick, part: Materialized) -> Materialized:
    """Return a folder inside of a tree as a tree of its own. Raises EngineError when it is missing."""
    result = part.view(node.root) if node.root else part
    if result is None:
        raise EngineError(f"{describe(node.tree)} has no directory {node.root}")
    return result


def stand_in(step: Step, given: Materialized) -> Materialized:
    """Return the output that was given for `step`. Raises EngineError when it lacks what the step promises."""
    missing = [path for path in step.outputs if not os.path.lexists(given.path / path)]
    if missing:
        raise not_given(step, missing)
    return given
