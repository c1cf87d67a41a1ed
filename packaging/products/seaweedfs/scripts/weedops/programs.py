"""Other programs of the host: where they are, and how they are run."""

import os
import subprocess
from typing import List, NamedTuple

from weedops.errors import OpsError
from weedops.paths import Paths

FOLDERS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
ENVIRONMENT = {"PATH": ":".join(FOLDERS), "LC_ALL": "C"}
"""What a program is started with, whatever the caller's environment holds."""


class Done(NamedTuple):
    """A program that has ended. `out` and `err` are what it wrote, without blanks around."""

    code: int
    out: str
    err: str

    @property
    def output(self) -> str:
        """What it wrote, on either side."""
        return "\n".join(part for part in (self.err, self.out) if part)


def find_program(paths: Paths, name: str) -> str:
    """Return the path of the program `name` on the host below `paths.root`, "" if it is not installed."""
    places = (paths.at(os.path.join(folder, name)) for folder in FOLDERS)
    return next((place for place in places if os.access(place, os.X_OK) and not os.path.isdir(place)), "")


def run(argv: List[str], timeout: float = 30) -> Done:
    """Run `argv` and return what came of it. Raises OpsError when it cannot start or needs over `timeout` seconds."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise OpsError(
            f"`{' '.join(argv)}` did not end within {timeout:g} s", "run it by hand and see what it waits for"
        )
    except OSError as error:
        raise OpsError(f"{argv[0]} cannot be run: {error.strerror}", "install it, or fix its permissions")
    return Done(done.returncode, *(part.decode("utf-8", "replace").strip() for part in (done.stdout, done.stderr)))


def is_active(paths: Paths, unit: str) -> bool:
    """Return whether systemd runs here and `unit` is active."""
    systemctl = find_program(paths, "systemctl")
    if not systemctl or not os.path.isdir(paths.at("/run/systemd/system")):
        return False
    return run([systemctl, "is-active", "--quiet", unit]).code == 0
