"""The sandbox: what a step's program sees, as arguments of bubblewrap."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.errors import ImageError
from pipeline.host.bubblewrap import bwrap
from pipeline.model.step import WORK

HOST_NAME = "pipeline"
OUT = "/out"
INPUTS = "/in"
SECRETS = "/run/secrets"

_PRIVATE = (WORK, "/tmp", "/var/tmp")
_OVERLAID = ("/proc", "/dev", "/run", *_PRIVATE, OUT, INPUTS)
"""What is mounted in every sandbox."""

_OPEN = ("/dev", "/run", *_PRIVATE, OUT, INPUTS)
"""Places in which a mount point can be made at run time."""

_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID")
"""What packaging tools use as root, over the files and processes of their own user namespace only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A file or directory of this machine, to be seen at `mount`."""

    source: Path
    mount: str
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """Everything that a program sees. `scratch` holds the private directories, or is None to have them in memory."""

    root: Path
    out: Path
    scratch: Path | None = None
    inputs: tuple[tuple[str, Path], ...] = ()
    binds: tuple[Bind, ...] = ()
    secrets: tuple[tuple[str, int], ...] = ()
    network: bool = False
    terminal: bool = False
    """Whether the program keeps the terminal. Only a person's own shell does."""

    def arguments(self, argv: Sequence[str], status: int) -> list[str]:
        """Return the command line that runs `argv` inside; bubblewrap reports on the descriptor `status`.

        Raises ImageError when the root file system cannot carry a mount.
        """
        placed = [(resolve(self.root, bind.mount), bind) for bind in self.binds]
        mounts = [*_OVERLAID, *(mount for mount, _ in placed)]
        # Root inside is the user outside, so packaging tools can set owners of what they make. In a user namespace of
        # its own, root has every capability over it, and with SYS_ADMIN or NET_ADMIN parts of the kernel that many
        # exploits began in. So all but a few go, which work on the files and processes of that user only.
        apart = [
            *("--unshare-user", "--uid", "0", "--gid", "0", "--unshare-cgroup-try", "--hostname", HOST_NAME),
            *("--cap-drop", "ALL", *_each("--cap-add", (f"CAP_{name}" for name in _CAPABILITIES))),
            *("--json-status-fd", str(status)),
        ]
        # Mount points must exist before something is mounted on them, so the order is that of the way down: root,
        # private directories, /in, what lies inside of these. Read-only comes last, as nothing can be made
        # afterwards. A remount is not recursive: /run, /work, /tmp and /out stay writable.
        seen = [
            *root_arguments(self.root, mounts),
            *("--proc", "/proc", "--dev", "/dev", "--perms", "0755", "--tmpfs", "/run"),
            *self._private(),
            *("--bind", os.fspath(self.out), OUT),
            *self._inputs(),
            *self._secrets(),
            *_each_bind(placed),
            *_each("--remount-ro", ("/dev", INPUTS, "/")),
        ]
        return bwrap(argv, seen, cwd=WORK, apart=apart, network=self.network, terminal=self.terminal)

    def _private(self) -> list[str]:
        arguments = []
        for mount in _PRIVATE:
            # A temporary file system is in memory: what a step that has a secret leaves in /tmp never reaches a disk.
            if self.scratch is None:
                arguments += ["--perms", "1777" if mount != WORK else "0755", "--tmpfs", mount]
            else:
                arguments += ["--bind", os.fspath(self.scratch / mount[1:].replace("/", "-")), mount]
        return arguments

    def _inputs(self) -> list[str]:
        arguments = ["--perms", "0755", "--tmpfs", INPUTS]
        for name, path in self.inputs:
            arguments += ["--ro-bind", os.fspath(path), f"{INPUTS}/{name}"]
        return arguments

    def _secrets(self) -> list[str]:
        # bubblewrap copies from the descriptor into /run, which is in memory. A bind mount would need a file on this
        # machine.
        arguments = ["--perms", "0700", "--dir", SECRETS] if self.secrets else []
        for name, descriptor in self.secrets:
            arguments += ["--perms", "0400", "--file", str(descriptor), f"{SECRETS}/{name}"]
        return arguments


