"""Bundles: what a release needs from the network, carried to a machine that has none."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import StoreError, UsageError
from pipeline.model.graph import direct_steps, predecessors, steps_of
from pipeline.model.step import Step
from pipeline.model.tree import Tree

DATABASES = "databases"
"""The folder of scanner databases, each set below a name of its own: two days' sets never mix."""
FOLDERS = ("images", "store", "git", "pins", DATABASES)
"""What a bundle may hold, seen from the home. Keys, logs and caches stay where they are."""


def needed(tree: Tree) -> tuple[Step, ...]:
    """Return the steps whose results make the rest of `tree` possible without a network.

    These are the steps that fetch, and those that make a tool; what either was made from is not needed any more.
    """
    found: dict[str, Step] = {}
    seen: set[str] = set()
    pending = list(direct_steps((tree,)))
    while pending:
        step = pending.pop()
        if step.digest in seen:
            continue
        seen.add(step.digest)
        for tool in direct_steps(tuple(layer for _, layer in step.image.layers)):
            found[tool.digest] = tool
        if step.network:
            found[step.digest] = step
        else:
            tools = {tool.digest for tool in direct_steps(tuple(layer for _, layer in step.image.layers))}
            pending.extend(before for before in predecessors(step) if before.digest not in tools)
    return tuple(sorted(found.values(), key=lambda step: step.title))


def tools(tree: Tree) -> tuple[Step, ...]:
    """Return the steps that make a tool which a step below `tree` runs with."""
    found = {
        tool.digest: tool
        for step in steps_of(tree)
        for tool in direct_steps(tuple(layer for _, layer in step.image.layers))
    }
    return tuple(sorted(found.values(), key=lambda step: step.title))


def carry(folders: Iterable[Path], home: Path, other: Path) -> None:
    """Copy `folders` of the store in `home` to the same places in `other`: entries, and names that point to them."""
    for folder in folders:
        target = other / folder.relative_to(home)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if target.is_symlink() or target.exists():
            continue
        if folder.is_symlink():
            target.symlink_to(folder.readlink())
        else:
            shutil.copytree(folder, target, symlinks=True)


def write(target: Path, home: Path, folders: Iterable[Path], others: Mapping[str, Path] | None = None) -> int:
    """Write the tar archive `target`, whole or not at all, and return its size in bytes.

    It holds `folders` of `home`, and `others` under the names that they have as keys.
    """
    aside = target.with_name(f".{target.name}.partial")
    try:
        with tarfile.open(aside, "w", format=tarfile.PAX_FORMAT) as archive:
            for folder in sorted(folders):
                archive.add(folder, arcname=str(folder.relative_to(home)))
            for name, folder in sorted((others or {}).items()):
                archive.add(folder, arcname=name)
        aside.replace(target)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise StoreError(
            f"cannot write the bundle {target}: {error.strerror}", resolution="make room, or name another file"
        ) from error
    return target.stat().st_size


@dataclass(frozen=True, slots=True)
class Installed:
    """What a bundle held: the number of its files, and the folder of its scanner databases, if any."""

    files: int
    databases: Path | None


def install(source: Path, home: Path) -> Installed:
    """Unpack the bundle `source` into `home` and return what it held. Existing files stay.

    Raises UsageError for an archive that holds anything that a bundle does not.
    """
    try:
        with tarfile.open(source) as archive:
            members = list(_checked(archive, source))
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Modes as they are: a root has folders that anybody may write to. Names were checked above.
            archive.extraction_filter = staticmethod(lambda member, _: member)
            archive.extractall(home, members=[member for member in members if not _present(home, member)])  # noqa: S202
    except (OSError, tarfile.TarError) as error:
        raise UsageError(f"{source} cannot be unpacked: {error}", resolution="copy the bundle again") from error
    sets = sorted({"/".join(parts[:2]) for m in members if (parts := m.name.split("/"))[0] == DATABASES and parts[1:]})
    return Installed(sum(1 for member in members if member.isfile()), home / sets[0] if sets else None)


def _checked(archive: tarfile.TarFile, source: Path) -> Iterator[tarfile.TarInfo]:
    links: set[str] = set()
    for member in archive:
        parts = member.name.split("/")
        behind = any("/".join(parts[:depth]) in links for depth in range(1, len(parts)))
        if parts[0] not in FOLDERS or member.isdev() or ".." in parts or behind:
            raise UsageError(
                f"{source} is not a bundle: it holds {member.name}", resolution="make one: `pipeline bundle`"
            )
        if member.issym():
            links.add(member.name)
        yield member


def _present(home: Path, member: tarfile.TarInfo) -> bool:
    return (home / member.name).is_symlink() or ((home / member.name).exists() and not member.isdir())
