"""Getting a source: from a git URL, a repository on this machine, or a plain directory, to an exact tree."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio

from pipeline.config.product import Product
from pipeline.errors import SourceError, VersionError
from pipeline.host.locks import locked
from pipeline.model.guard import unknown_tag
from pipeline.model.source import Source, go_directive, go_module, go_toolchain
from pipeline.model.step import MAX_EPOCH
from pipeline.model.tree import BASE_EPOCH
from pipeline.model.version import Version, show
from pipeline.source.git import Git
from pipeline.source.location import Location, is_url, local, parse_url
from pipeline.source.pins import Pins

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_POINTER = b"version https://git-lfs.github.com/spec/"
_POINTER_SIZE = 1024
"""In bytes; Git LFS writes no larger pointer files (Git LFS specification, the pointer)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A source, and the directory on this machine that holds exactly its files."""

    source: Source
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    product: Product
    version: Version
    git: Git
    pins: Pins
    commit: str
    snapshot: bool
    accept_moved_tag: bool
    say: Callable[[str], None]


def _quiet(_: str) -> None:
    """Say nothing."""


async def resolve(
    product: Product,
    version: Version,
    *,
    home: Path,
    project: Path,
    where: str | None = None,
    commit: str | None = None,
    snapshot: bool = False,
    accept_moved_tag: bool = False,
    say: Callable[[str], None] = _quiet,
) -> Checkout:
    """Return the source of `version`, checked out below `home`.

    `where` is a git URL, a repository or a directory; without it the product says. `project` is the top of this
    project's own repository, for products that live in it. A directory that is not a repository is a snapshot unless
    `commit` says what it was made from. With `snapshot`, a repository's work tree is taken as it is.

    Raises SourceError, or VersionError for a tag that does not exist.
    """
    check_commit(commit)
    git = Git(home / "git")
    waiting = partial(say, "waiting for another pipeline that fetches its source")
    async with locked(home / "git" / "lock", waiting=waiting):
        await git.prepare()
        request = _Request(
            product=product,
            version=version,
            git=git,
            pins=Pins(home, product.name),
            commit=commit or "",
            snapshot=snapshot,
            accept_moved_tag=accept_moved_tag,
            say=say,
        )
        if where is None and product.source.path:
            source = await _own(request, project)
        elif where is None:
            source = await _tagged(request, parse_url(product.source.git))
        elif is_url(where):
            source = await _tagged(request, parse_url(where))
        else:
            source = await _from_path(request, Path(where).absolute())
        return await _finished(request, source)


def check_commit(commit: str | None) -> None:
    """Raise SourceError for what is not the full name of a commit."""
    if commit and not _COMMIT.fullmatch(commit):
        raise SourceError(f"{show(commit)} is not a commit", resolution="give all 40 digits, as `git rev-parse` does")


async def _tagged(request: _Request, location: Location, *, work_tree: bool = False) -> Source:
    git, product = request.git, request.product
    ref = request.version.git_ref(product.source.tag)
    tags = await git.remote_tags(location)
    if ref not in tags:
        raise await _unknown(request, location, tags, work_tree)
    commit = tags[ref]
    if request.commit and request.commit != commit:
        raise SourceError(
            f"the tag {ref} is commit {commit}, not {request.commit}", resolution="correct --commit, or leave it out"
        )
    if not request.snapshot and not request.accept_moved_tag:
        request.pins.check(ref, commit)
    if not await git.has(commit):
        request.say(f"fetching {ref} from {location.shown}")
        await git.fetch(location, commit, f"refs/tags/{ref}")
    if not request.snapshot:
        request.pins.set(ref, commit)
    return Source(
        identity="git-tree:" + await git.tree_of(commit),
        revision=commit,
        ref=ref,
        epoch=await _epoch(git, commit),
        url=product.source.git if location.local else location.fetch_url,
        verified=True,
        snapshot=request.snapshot,
    )


async def _unknown(request: _Request, location: Location, tags: dict[str, str], work_tree: bool) -> VersionError:
    rules = request.product
    problem = unknown_tag(request.version, style=rules.source.tag, scheme=rules.version.scheme, tags=tags.keys())
    resolution = problem.resolution
    if location.local:
        answer = await request.git.look(Path(location.shown), "rev-parse", "--is-shallow-repository")
        if answer.text == "true":
            resolution = (
                f"it is a shallow clone: run `git fetch --unshallow --tags` in it to get all tags; {resolution}"
            )
    if work_tree:
        resolution += "; --snapshot builds the work tree as it is"
    return VersionError(problem.brief, details=f"Looked in {location.shown}", resolution=resolution)


async def _epoch(git: Git, commit: str) -> int:
    epoch = await git.time_of(commit)
    if not 0 <= epoch < MAX_EPOCH:
        raise SourceError(
            f"commit {commit} has an impossible time: {epoch} seconds since 1970",
            resolution="release another commit: no file can have that time",
        )
    return epoch


async def _from_path(request: _Request, path: Path) -> Source:
    if not path.is_dir():
        problem = "is a file, not a directory" if path.exists() else "does not exist"
        raise SourceError(f"the source {path} {problem}", resolution="give a git URL, a repository or a directory")
    git = request.git
    place = await git.look(path, "rev-parse", "--is-bare-repository")
    if place.code:
        return await _directory(request, path)
    bare = place.text == "true"
    folder = request.product.source.path
    if folder and not bare and (path / folder).is_dir():
        return await _own(request, path)
    if request.snapshot and not bare:
        return await _work_tree(request, path, ".")
    return await _tagged(request, local(path), work_tree=not bare)


async def _own(request: _Request, project: Path) -> Source:
    """Return a folder of this project's own repository: its commit's if it is clean, else a snapshot."""
    folder = request.product.source.path
    if not (project / folder).is_dir():
        raise SourceError(f"{project / folder} does not exist", resolution="correct source.path in the product")
    head = await request.git.look(project, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if head.code:
        return await _directory(request, project / folder)
    return await _work_tree(request, project, folder)


async def _work_tree(request: _Request, top: Path, folder: str) -> Source:
    git = request.git
    head = (await git.look(top, "rev-parse", "--verify", "HEAD^{commit}", check=True)).text
    await git.fetch(local(top), head, "HEAD")
    tree = await git.tree_of_directory(top, folder, commit=head)
    dirty = tree != await git.tree_of(head, "" if folder == "." else folder)
    if request.commit and request.commit != head:
        raise SourceError(f"{top} is at commit {head}, not {request.commit}", resolution="check that commit out first")
    return Source(
        identity=f"git-tree:{tree}",
        revision=head,
        epoch=await _epoch(git, head),
        verified=not dirty,
        snapshot=dirty or request.snapshot,
        dirty=dirty,
    )


async def _directory(request: _Request, path: Path) -> Source:
    tree = await request.git.tree_of_directory(path)
    return Source(
        identity=f"git-tree:{tree}",
        revision=request.commit,
        epoch=given_epoch(os.environ.get("SOURCE_DATE_EPOCH", "")),
        snapshot=request.snapshot or not request.commit,
    )


def given_epoch(text: str) -> int:
    """Return SOURCE_DATE_EPOCH (reproducible-builds.org) in seconds: a directory has no time. Raises SourceError."""
    if not text:
        return BASE_EPOCH
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) >= MAX_EPOCH:
        raise SourceError(f"SOURCE_DATE_EPOCH is {show(text)}", resolution="set it to seconds since 1970, or unset it")
    return int(text)


async def _finished(request: _Request, source: Source) -> Checkout:
    """Lay the tree out, and read from its files what the build has to know."""
    git = request.git
    tree = source.identity.partition(":")[2]
    modules = [path for mode, path in await git.entries(tree) if mode == "160000"]
    if modules:
        raise SourceError(
            f"the source has git submodules, whose files are not in it: {', '.join(modules[:5])}",
            resolution="give a directory in which the submodules are filled in, and its --commit",
        )
    path = await git.check_out(tree)
    _check_pointers(path)
    root = path / request.product.source.module
    try:
        go_mod = (root / "go.mod").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"the source has no readable go.mod in {request.product.source.module!r}",
            details=str(error),
            resolution="correct source.module in the product, or give another --source",
        ) from error
    found = replace(
        source,
        module=go_module(go_mod),
        go_directive=go_directive(go_mod),
        go_toolchain=go_toolchain(go_mod),
        vendored=(root / "vendor" / "modules.txt").is_file(),
    )
    return Checkout(source=found, path=path)


def _check_pointers(root: Path) -> None:
    """Raise SourceError if files are only pointers of Git LFS. Only a tree that asks for LFS is searched."""
    attributes = (path.read_bytes() for path in root.rglob(".gitattributes") if path.is_file())
    if not any(b"filter=lfs" in text for text in attributes):
        return
    for path in root.rglob("*"):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _POINTER_SIZE:
            continue
        if path.read_bytes().startswith(_POINTER):
            raise SourceError(
                f"{path.relative_to(root)} is a pointer of Git LFS, not the file itself",
                resolution="give a directory after `git lfs pull`, and its --commit",
            )


def list_tags(repository: Path) -> tuple[str, ...]:
    """Return the names of all tags of a repository on this machine, sorted. Raises SourceError for another folder."""
    return tuple(sorted(_ask(repository, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/tags").splitlines()))


def tags_at_head(repository: Path) -> tuple[str, ...]:
    """Return the names of the tags of the commit that is checked out, sorted. Raises SourceError."""
    return tuple(sorted(_ask(repository, "tag", "--points-at", "HEAD").splitlines()))


def dirty_paths(repository: Path) -> tuple[str, ...]:
    """Return the paths of a work tree that differ from its commit, untracked ones included. Raises SourceError."""
    text = _ask(repository, "status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all")
    return tuple(entry[3:] for entry in text.split("\0") if entry)


def _ask(repository: Path, *arguments: str) -> str:
    if not repository.is_dir():
        raise SourceError(f"{repository} is not a directory", resolution="name a git repository")
    with tempfile.TemporaryDirectory(prefix="pipeline-git-") as folder:
        git = Git(Path(folder))
        git.configure()
        return anyio.run(git.ask, repository.absolute(), *arguments)