def make_scratch(folder: Path) -> None:
    """Make the private directories of a sandbox in `folder`."""
    for mount in _PRIVATE:
        path = folder / mount[1:].replace("/", "-")
        # mkdir(2) takes the umask off the mode, chmod(2) does not.
        path.mkdir()
        path.chmod(0o755 if mount == WORK else 0o1777)


def root_arguments(root: Path, mounts: Iterable[str]) -> list[str]:
    """Return the arguments that show `root` read-only with all mount points in place.

    A mount point that `root` does not have cannot be made in a read-only mount. Then the directories that lead
    to it are opened up: made afresh in memory, with everything that they hold mounted into them one by one.
    """
    needed = [mount for mount in mounts if mount in _OVERLAID or not _is_open(mount)]
    # An image is somebody else's, and need not have /in or /out. A root that has all of them is one mount, which is
    # what starts fastest.
    missing = [mount for mount in needed if not os.path.lexists(f"{root}{mount}")]
    if not missing:
        return ["--ro-bind", os.fspath(root), "/"]
    opened = {"/"}
    for mount in missing:
        for parent in PurePosixPath(mount).parents:
            path = f"{root}{parent}"
            if os.path.lexists(path):
                if not Path(path).is_dir():
                    raise ImageError(f"nothing can be mounted at {mount}: {parent} in {root} is not a directory")
                opened.add(str(parent))
    arguments = []
    for folder in sorted(opened):
        arguments += _open_up(root, folder, opened)
    return arguments


def _open_up(root: Path, folder: str, opened: set[str]) -> list[str]:
    here = f"{root}{folder}"
    arguments = []
    if folder != "/":
        arguments += ["--perms", f"{stat.S_IMODE(Path(here).stat().st_mode):04o}", "--dir", folder]
    with os.scandir(here) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            inside = f"{folder.rstrip('/')}/{entry.name}"
            # What is mounted over anyway is left out, or a link in its place would send the mount somewhere else.
            if inside in opened or inside in _OVERLAID:
                continue
            # A bind mount of a link mounts what it leads to, on this machine.
            if entry.is_symlink():
                arguments += ["--symlink", str(Path(entry.path).readlink()), inside]
            else:
                arguments += ["--ro-bind", entry.path, inside]
    return arguments


def resolve(root: Path, mount: str) -> str:
    """Return where `mount` really is inside `root`: symbolic links are followed as a program inside would.

    Raises ImageError for links that form a loop.
    """
    parts = list(reversed(PurePosixPath(mount).parts[1:]))
    found: list[str] = []
    links = 0
    while parts:
        part = parts.pop()
        if part == "..":
            found = found[:-1]
            continue
        path = f"{root}/{'/'.join([*found, part])}"
        # bubblewrap follows no link to a mount point, and the kernel would follow an absolute one to this machine's
        # file. Here it is resolved as inside, where `/etc/resolv.conf` is often a link below /run.
        if Path(path).is_symlink():
            links += 1
            if links > 40:
                raise ImageError(f"the symbolic links at {mount} in {root} form a loop")
            target = PurePosixPath(Path(path).readlink())
            if target.is_absolute():
                found = []
            parts += [piece for piece in reversed(target.parts) if piece != "/"]
        else:
            found.append(part)
    return "/" + "/".join(found)


def _is_open(mount: str) -> bool:
    return any(mount == place or mount.startswith(place + "/") for place in _OPEN)


def _each(option: str, values: Iterable[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


def _each_bind(placed: Iterable[tuple[str, Bind]]) -> list[str]:
    """Return the arguments for mounts, outer ones before those inside of them."""
    arguments = []
    for mount, bind in sorted(placed, key=lambda pair: pair[0]):
        arguments += ["--bind" if bind.writable else "--ro-bind", os.fspath(bind.source), mount]
    return arguments
