"""A root file system of a few megabytes, made of this machine's own shell and basic tools, for tests of engines."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from pipeline.host import content
from pipeline.model.image import Base, Image

TOOLS = (
    *("bash", "sh", "cat", "ls", "mkdir", "rmdir", "rm", "ln", "chmod", "touch", "stat", "sleep", "id", "env", "head"),
    *("find", "mkfifo", "dd", "readlink", "base64", "true", "setsid", "seq", "cp", "mv", "uname", "sha256sum", "grep"),
)


def build(root: Path) -> Path:
    """Make the root file system in the new directory `root`, with every library that its programs load."""
    for folder in ("usr/bin", "etc", "in", "out", "work", "run/secrets", "tmp", "var/tmp", "proc", "dev", "root"):
        (root / folder).mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    for name in ("etc/resolv.conf", "etc/hosts"):
        (root / name).touch()
    programs = [Path(shutil.which(name) or f"/bin/{name}") for name in TOOLS]
    for program in programs:
        shutil.copy(program, root / "usr/bin" / program.name)
    listed = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=True).stdout
    for library in sorted(set(re.findall(r"(/\S+) \(0x", listed))):
        target = root / library[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copy(library, target)
    return root


def image(root: Path) -> Image:
    """Return the image whose base is the root file system `root`."""
    return image_of(content.digest_of(root))


def image_of(digest: str) -> Image:
    """Return the image whose base is the root file system with this content."""
    return Image("tiny", Base("tiny", digest))
