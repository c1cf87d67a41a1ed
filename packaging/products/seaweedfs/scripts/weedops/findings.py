"""What the doctor finds, and what its checks look at."""

import os
import pwd
from typing import Callable, Iterable, List, NamedTuple, Optional

from weedops.paths import Installed, Paths
from weedops.settings import Settings

OK, NOTE, WARNING, ERROR = "ok", "note", "warning", "error"
SEVERITIES = (OK, NOTE, WARNING, ERROR)

INSTALL, START, UPGRADE = "install", "start", "upgrade"


class Finding(NamedTuple):
    """One thing that was looked at. `fix` says what to do about it, "" when nothing is to be done."""

    id: str
    severity: str
    what: str
    where: str = ""
    fix: str = ""


class Host(NamedTuple):
    """A host under examination. `before` is install, start, upgrade or "" for as it is now.

    `settings` are the defaults when `valid` is false; `installed` is None where nothing is; `candidate` is the release
    that is to be installed, where that is known.
    """

    paths: Paths
    before: str
    settings: Settings
    valid: bool
    installed: Optional[Installed]
    candidate: Optional[Installed]

    @property
    def root(self) -> bool:
        """Whether everything can be seen."""
        return os.geteuid() == 0


Check = Callable[[Host], Iterable[Finding]]


class Account(NamedTuple):
    """The service user, as far as access to files goes."""

    uid: int
    groups: List[int]

    def may(self, status: os.stat_result, wanted: int) -> bool:
        """Return whether the mode of a file grants `wanted` (a sum of 4 read, 2 write, 1 execute or enter)."""
        if status.st_uid == self.uid:
            granted = status.st_mode >> 6
        else:
            granted = status.st_mode >> 3 if status.st_gid in self.groups else status.st_mode
        return granted & wanted == wanted


def account(paths: Paths) -> Optional[Account]:
    """Return the user weed of the host below `paths.root`, None when there is none."""
    for line in read(paths.at("/etc/passwd")).splitlines():
        fields = line.split(":")
        if fields[0] == "weed" and len(fields) > 6:
            return Account(int(fields[2]), [int(fields[3])])
    if paths.root != "/":
        return None
    try:
        entry = pwd.getpwnam("weed")  # from another source than the file
    except KeyError:
        return None
    return Account(entry.pw_uid, os.getgrouplist("weed", entry.pw_gid))


def read(path: str) -> str:
    """Return the text of `path`, "" if it does not exist. Raises PermissionError when it may not be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""
