"""The packages that the machines install: this project's own, of the example or of a real SeaweedFS.

    WEED_SOURCE=/path/to/seaweedfs WEED_TAG=4.44 ./pipelinew test tests/vm
    WEED_RELEASE=dist/4.44 WEED_OLDER_RELEASE=dist/4.43 ./pipelinew test tests/vm

The first releases that source (`WEED_ARGUMENTS`: further arguments of `pipelinew release`), the second takes folders
that are made already. Without an older release, the tests of upgrades are skipped. The example is built
once more for them, as the version before.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from tests.integration.released import pipeline, succeeded

OLDER = ("package", "--product", "example", "--tag", "v1.2.2", "--source", "examples/weed", "--commit", "2" * 40)
ONLY = ("--target", "linux/amd64", "--variant", "standard")

INSTALLABLE = ("_amd64.deb", ".x86_64.rpm", ".noarch.rpm", "-linux-amd64.tar.gz", "signing-key.asc")
"""How the names end of what an x86-64 machine gets."""


GIVEN = ("WEED_RELEASE", "WEED_SOURCE")
"""The variables with which a person chooses what is installed, instead of the example."""


def without(what: str) -> NoReturn:
    """Skip a test that the release under test lacks something for. The example must have everything."""
    if any(os.environ.get(name) for name in GIVEN):
        pytest.skip(what)
    pytest.fail(f"{what}, and the example must have it")


@dataclass(frozen=True, slots=True)
class Packages:
    """Folders with packages, and what they are called."""

    product: str
    version: str
    current: Path
    older: Path | None
    older_version: str

    def place(self, folder: Path) -> Path:
        """Copy what an x86-64 machine can install into `folder`/current and `folder`/older."""
        for name, source in (("current", self.current), ("older", self.older)):
            (folder / name).mkdir(parents=True)
            for path in sorted(source.iterdir()) if source else ():
                if path.name.endswith(INSTALLABLE):
                    (folder / name / path.name).write_bytes(path.read_bytes())
        return folder


def build(folder: Path, example: Callable[[], Path], *, older: bool) -> Packages:
    """Find or make what the environment asks for, in `folder`, and with `older` the version before it.

    `example` returns the folder of the example's release.
    """
    before = Path(found).absolute() if (found := os.environ.get("WEED_OLDER_RELEASE")) else None
    if release := os.environ.get("WEED_RELEASE"):
        return _packages(Path(release).absolute(), before)
    if source := os.environ.get("WEED_SOURCE"):
        more = shlex.split(os.environ.get("WEED_ARGUMENTS", ""))
        seaweedfs = ("release", "--product", "seaweedfs", "--source", source, "--tag", os.environ["WEED_TAG"], *more)
        return _packages(_made(seaweedfs, folder), before)
    return _packages(example(), _made((*OLDER, *ONLY), folder) if older else None)


def _made(arguments: tuple[str, ...], folder: Path) -> Path:
    return Path(succeeded(pipeline(*arguments, "--dist", str(folder))).strip())


def _packages(current: Path, older: Path | None) -> Packages:
    """Read names and versions off the files: `<product>_<version>-<revision>~<distribution>_amd64.deb`."""
    product, version = _named(current)
    return Packages(product, version, current, older, _named(older)[1] if older else "")


def _named(folder: Path) -> tuple[str, str]:
    (deb,) = (path for path in folder.glob("*_amd64.deb") if "-fips_" not in path.name)
    product, version, _ = deb.name.split("_")
    return product, version.partition("-")[0]
