"""The folders that hold data: made with the right owner, and never on the wrong disk."""

import os
from typing import List, NamedTuple, Tuple

from weedops.errors import AccessError, ConfigError
from weedops.paths import Paths
from weedops.settings import Settings

SERVICE_USER = "weed"


class Folder(NamedTuple):
    """A data folder that is missing, or is empty and belongs to somebody else."""

    path: str
    exists: bool


def owner(paths: Paths) -> Tuple[int, int]:
    """Return user and group id of the service user, by the passwd file below the root (an image has its own)."""
    try:
        with open(paths.at("/etc/passwd"), encoding="utf-8", errors="replace") as file:
            for line in file:
                fields = line.rstrip("\n").split(":")
                if fields[0] == SERVICE_USER and len(fields) > 3:
                    return int(fields[2]), int(fields[3])
    except OSError as error:
        raise AccessError(f"{error.filename} cannot be read: {error.strerror}")
    raise ConfigError(f"the user {SERVICE_USER} does not exist", "reinstall the package, or run: systemd-sysusers")


def missing(paths: Paths, settings: Settings) -> List[Folder]:
    """Return the data folders to make or to hand over. Raises ConfigError for one that cannot be what is meant."""
    found = []
    for instance in settings.instances():
        for data in instance.data:
            place = paths.at(data)
            if not os.path.lexists(place):
                _check_mounted(paths, data)
                found.append(Folder(place, False))
                continue
            if not os.path.isdir(place):
                raise ConfigError(f"{place}, the data of {instance.name}, is not a folder", "choose another place")
            if os.stat(place).st_uid != owner(paths)[0]:
                if os.listdir(place):
                    raise ConfigError(
                        f"{place}, the data of {instance.name}, has files in it and does not belong to {SERVICE_USER}",
                        f"if it is the data: chown -R {SERVICE_USER}:{SERVICE_USER} {place}",
                    )
                _check_mounted(paths, data)
                found.append(Folder(place, True))
    return found


def make(paths: Paths, folder: Folder) -> None:
    """Make `folder`, 0750 and the service user's; folders above it that are missing are root's, 0755."""
    user, group = owner(paths)
    try:
        above = os.path.dirname(folder.path)
        absent = []
        while not os.path.isdir(above):
            absent.append(above)
            above = os.path.dirname(above)
        for path in reversed(absent):
            os.mkdir(path)
            os.chmod(path, 0o755)  # whatever the umask is
        if not folder.exists:
            os.mkdir(folder.path)
        descriptor = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchown(descriptor, user, group)
            os.fchmod(descriptor, 0o750)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise AccessError(f"{error.filename or folder.path} cannot be made: {error.strerror}", "run this as root")


def _check_mounted(paths: Paths, data: str) -> None:
    """Raise ConfigError when /etc/fstab has a disk for `data` that is not mounted: data must not go below it."""
    mounted = set(_mount_points(paths.at("/proc/self/mounts")))
    for point in _mount_points(paths.at("/etc/fstab")):
        above = point.rstrip("/") + "/"
        if above != "/" and (data + "/").startswith(above) and point not in mounted:
            raise ConfigError(
                f"{data} is on {point}, which /etc/fstab names and which is not mounted",
                f"mount {point}; otherwise data goes to the disk below it",
            )


def _mount_points(path: str) -> List[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            rows = [line.split() for line in file if line.strip() and not line.lstrip().startswith("#")]
    except OSError:
        return []
    return [row[1].replace("\\040", " ") for row in rows if len(row) > 1]
