"""Packages of the example in other versions than its release, and a machine to install them on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import anyio

from pipeline.config.policy import load_policy
from pipeline.config.product import load_product
from pipeline.config.toolchain import Toolchain
from pipeline.engine.local import LocalEngine
from pipeline.host import content
from pipeline.host.folders import home_folder, packaging_folder
from pipeline.images.catalog import Catalog, load_images
from pipeline.model.artifact import Artifact, Kind
from pipeline.model.source import Source
from pipeline.model.tree import Files, Given, Pick
from pipeline.model.version import parse_tag
from pipeline.stages import deb, rpm
from pipeline.stages.context import Context, Options
from pipeline.stages.package import load_packaging
from pipeline.stages.stage import Made
from tests.conftest import require_tool

MARK = "== done "


def catalog(overrides: Mapping[str, str] | None = None) -> Catalog:
    return Catalog(load_images(packaging_folder()), home=home_folder(None), overrides=overrides)


def context(version: str, images: Catalog, changes: Mapping[str, tuple[str, str]] | None = None) -> Context:
    """Return the values of a release of the example as `version`.

    `changes` names packaging files, and what in them becomes what.
    """
    folder = packaging_folder() / "products" / "example"
    product = load_product(folder)
    files = dict(load_packaging(folder, product).entries)
    for path, (old, new) in (changes or {}).items():
        assert old.encode() in files[path].content, f"{path}: {old}"
        files[path] = replace(files[path], content=files[path].content.replace(old.encode(), new.encode()))
    return Context(
        product=product,
        version=parse_tag(version),
        source=Source(identity="git-tree:" + "a" * 40, revision="1" * 40, epoch=1_700_000_000, go_directive="1.24"),
        policy=load_policy(folder / "policy.toml"),
        toolchain=Toolchain(version="1.24.13", sum="h1:x", reason="go.mod says `go 1.24`"),
        images={name: images.image(name) for name in images.names()},
        options=Options(targets=("linux/amd64",)),
        packaging=Files.of(files),
    )


def build(
    binary: Path,
    version: str,
    out: Path,
    *wanted: str,
    changes: Mapping[str, tuple[str, str]] | None = None,
    images: Catalog | None = None,
) -> list[Path]:
    """Make the packages of `version` whose names begin with one of `wanted`, of a binary that is there.

    Beside it lies its notice. `changes`: see `context`. `images` are the project's own unless told otherwise.
    """
    images = images or catalog()
    given = Given("dist", content.digest_of(binary.parent))
    built = Artifact(
        name=binary.name,
        kind=Kind.BINARY,
        tree=Pick(given, paths=(binary.name,)),
        target="linux/amd64",
        variant="standard",
    )
    name = f"{binary.name}.NOTICE.txt"
    notice = Artifact(name=name, kind=Kind.NOTICE, tree=Pick(given, paths=(name,)), subject=built.name)
    values = context(version, images, changes)
    before = Made(artifacts=(built, notice))
    made = [artifact for stage in (deb, rpm) for artifact in stage.make(values, before).artifacts]
    chosen = [artifact for artifact in made if artifact.name.startswith(wanted)]

    async def work() -> list[Path]:
        with LocalEngine(home_folder(None), roots=images.roots()) as engine:
            where = [await engine.evaluate(artifact.tree, given={"dist": binary.parent}) for artifact in chosen]
            return [
                Path(out / artifact.name) for artifact, folder in zip(chosen, where, strict=True)
                if (out / artifact.name).write_bytes((folder / artifact.name).read_bytes())
            ]  # fmt: skip

    return anyio.run(work)


class Machine:
    """The root file system of the packaging image with a layer of its own, as root would see it. No systemd runs."""

    def __init__(self, shell: subprocess.Popen[str]) -> None:
        self._shell = shell

    def attempt(self, command: str) -> tuple[int, str]:
        """Run `command` and return its exit code and what it said."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"({command}\n) </dev/null 2>&1; printf '\\n{MARK}%s\\n' $?\n")
        self._shell.stdin.flush()
        lines: list[str] = []
        for line in self._shell.stdout:
            if line.startswith(MARK):
                return int(line.removeprefix(MARK)), "".join(lines).rstrip("\n")
            lines.append(line)
        raise AssertionError(f"the shell ended at: {command}\n{''.join(lines)}")

    def run(self, command: str) -> str:
        """Run a command that must succeed and return what it said."""
        code, said = self.attempt(command)
        assert code == 0, f"{command}: exit code {code}\n{said}"
        return said

    def listing(self, *places: str) -> Mapping[str, str]:
        """Return type, mode, owner and group of everything below `places`, by path."""
        format_ = "%p|%y %#m %u:%g\\n"
        said = self.run(f"find {' '.join(places)} -xdev -printf '{format_}' 2>/dev/null | sort")
        return dict(line.rsplit("|", 1) for line in said.splitlines() if line)


SETUP = """
set -e
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
mount --rbind /dev "$2/root/dev"
mount --rbind /proc "$2/root/proc"
mkdir "$2/root/packages"
mount --bind "$3" "$2/root/packages"
exec chroot "$2/root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C sh
"""


@contextmanager
def machine(packages: Path, scratch: Path, image: str | Path = "deb-ubuntu22.04") -> Iterator[Machine]:
    """Yield a machine with the root of `image`, or in that folder, that sees the folder `packages` at /packages.

    Nothing of it is left afterwards.
    """
    unshare = require_tool("unshare")
    images = catalog()
    root = image if isinstance(image, Path) else images.roots()[images.base(image).content]
    scratch.mkdir()
    # Not root: with a range of subordinate ids, because packages have files of other users.
    mapped = [] if os.geteuid() == 0 else ["--user", "--map-root-user", "--map-auto"]
    argv = [unshare, "--mount", *mapped, "sh", "-c", SETUP, "sh", str(root), str(scratch), str(packages)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as shell:
        try:
            yield Machine(shell)
        finally:
            assert shell.stdin is not None
            shell.stdin.close()
            shell.wait(timeout=60)
