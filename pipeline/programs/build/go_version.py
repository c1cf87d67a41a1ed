"""What the go command reads out of a binary that it built. A part of `prove.py`, not a program."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pipeline.programs.build.proof import BuildInfo
from pipeline.programs.common import Problem


def build_info(binary: Path) -> BuildInfo:
    """Return what `go version -m` prints of `binary`. Raises Problem when Go 1.18 or newer did not build it."""
    environment = {"GOENV": "off", "GOTOOLCHAIN": "local", "HOME": str(Path.cwd()), "PATH": os.environ.get("PATH", "")}
    argv = ["go", "version", "-m", str(binary)]
    try:
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise Problem("there is no go command in this image, which reads the build information of a binary") from None
    if done.returncode or not done.stdout:
        raise Problem(
            "the binary holds no Go build information: it was not built by Go 1.18 or newer", *done.stderr.splitlines()
        )
    return parsed(done.stdout)


def parsed(text: str) -> BuildInfo:
    """Return what `go version -m` printed of one file; modules and their sums are left out: the SBOM has them.

    A value with a space in it stays in the quotation marks that the go command prints around it.
    """
    first, *lines = text.splitlines()
    path, settings = "", dict[str, str]()
    for word, _, rest in (line.lstrip("\t").partition("\t") for line in lines):
        if word == "path":
            path = rest
        elif word == "build":
            key, _, value = rest.partition("=")
            settings[key] = value
    return BuildInfo(first.rpartition(": ")[2], path, settings)
