"""Records what a source is, and writes exactly its files, on an engine that has no git of its own.

The same answers as `pipeline.source.resolve` gives on a machine with git: a test compares the two.

Params: see `Parameters`.

Outputs: `source.json`, a `Checkout`, and `tree/` with the files. A tag that does not exist is not decided here: then
there is no tree.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

from pipeline.programs import document
from pipeline.programs.common import Problem
from pipeline.programs.start import run_program

POINTER = b"version https://git-lfs.github.com/spec/"
POINTER_SIZE = 1024  # bytes; Git LFS writes no larger pointer files


@dataclass(frozen=True)
class Parameters:
    """What is looked for, and how."""

    ref: str
    """The git tag of the version; with `revision`, the tag that this commit was fetched for."""
    revision: str
    """The commit that was fetched, empty for a directory that somebody gave."""
    commit: str
    """The commit that a person says it is, or empty."""
    folder: str
    """The product's folder in its own repository, or empty."""
    module: str
    """The folder of go.mod in the source."""
    snapshot: bool
    """Take a work tree as it is."""
    epoch: int
    """The time of a directory that is not a repository, in seconds since 1970."""
    config: str
    """What git reads here instead of anybody's own configuration."""
    attributes: str
    """The same for attributes."""
    source: Path = Path("/in/source")
    """The directory that was given: a work tree with `.git`, a bare repository, or neither."""
    out: Path = Path("/out")


@dataclass(frozen=True)
class FoundSource:
    """A source that was found."""

    tree: str
    """The id of git's tree object."""
    revision: str
    """The commit; empty where none is known."""
    ref: str
    epoch: int
    """Seconds since 1970."""
    verified: bool
    """The files are those of the commit."""
    snapshot: bool
    dirty: bool
    """The files differ from those of the commit."""
    go_mod: str = ""
    """The text of go.mod."""
    vendored: bool = False


@dataclass(frozen=True)
class Checkout:
    """source.json: the source, or the names of all tags there are where that of the version is not among them."""

    source: Optional[FoundSource]
    tags: tuple[str, ...] = ()


