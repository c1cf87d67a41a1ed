"""Which configuration files an instance uses, and whether they can be trusted."""

import json
import os
import pwd
import stat
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from weedops import toml
from weedops.errors import AccessError, ConfigError
from weedops.paths import Paths
from weedops.secret import secrets
from weedops.settings import Instance

EXTRA = {"master": (), "volume": (), "filer": ("notification", "credential"), "s3": ("credential",)}
"""Further names of toml files that weed looks for, by role (SeaweedFS 4.44, calls of util.LoadConfiguration)."""

FALLBACKS = ("/usr/local/etc/seaweedfs", "/etc/seaweedfs")
"""Where weed looks when the directory of -config_dir lacks a name (SeaweedFS, weed/util/config.go)."""

PLACEHOLDER = "REPLACE-ME"
"""What the examples have where a secret goes; everybody knows it."""

OPEN = stat.S_IWGRP | stat.S_IWOTH


class Source(NamedTuple):
    """One file that is used: the name that weed looks for, where it is, and what is in it."""

    name: str
    path: str
    content: Dict[str, Any]


def toml_names(role: str) -> Tuple[str, ...]:
    """Return the names, without `.toml`, that weed looks for when it runs `role`."""
    return ("security", role) + EXTRA[role]


def find(paths: Paths, instance: Instance, file: str) -> str:
    """Return the file that holds for `instance`, "" if there is none.

    `file` is a name as `filer.toml` or `s3.json`. In order: /etc/weed/<role>-<n>.<ending> when the file is named after
    the role, /etc/weed/<file>, /etc/default/weed/<file>, then where weed itself would look.
    """
    name, ending = os.path.splitext(file)
    places = [os.path.join(paths.overrides, file), os.path.join(paths.defaults, file)]
    if name == instance.role:
        places.insert(0, os.path.join(paths.overrides, instance.name + ending))
    if ending == ".toml":
        places += [os.path.join(paths.at(folder), file) for folder in FALLBACKS]
    for place in places:
        if _exists(place):
            return place
    return ""


def _exists(path: str) -> bool:
    """Return whether there is anything at `path`. Raises AccessError when that cannot be seen."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise AccessError(
            f"{path} cannot be searched for: {error.strerror}",
            f"the service user must be able to enter {os.path.dirname(path)}: chown root:weed and chmod 0750 it",
        )
    return True


def read_toml(paths: Paths, instance: Instance) -> List[Source]:
    """Return every toml file that `instance` uses. Raises AccessError or ConfigError for one that cannot be trusted."""
    sources = []
    for name in toml_names(instance.role):
        path = find(paths, instance, name + ".toml")
        if path:
            text = read_trusted(path)
            try:
                content = toml.loads(text)
            except toml.TOMLDecodeError as error:
                raise ConfigError(
                    f"{path}: {error}", "correct it: weed would start without this file and all it demands"
                )
            held = sorted(secrets(content)) if name == "security" else []
            if held:
                check_private(path, f"holds {', '.join(held)}")
            sources.append(Source(name, path, content))
    return sources


def read_identities(paths: Paths, instance: Instance) -> str:
    """Return the path of the S3 identities of `instance`, "" if there are none. Raises as `read_toml` does."""
    path = find(paths, instance, "s3.json")
    if not path:
        return ""
    text = read_trusted(path, secret=True)
    try:
        json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}", "correct the JSON")
    return path


def read_trusted(path: str, secret: bool = False) -> str:
    """Return the text of `path`, which nobody but root and the service user may change.

    Raises AccessError when the file cannot be read, or when others may write it; with `secret`, also when everybody
    may read it.
    """
    check_writers(path)
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: {error}", "save it as UTF-8")
    except OSError as error:
        raise AccessError(
            f"{path} cannot be read by {user()}: {error.strerror}",
            f"chown root:weed {path} && chmod 0640 {path}; weed would start without it",
        )
    if PLACEHOLDER in text:
        raise ConfigError(
            f"{path} still has {PLACEHOLDER} in it, from the example", "replace it with a secret of your own"
        )
    if secret:
        check_private(path, "holds secrets")
    return text


def check_private(path: str, what: str) -> None:
    """Raise AccessError when everybody may read `path`. `what` says why nobody should: "holds secrets"."""
    status = _status(path)
    if status is not None and status.st_mode & stat.S_IROTH:
        raise AccessError(f"{path} {what} and everybody may read it", f"chown root:weed {path} && chmod 0640 {path}")


def check_writers(path: str) -> None:
    """Raise AccessError when somebody else than root and the service user may change `path` or replace it."""
    folder = os.path.dirname(os.path.realpath(path))
    for place in (path, folder):
        status = _status(place)
        if status is None:
            continue
        if status.st_mode & OPEN and not (place == folder and status.st_mode & stat.S_ISVTX):
            raise AccessError(
                f"{place} may be changed by its group or by everybody (mode {stat.S_IMODE(status.st_mode):04o})",
                f"chmod go-w {place}",
            )
        if status.st_uid not in (0, os.geteuid(), _weed()):
            raise AccessError(
                f"{place} belongs to user {status.st_uid}, who could change what the server may do",
                f"chown root:weed {place}",
            )


def _status(path: str) -> Optional[os.stat_result]:
    try:
        return os.stat(path)
    except OSError:
        return None  # reading it is what reports that


def _weed() -> int:
    try:
        return pwd.getpwnam("weed").pw_uid
    except KeyError:
        return 0


def user() -> str:
    """Return the name of the user that this process runs as."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"
