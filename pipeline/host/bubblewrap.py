"""The one command line of bubblewrap (bwrap(1), version 0.8 or later): what every sandbox of this project has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path


def bwrap(
    argv: Sequence[str],
    mounts: Iterable[str],
    *,
    cwd: str | Path,
    apart: Iterable[str] = (),
    network: bool = True,
    terminal: bool = False,
) -> list[str]:
    """Return the command line that runs `argv` in `cwd`, with the arguments `mounts` for what it sees.

    It has processes, IPC and a host name of its own, and ends with its starter. `apart` are further arguments:
    another user, fewer capabilities. `terminal` leaves it the terminal, which only a person's own shell may have.
    """
    return [
        *("bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", *([] if network else ["--unshare-net"])),
        # Without a session of its own, a program could type into the terminal it was started from (TIOCSTI).
        *("--die-with-parent", *([] if terminal else ["--new-session"])),
        *apart,
        *mounts,
        *("--chdir", str(cwd), "--", *argv),
    ]
