"""What AppArmor has to know of this host: the data folders that are not below /var/lib/weed."""

import os

from weedops.errors import OpsError
from weedops.generated import MARK
from weedops.paths import Paths
from weedops.programs import find_program, run
from weedops.settings import ROLES, Settings
from weedops.units import OWN


def tunables(paths: Paths) -> str:
    """Return the path of the file that adds to `@{WEED_DATA}`; the profile includes all that is in its folder."""
    return paths.at("/etc/apparmor.d/tunables/weed.d/instances")


def profile(paths: Paths) -> str:
    """Return the path of the profile, which the DEB installs."""
    return paths.at("/etc/apparmor.d/opt.weed.weed")


def text(paths: Paths, settings: Settings) -> str:
    """Return what `tunables` should say, "" when nothing: no data elsewhere, or no profile.

    An instance's number is `[0-9]*` there, so that the profile stays the same when their count changes.
    """
    if not os.path.exists(profile(paths)):
        return ""
    places = [path for role in ROLES if settings.count(role) for path in settings.data(role)]
    globs = [path.replace("%i", "[0-9]*") for path in places if not path.startswith(OWN)]
    lines = [f'@{{WEED_DATA}}+="{glob}"' for glob in globs]
    return "\n".join([MARK, *lines, ""]) if lines else ""


def enabled(paths: Paths) -> bool:
    """Return whether the kernel that runs here has AppArmor on, and profiles of this host are its business."""
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="ascii") as file:
            return paths.root == "/" and file.read().strip() == "Y"
    except OSError:
        return False


def reload(paths: Paths) -> None:
    """Load the profile again; processes that run under it are held to the new one at once. Raises OpsError."""
    program = find_program(paths, "apparmor_parser")
    if not program:
        return
    done = run([program, "--replace", "--write-cache", "--skip-bad-cache", profile(paths)], 120)
    if done.code:
        raise OpsError(f"AppArmor refuses {profile(paths)}: {done.output}", "the old profile stays loaded")
