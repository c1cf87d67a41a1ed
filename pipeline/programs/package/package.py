"""What the programs that make packages share: laying out their files, running the distribution's tools, gates.

Not started by itself. The params that it reads for those programs:
  files     the folder with the packaging files, templates filled in (default `/in/files`)
  binaries  the folder with the binary and its notice (default `/in/binary`)
  binary    the name of the binary there; empty for a package without one
  program   the name under which the packaging files expect the binary (default `binary`)
  notice    the name of the list of licenses there, expected as `NOTICE`; empty for none
  approval  the gate's approval; absent: default `/in/approval/approval.json` when that exists
  out       the package to write

A binary that the gate did not approve, byte for byte, is never packaged.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from pipeline.programs.common import Params, Problem, read_object, sha256_of, source_date_epoch

NOTICE = "NOTICE"
TIMEOUT = 900
SHOWN = 60


def check_approval(path: Path, binary: Path) -> None:
    """Raise Problem unless the gate approved exactly this binary."""
    approved = {entry["name"]: entry["sha256"] for entry in read_object(path)["approved"]}
    digest = sha256_of(binary)
    if approved.get(binary.name) != digest:
        raise Problem(f"the gate did not approve this {binary.name} (SHA-256 {digest}), so it is not packaged")


def approved(params: Params) -> Path:
    """Return the binary that is to be packaged. Raises Problem when the gate did not approve it."""
    binary = params.path("binaries", "/in/binary") / str(params["binary"])
    approval = params.path("approval", "/in/approval/approval.json")
    if "approval" in params or approval.is_file():
        check_approval(approval, binary)
    return binary


def lay_out(params: Params, folder: Path) -> None:
    """Make `folder` with the packaging files, the binary and its notice: fixed modes, SOURCE_DATE_EPOCH as times."""
    shutil.copytree(params.path("files", "/in/files"), folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    notice = str(params.get("notice") or "")
    if notice:
        place(params.path("binaries", "/in/binary") / notice, folder / NOTICE, 0o644)
    if params.get("binary"):
        binary = approved(params)
        place(binary, folder / str(params.get("program") or binary.name), 0o755)
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
    """Run a tool as `run` does, whatever its exit code. Raises Problem when it is not there or does not end."""
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
