"""Running the command line as a person would, and comparing what two releases hold."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
RELEASE = ("release", "--product", "example", "--tag", "v1.2.3", "--source", "examples/weed", "--commit", "1" * 40)
SIGNED = (".asc", ".gpg")
DAY = os.environ["PIPELINE_TEST_DAY"]
"""The day on which the tests began: after midnight, a release would scan again."""


def pipeline(
    *arguments: str, prefix: tuple[str, ...] = (), project: Path = PROJECT, day: str = DAY, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `pipeline` of `project` with `arguments` there, as on that day, and return what it said."""
    as_of = (
        "from pipeline.cli import parser; from pipeline.run import request; "
        f"request.today = lambda: {day!r}; parser.main()"
    )
    argv = [*prefix, sys.executable, "-c", as_of, *arguments]
    env = {**os.environ, **variables}
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=project, env=env)


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command that must succeed printed as its result."""
    assert done.returncode == 0, done.stderr[-6000:]
    return done.stdout


def contents(folder: Path) -> dict[str, tuple[int, float, str]]:
    """Return (mode, modification time, SHA-256) of every file but the signatures, by name."""
    return {
        path.name: (
            path.stat().st_mode & 0o777,
            path.stat().st_mtime,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(folder.iterdir())
        if not path.name.endswith(SIGNED)
    }


TOOL_STEPS = ("fetch ", "build govulncheck", "build grype", "build syft", "build trivy")


def second_home(first: Path, home: Path) -> Path:
    """Make `home` with the images and tools of `first` and nothing that a release made: no output, no cache."""
    home.mkdir(parents=True)
    (home / "images").symlink_to(first / "images")
    (home / "signing").symlink_to(first / "signing")
    # A tool may be known under the digest that its step had before: only the keys name it by what it was made from.
    shutil.copytree(first / "keys", home / "keys", symlinks=True)
    listed = json.loads(succeeded(pipeline("cache", "show", "--json", PIPELINE_HOME=str(first))))
    for entry in listed["entries"]:
        if entry["title"].startswith(TOOL_STEPS):
            shutil.copytree(entry["path"], home / Path(entry["path"]).relative_to(first), symlinks=True)
    return home


def own_packaging(project: Path) -> Path:
    """Copy `packaging` to `project`, with an example whose source says which Go compiles it. Return product.toml."""
    shutil.copytree(PROJECT / "packaging", project / "packaging")
    product = project / "packaging" / "products" / "example" / "product.toml"
    lines = product.read_text("utf-8").splitlines(keepends=True)
    product.write_text("".join(line for line in lines if not line.startswith("toolchains = ")), "utf-8")
    return product
