"""What the programs that make packages share: laying out their files, running the distribution's tools, gates.

Not a program. A binary that the gate did not approve, byte for byte, is never packaged.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from pipeline.programs.common import Problem, sha256_of, source_date_epoch
from pipeline.programs.document import load
from pipeline.programs.scan.scan_documents import Approval

NOTICE = "NOTICE"
TIMEOUT = 900
SHOWN = 60
FILES = Path("/in/files")
"""Where a step finds the packaging files, templates filled in."""


@dataclass(frozen=True)
class PackagedBinary:
    """The binary that becomes a package, and its list of licenses, by their names in `folder`."""

    binary: str
    approval: Optional[Path]
    """The gate's approval; None where there is no gate."""
    notice: str = ""
    """Expected as `NOTICE`; empty: there is none."""
    program: str = ""
    """The name under which the packaging files expect the binary; empty: its own."""
    folder: Path = Path("/in/binary")


def check_approval(path: Path, binary: Path) -> None:
    """Raise Problem unless the gate approved exactly this binary."""
    approved = {entry.name: entry.sha256 for entry in load(Approval, path).approved}
    digest = sha256_of(binary)
    if approved.get(binary.name) != digest:
        raise Problem(f"the gate did not approve this {binary.name} (SHA-256 {digest}), so it is not packaged")


def approved(packaged: PackagedBinary) -> Path:
    """Return the binary that is to be packaged. Raises Problem when the gate did not approve it."""
    binary = packaged.folder / packaged.binary
    if packaged.approval:
        check_approval(packaged.approval, binary)
    return binary


def lay_out(files: Path, folder: Path, packaged: Optional[PackagedBinary] = None) -> None:
    """Make `folder` with the packaging files, the binary and its notice: fixed modes, SOURCE_DATE_EPOCH as times."""
    shutil.copytree(files, folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    if packaged:
        place(approved(packaged), folder / (packaged.program or packaged.binary), 0o755)
        if packaged.notice:
            place(packaged.folder / packaged.notice, folder / NOTICE, 0o644)
    epoch = source_date_epoch()
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (epoch, epoch))


def place(source: Path, target: Path, mode: int) -> None:
    """Copy a file to a name that is free. Raises Problem when it is taken."""
    if target.exists():
        raise Problem(f"the packaging files have a {target.name} of their own")
    shutil.copyfile(source, target)
    target.chmod(mode)


def run(*argv: str, cwd: Path, what: str, **variables: str) -> str:
    """Run a tool of the distribution and return what it said, on both streams.

    Its environment is made from nothing: PATH, SOURCE_DATE_EPOCH, UTC, the C locale, a home that is empty. Raises
    Problem with the end of its output when it fails, `what` in front.
    """
    done = attempt(*argv, cwd=cwd, **variables)
    if done.returncode:
        lines = done.stdout.splitlines()
        raise Problem(f"{what}: {argv[0]} failed with exit code {done.returncode}", *lines[-SHOWN:])
    return done.stdout


def attempt(*argv: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a tool as `run` does, whatever its exit code. Raises Problem if it is missing or does not end."""
    env = {"HOME": str(cwd), "LC_ALL": "C.UTF-8", "TZ": "UTC", **variables}
    env.update({name: os.environ[name] for name in ("PATH", "SOURCE_DATE_EPOCH") if name in os.environ})
    try:
        return subprocess.run(
            argv, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            timeout=TIMEOUT, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise Problem(f"{argv[0]} is not in this image") from None
    except subprocess.TimeoutExpired:
        raise Problem(f"{argv[0]} did not finish within {TIMEOUT} seconds") from None


def deliver(made: list[Path], out: Path) -> None:
    """Move the one package that a tool has made to `out`. Raises Problem when there is another one, or none."""
    names = sorted(path.name for path in made)
    if names != [out.name]:
        raise Problem(f"the package {out.name} was expected, and this was made: {', '.join(names) or 'nothing'}")
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(made[0], out)
    out.chmod(0o644)
