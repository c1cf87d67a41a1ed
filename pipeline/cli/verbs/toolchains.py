"""`pipeline toolchains list` and `lock`."""

from __future__ import annotations

from argparse import Namespace

from pipeline.cli.running import opened
from pipeline.cli.terminal import show_table
from pipeline.errors import ImageError
from pipeline.host.folders import packaging_folder
from pipeline.images.toolchains import LOCK, ToolchainLock, load_toolchains, lock_of, pinned, save_toolchains
from pipeline.model.step import Caching


def show(_: Namespace) -> int:
    """List the locked toolchains."""
    cells = [(f"go {entry.version}", entry.sum) for entry in load_toolchains(packaging_folder() / LOCK).entries]
    show_table(("toolchain", "sum"), cells, (f"{version:<11} {checksum}" for version, checksum in cells))
    return 0


def lock(options: Namespace) -> int:
    """Look up the newest patch of each minor version and write packaging/toolchains.lock. Raises ImageError."""
    path = packaging_folder() / LOCK
    before = load_toolchains(path)
    with opened(options) as run:
        found = run.watched(lambda: run.walk.look_up(known=before, caching=Caching.NEVER))
    after = lock_of(pinned(found))
    moved = differences(before, after)
    if options.check:
        if moved:
            raise ImageError(
                f"{LOCK} is out of date", details="\n".join(moved), resolution="run `pipeline toolchains lock`"
            )
        print(f"{LOCK} is up to date")
        return 0
    save_toolchains(path, after)
    print("\n".join([*moved, f"{len(after.entries)} toolchains locked in {path}"]))
    return 0


def differences(before: ToolchainLock, after: ToolchainLock) -> list[str]:
    """Return a line for each toolchain that only one of two locks has."""
    removed = [f"  - go {entry.version}" for entry in before.entries if entry not in after.entries]
    return removed + [f"  + go {entry.version}" for entry in after.entries if entry not in before.entries]
