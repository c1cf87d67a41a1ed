"""Git on this machine: a repository of our own, fetched into by commit, and exact trees out of it.

Two environments. What reads or lays out files sees no configuration but ours, so a user's settings, hooks and
attributes change nothing. What talks to another machine keeps the user's settings, because the way to a repository
(a proxy, a key, a credential helper, a certificate) is theirs to say.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.host.disk import write_whole
from pipeline.host.process import Completed, environment, run
from pipeline.source.location import Location
from pipeline.source.transport import advice, user_environment

logger = logging.getLogger(__name__)

FETCH_TIMEOUT = 3600.0
"""Seconds. A shallow fetch of one commit of a large repository over a slow line."""

CONFIG = """\
# Written by the pipeline. Git reads this instead of the user's own configuration.
[core]
\tattributesFile = /dev/null
\tautocrlf = false
\texcludesFile = /dev/null
\tfileMode = true
\tfsmonitor = false
\thooksPath = /dev/null
\tquotePath = false
\tsafecrlf = false
\tsymlinks = true
[gc]
\tauto = 0
[safe]
\tdirectory = *
"""
ATTRIBUTES = "* -text -eol -ident -filter -working-tree-encoding\n"
"""For `info/attributes`, which outranks every .gitattributes of a tree: files are laid out byte for byte."""

_NOT_OFFERED = re.compile(r"not our ref|unadvertised object|does not allow request|no such remote ref", re.IGNORECASE)


class Git:
    """The repository below `root` (`<home>/git`) that everything is fetched into. Its user holds the lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.repository = root / "repository"
        self.trees = root / "trees"
        self.indexes = root / "indexes"

    def configure(self) -> None:
        """Write the configuration that git reads here instead of the user's."""
        place = self.root / ".gitconfig"
        # Not every caller holds the lock, and a git that starts meanwhile must not read half of it.
        if not place.is_file() or place.read_text("utf-8") != CONFIG:
            write_whole(place, CONFIG.encode())

    async def prepare(self) -> None:
        """Create what is missing, and remove what a killed process left behind. Only for the lock's holder."""
        self.trees.mkdir(parents=True, exist_ok=True)
        self.configure()
        if not (self.repository / "HEAD").is_file():
            await self.run("init", "--bare", "--quiet", "--template=")
        (self.repository / "info").mkdir(exist_ok=True)
        (self.repository / "info" / "attributes").write_text(ATTRIBUTES, encoding="utf-8")
        for stale in (
            *self.repository.glob("*.lock"),
            *(self.repository / "refs").rglob("*.lock"),
            *self.indexes.glob("*.lock"),
        ):
            stale.unlink(missing_ok=True)
        for left in self.trees.glob(".*"):
            shutil.rmtree(left, ignore_errors=True)

    async def run(
        self, *arguments: str, cwd: Path | None = None, check: bool = True, env: Mapping[str, str] | None = None
    ) -> Completed:
        """Run git with no configuration but ours, in our own repository unless `env` names another as GIT_DIR.

        Raises SourceError when it fails, if `check` is set.
        """
        variables = {**self._own(), "GIT_DIR": str(self.repository), **(env or {})}
        done = await run(("git", *arguments), env=environment(**variables), cwd=cwd, check=False, error=SourceError)
        if check and done.code:
            raise SourceError(
                f"git {arguments[0]} failed with exit code {done.code}",
                details=_message(done),
                resolution=f"this is git's own message; if the cache is damaged, delete {self.root}",
            )
        return done

    async def look(self, directory: Path, *arguments: str, check: bool = False) -> Completed:
        """Run git in somebody else's repository at `directory`, and in no repository around it.

        Raises SourceError when it fails, if `check` is set.
        """
        return await self._outside(directory, arguments, check, GIT_CEILING_DIRECTORIES=str(directory.parent))

    async def ask(self, directory: Path, *arguments: str) -> str:
        """Return what git says in the repository that `directory` is in. Raises SourceError when it fails."""
        done = await self._outside(directory, arguments, check=True)
        return done.stdout.decode("utf-8", "surrogateescape")

    async def _outside(self, directory: Path, arguments: Sequence[str], check: bool, **variables: str) -> Completed:
        env = environment(**self._own(), GIT_OPTIONAL_LOCKS="0", **variables)
        done = await run(("git", *arguments), env=env, cwd=directory, check=False, error=SourceError)
        if check and done.code:
            raise SourceError(
                f"git {arguments[0]} failed in {directory}",
                details=_message(done),
                resolution="name a git repository that has a commit",
            )
        return done

    def _own(self) -> dict[str, str]:
        return {
            "HOME": str(self.root),
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TERMINAL_PROMPT": "0",
        }

    async def has(self, commit: str) -> bool:
        """Return whether the commit and all of its files are here."""
        ref = f"refs/pipeline/{commit}"
        return not (await self.run("rev-parse", "--verify", "--quiet", f"{ref}^{{tree}}", check=False)).code

    async def remote_tags(self, location: Location) -> dict[str, str]:
        """Return the commits of all tags at `location`, annotated ones followed to their commit."""
        listing = await self._remote(location, "ls-remote", "--tags", "--", location.fetch_url)
        tags: dict[str, str] = {}
        for line in listing.text.splitlines():
            digest, _, ref = line.partition("\t")
            name = ref.removeprefix("refs/tags/")
            # The line of the commit (`name^{}`) follows that of the tag object, and wins.
            tags[name.removesuffix("^{}")] = digest
        return tags

    async def fetch(self, location: Location, commit: str, ref: str = "") -> None:
        """Fetch one commit without its history, by its name; by `ref` from a server that does not offer that."""
        if await self.has(commit):
            logger.info("commit %s is in %s already; nothing is fetched", commit, self.repository)
            return
        logger.info("commit %s is fetched from %s", commit, location.shown)
        flags = (
            "--quiet --force --depth=1 --no-tags --no-write-fetch-head --no-auto-maintenance --no-recurse-submodules"
        )
        options = ("fetch", *flags.split(), "--", location.fetch_url)
        own = f"refs/pipeline/{commit}"
        try:
            await self._remote(location, *options, f"{commit}:{own}")
        except SourceError as error:
            if not ref or not _NOT_OFFERED.search(error.details):
                raise
            await self._remote(location, *options, f"{ref}:{own}")
        found = (await self.run("rev-parse", "--verify", "--quiet", f"{own}^{{commit}}", check=False)).text
        if found != commit:
            await self.run("update-ref", "-d", own)
            raise SourceError(
                f"{location.shown} gave commit {found or 'nothing'} where {commit} was asked for",
                resolution="run again; if the error stays, the tag moved during the fetch or the server is broken",
            )

    async def _remote(self, location: Location, *arguments: str) -> Completed:
        env = environment(**self._own()) if location.local else user_environment(location)
        done = await run(
            ("git", f"--git-dir={self.repository}", *arguments),
            env=env,
            check=False,
            timeout=FETCH_TIMEOUT,
            error=SourceError,
        )
        if done.code or done.timed_out:
            output = location.redact(_message(done))
            raise SourceError(f"cannot read the repository {location.shown}", details=output, resolution=advice(output))
        return done

    async def tree_of(self, commit: str, path: str = "") -> str:
        """Return the tree of a commit, or of a folder in it; an empty string when there is no such folder."""
        done = await self.run("rev-parse", "--verify", "--quiet", f"{commit}:{path}", check=False)
        return done.text

    async def time_of(self, commit: str) -> int:
        """Return the committer's time of a commit, in seconds since 1970."""
        return int((await self.run("show", "--no-patch", "--no-show-signature", "--format=%ct", commit)).text)

    async def tree_of_directory(self, top: Path, path: str = ".", *, commit: str = "") -> str:
        """Return the tree that git would make of the files at `path` below `top`, and keep their content.

        With a `commit`, what that commit's ignore rules exclude is left out; without, every file counts.
        """
        self.indexes.mkdir(exist_ok=True)
        # Kept, because it spares reading unchanged files again; git knows when a file's time cannot be trusted.
        index = self.indexes / hashlib.sha256(os.fsencode(top)).hexdigest()[:32]
        env = {"GIT_INDEX_FILE": str(index), "GIT_WORK_TREE": str(top)}
        if commit:
            await self.run("read-tree", "--reset", commit, cwd=top, env=env)
        force = () if commit else ("--force",)
        await self.run("add", "--all", *force, "--", path, cwd=top, env=env)
        done = await self.run("write-tree", cwd=top, env=env, check=False)
        if done.code:
            index.unlink()
            raise SourceError(
                f"the cached state of {top} was damaged, and has been removed",
                details=_message(done),
                resolution="run the same command again",
            )
        return done.text if path == "." else await self.tree_of(done.text, path)

    async def check_out(self, tree: str) -> Path:
        """Return a directory with exactly the files of `tree`, laid out once and checked every time.

        Raises SourceError when what git laid out is not the tree: a file system that cannot hold its names.
        """
        place = self.trees / tree
        if place.is_dir():
            if await self._untouched(place):
                logger.debug("hit: the files of tree %s are in %s, and nobody has touched them", tree, place)
                return place / "tree"
            logger.info("the files of tree %s in %s were changed by somebody; they are laid out again", tree, place)
            place.rename(place.with_name(f".damaged-{tree}"))
        aside = Path(tempfile.mkdtemp(prefix=".new-", dir=self.trees))
        (aside / "tree").mkdir()
        try:
            await self._lay_out(tree, aside)
            aside.chmod(0o755)
            aside.rename(place)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return place / "tree"

    async def _lay_out(self, tree: str, aside: Path) -> None:
        work = aside / "tree"
        first = {"GIT_INDEX_FILE": str(aside / "first"), "GIT_WORK_TREE": str(work)}
        await self.run("read-tree", tree, cwd=work, env=first)
        await self.run("checkout-index", "--all", "--quiet", cwd=work, env=first)
        (aside / "first").unlink()
        # A second index, filled from the files alone: it proves them, and its file times make the next check cheap.
        variables = _worktree(aside)
        await self.run("add", "--all", "--force", "--", ".", cwd=work, env=variables)
        found = (await self.run("write-tree", cwd=work, env=variables)).text
        if found != tree:
            raise SourceError(
                f"the written files are tree {found}, not {tree}",
                resolution=f"put the pipeline's home on a file system that keeps case, modes and links; it is {work}",
            )

    async def _untouched(self, place: Path) -> bool:
        work, variables = place / "tree", _worktree(place)
        if (await self.run("update-index", "--refresh", cwd=work, check=False, env=variables)).code:
            return False
        others = await self.run("ls-files", "--others", cwd=work, check=False, env=variables)
        written = await self.run("write-tree", cwd=work, check=False, env=variables)
        return not others.code and not others.stdout and written.text == place.name

    async def entries(self, tree: str) -> list[tuple[str, str]]:
        """Return the mode and the path of everything in a tree."""
        listing = (await self.run("ls-tree", "-r", "-z", tree)).stdout.decode("utf-8", "surrogateescape")
        return [(line.split(" ", 1)[0], line.split("\t", 1)[1]) for line in listing.split("\0") if line]


def _worktree(place: Path) -> Mapping[str, str]:
    return {"GIT_INDEX_FILE": str(place / "index"), "GIT_WORK_TREE": str(place / "tree")}


def _message(done: Completed) -> str:
    text = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
    return "\n".join(text.splitlines()[-15:]) or ("it was stopped after too long" if done.timed_out else "")
