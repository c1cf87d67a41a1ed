"""Packages added to an unpacked image with its own package manager, in a sandbox that may write to it.

The only place where anything runs in a root that is not read-only, and before anything else has used that root.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from pipeline.engine.network import NetworkSettings
from pipeline.errors import ImageError
from pipeline.host.bubblewrap import bwrap
from pipeline.host.process import find_program, run
from pipeline.model.image import DEFAULT_PATH
from pipeline.model.tree import BASE_EPOCH
from pipeline.roots.bootstrap import clean, find_program_of_uidmap, installed_packages
from pipeline.roots.root import Progress, inside

TIMEOUT = 3600.0
"""Seconds that a package manager may take."""

_NO_SANDBOX = "--option=APT::Sandbox::User=root"
"""Apt's downloads usually run as another user, which a user namespace with one user does not have."""

_COMMANDS = {
    "apt": (
        ("apt-get", _NO_SANDBOX, "--option=Acquire::Retries=3", "--error-on=any", "update"),
        ("apt-get", _NO_SANDBOX, "--option=Acquire::Retries=3", "install", "--yes", "--no-install-recommends"),
    ),
    "dnf": (
        ("dnf", "--assumeyes", "makecache"),
        ("dnf", "--assumeyes", "--setopt=install_weak_deps=False", "--setopt=tsflags=nodocs", "install"),
    ),
}


async def add_packages(rootfs: Path, manager: str, packages: tuple[str, ...], progress: Progress) -> None:
    """Install `packages` into `rootfs`. Raises ImageError with what the package manager said."""
    update, install = _COMMANDS[manager]
    progress(f"adding {len(packages)} packages with {manager}")
    script = f"{shlex.join(update)} && {shlex.join([*install, *packages])}"
    done = await run(_sandbox(rootfs, script), timeout=TIMEOUT, check=False, sink=lambda _: None, error=ImageError)
    if done.code or done.timed_out:
        output = done.output.decode("utf-8", "replace").strip().splitlines()
        raise ImageError(
            f"{manager} could not add packages to the image ({', '.join(packages)})",
            details="\n".join(output[-20:]),
            resolution="check the network and the proxy settings, and `packages` of this image in images.toml",
        )
    clean(rootfs)


async def list_packages(rootfs: Path) -> tuple[str, ...]:
    """Return `name=version` of every package in `rootfs`: from dpkg's database, or what rpm in it says."""
    found = tuple(installed_packages(rootfs))
    if found or not inside(rootfs, "usr/bin/rpm").is_file():
        return found
    query = "rpm --query --all --queryformat '%{NAME}.%{ARCH}=%{VERSION}-%{RELEASE}\\n'"
    done = await run(_sandbox(rootfs, query), timeout=TIMEOUT, error=ImageError)
    return tuple(sorted(line for line in done.text.splitlines() if "=" in line))


def _sandbox(rootfs: Path, script: str) -> list[str]:
    """Return the command line that runs a shell script as root in `rootfs`, writable, with network."""
    network = NetworkSettings.of(os.environ)
    variables = {
        "PATH": ":".join(DEFAULT_PATH),
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        "SOURCE_DATE_EPOCH": str(BASE_EPOCH),
        **network.environment,
    }
    mounts = ["--bind", str(rootfs), "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/run"]
    for path, mount in network.files:
        mounts += ["--ro-bind", str(path), mount]
    settings = [part for name, value in sorted(variables.items()) for part in ("--setenv", name, value)]
    return as_root(bwrap(("/bin/sh", "-euc", script), mounts, cwd="/", apart=("--clearenv", *settings)), rootfs)


def as_root(command: list[str], rootfs: Path) -> list[str]:
    """Return the command line that runs `command` with the rights that package managers need to fill `rootfs`."""
    if os.geteuid() == 0:
        return command
    find_program(command[0], error=ImageError)  # a shell would only say that it is missing
    # Package managers give files to other users. A user namespace with a range of users allows that; afterwards
    # everything belongs to its root again, which is the person who runs this and must be able to delete it.
    find_program_of_uidmap()
    give_back = f"{shlex.join(command)}; code=$?; chown -R -h 0:0 {shlex.quote(str(rootfs))}; exit $code"
    return ["unshare", "--user", "--map-root-user", "--map-auto", "--", "/bin/sh", "-c", give_back]