class Git:
    """A repository of our own that borrows the objects of the given one."""

    def __init__(self, folder: Path, params: Parameters) -> None:
        self.folder, source = folder, params.source
        self.repository = folder / "repository"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitconfig").write_text(params.config, encoding="utf-8")
        self.run("init", "--bare", "--quiet", "--template=")
        (self.repository / "info").mkdir(exist_ok=True)
        (self.repository / "info" / "attributes").write_text(params.attributes, encoding="utf-8")
        self.is_repository = self.look(source, "rev-parse", "--is-bare-repository").returncode == 0
        if self.is_repository:
            found = self.output(self.look(source, "rev-parse", "--git-path", "objects"))
            alternates = self.repository / "objects" / "info" / "alternates"
            alternates.parent.mkdir(parents=True, exist_ok=True)
            alternates.write_text(f"{source / found}\n", encoding="utf-8")

    def run(
        self, *arguments: str, cwd: Path | None = None, check: bool = True, env: Mapping[str, str] | None = None
    ) -> str:
        """Run git in our own repository and return its output. Raises Problem if it fails and `check` is set."""
        variables = {**self._own(), "GIT_DIR": str(self.repository), **(env or {})}
        done = subprocess.run(["git", *arguments], env=variables, cwd=cwd, capture_output=True, check=False)
        if check and done.returncode:
            output = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise Problem(f"git {arguments[0]} failed with exit code {done.returncode}", *output[-5:])
        return self.output(done)

    def look(self, directory: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run git in the given repository, and in no repository around it."""
        env = {**self._own(), "GIT_OPTIONAL_LOCKS": "0", "GIT_CEILING_DIRECTORIES": str(directory.parent)}
        return subprocess.run(["git", *arguments], env=env, cwd=directory, capture_output=True, check=False)

    @staticmethod
    def output(done: subprocess.CompletedProcess[bytes]) -> str:
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def _own(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.folder),
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TERMINAL_PROMPT": "0",
        }

    def tree_of(self, commit: str, path: str = "") -> str:
        """Return the tree of a commit or tree, or of a folder in it, or nothing."""
        return self.run("rev-parse", "--verify", "--quiet", f"{commit}:{path}", check=False)

    def epoch_of(self, commit: str) -> int:
        """Return the committer's time of a commit, in seconds since 1970."""
        return int(self.run("show", "--no-patch", "--no-show-signature", "--format=%ct", commit))

    def tree_of_directory(self, top: Path, path: str = ".", commit: str = "") -> str:
        """Return the tree of the files at `path` below `top`; with a commit, without what its ignore rules exclude."""
        variables = {"GIT_INDEX_FILE": str(self.folder / "index"), "GIT_WORK_TREE": str(top)}
        if commit:
            self.run("read-tree", "--reset", commit, cwd=top, env=variables)
        self.run("add", "--all", *(() if commit else ("--force",)), "--", path, cwd=top, env=variables)
        written = self.run("write-tree", cwd=top, env=variables)
        return written if path == "." else self.tree_of(written, path)

    def lay_out(self, tree: str, target: Path) -> None:
        """Write exactly the files of `tree`. Raises Problem when what was written is something else."""
        target.mkdir()
        first = {"GIT_INDEX_FILE": str(self.folder / "first"), "GIT_WORK_TREE": str(target)}
        self.run("read-tree", tree, cwd=target, env=first)
        self.run("checkout-index", "--all", "--quiet", cwd=target, env=first)
        second = {**first, "GIT_INDEX_FILE": str(self.folder / "second")}
        self.run("add", "--all", "--force", "--", ".", cwd=target, env=second)
        found = self.run("write-tree", cwd=target, env=second)
        if found != tree:
            raise Problem(f"the written files are tree {found}, not {tree}")


def resolve(git: Git, source: Path, params: Parameters) -> Checkout:
    """Return the facts about the source; only `tags` if the tag does not exist."""
    if not git.is_repository:
        return directory(git, source, params)
    bare = git.output(git.look(source, "rev-parse", "--is-bare-repository")) == "true"
    folder = params.folder
    if params.revision:
        return of_commit(git, params.revision, params)
    if folder and not bare and (source / folder).is_dir():
        if git.look(source, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").returncode:
            return directory(git, source / folder, params)
        return work_tree(git, source, folder, params)
    if params.snapshot and not bare:
        return work_tree(git, source, ".", params)
    return tagged(git, source, params)


def tagged(git: Git, source: Path, params: Parameters) -> Checkout:
    """Return the source that the tag names in the given repository."""
    wanted = f"refs/tags/{params.ref}^{{commit}}"
    found = git.look(source, "rev-parse", "--verify", "--quiet", wanted)
    if found.returncode:
        tags = git.output(git.look(source, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/tags"))
        return Checkout(None, tuple(tags.splitlines()))
    commit = git.output(found)
    if params.commit and params.commit != commit:
        raise Problem(f"the tag {params.ref} is commit {commit}, not {params.commit}")
    return of_commit(git, commit, params)


def of_commit(git: Git, commit: str, params: Parameters) -> Checkout:
    """Return the source that a commit is."""
    return Checkout(
        FoundSource(
            tree=git.tree_of(commit),
            revision=commit,
            ref=params.ref,
            epoch=git.epoch_of(commit),
            verified=True,
            snapshot=params.snapshot,
            dirty=False,
        )
    )


def work_tree(git: Git, top: Path, folder: str, params: Parameters) -> Checkout:
    """Return a work tree as it is: its commit's if it is clean, else a snapshot."""
    found = git.look(top, "rev-parse", "--verify", "HEAD^{commit}")
    if found.returncode:
        raise Problem("the repository has no commit")
    head = git.output(found)
    if params.commit and params.commit != head:
        raise Problem(f"the source is at commit {head}, not {params.commit}")
    tree = git.tree_of_directory(top, folder, head)
    dirty = tree != git.tree_of(head, "" if folder == "." else folder)
    return Checkout(
        FoundSource(
            tree=tree,
            revision=head,
            ref="",
            epoch=git.epoch_of(head),
            verified=not dirty,
            snapshot=dirty or params.snapshot,
            dirty=dirty,
        )
    )


def directory(git: Git, path: Path, params: Parameters) -> Checkout:
    """Return a directory that is not a repository."""
    return Checkout(
        FoundSource(
            tree=git.tree_of_directory(path),
            revision=params.commit,
            ref="",
            epoch=params.epoch,
            verified=False,
            snapshot=params.snapshot or not params.commit,
            dirty=False,
        )
    )


def check(git: Git, tree: str, root: Path) -> None:
    """Raise Problem for files that are not in the source: submodules, and what is only a pointer of Git LFS."""
    entries = git.run("ls-tree", "-r", "-z", tree).split("\0")
    modules = [line.split("\t", 1)[1] for line in entries if line.startswith("160000 ")]
    if modules:
        raise Problem(f"the source has git submodules, whose files are not in it: {', '.join(modules[:5])}")
    if not any(b"filter=lfs" in path.read_bytes() for path in root.rglob(".gitattributes") if path.is_file()):
        return
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.stat().st_size > POINTER_SIZE:
            continue
        if path.read_bytes().startswith(POINTER):
            raise Problem(f"{path.relative_to(root)} is a pointer of Git LFS, not the file itself")


def main(params: Parameters) -> None:
    """Write what the source is, and its files."""
    out = params.out
    git = Git(Path.cwd() / "git", params)
    checkout = resolve(git, params.source, params)
    found = checkout.source
    if found is not None:
        git.lay_out(found.tree, out / "tree")
        check(git, found.tree, out / "tree")
        root = out / "tree" / params.module
        if not (root / "go.mod").is_file():
            raise Problem(f"the source has no go.mod in {params.module!r}")
        module = (root / "go.mod").read_text(encoding="utf-8")
        found = replace(found, go_mod=module, vendored=(root / "vendor" / "modules.txt").is_file())
    document.write(out / "source.json", Checkout(found, checkout.tags))


if __name__ == "__main__":
    run_program(main, Parameters)
