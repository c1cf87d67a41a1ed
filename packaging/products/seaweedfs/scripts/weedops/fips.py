"""Which FIPS module a Go binary was built with, as its own build information says."""

import mmap
from typing import List

from weedops.errors import ConfigError
from weedops.paths import Installed
from weedops.settings import Settings

_MARKS = ((b"build\tGOFIPS140=", "go"), (b"build\tGOEXPERIMENT=boringcrypto", "boringcrypto"))
"""Lines of the build information that the Go linker writes (runtime/debug.BuildInfo), by module."""


def module(binary: str) -> str:
    """Return "go" (the native module, GOFIPS140), "boringcrypto" or "" (none). Raises ConfigError if unreadable."""
    try:
        with open(binary, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return next((name for mark, name in _MARKS if content.find(mark) >= 0), "")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{binary} cannot be read: {error}", "reinstall the package")


def godebug(settings: Settings, installed: Installed, binary: str) -> List[str]:
    """Return the settings of GODEBUG that put the binary into FIPS mode.

    Raises ConfigError if FIPS_ENABLED demands a FIPS binary and this is not one, or its package says that it is one.
    """
    if settings.fips and not installed.fips:
        raise ConfigError(
            f"FIPS_ENABLED=true, and {binary} is the standard build of {installed.product} {installed.version}",
            f"install {installed.product}-fips, or set FIPS_ENABLED=false in /etc/default/weed/weed.conf",
        )
    if not installed.fips:
        return []
    found = module(binary)
    if not found:
        raise ConfigError(
            f"{binary} was built without a FIPS module, though its package is {installed.product}-fips",
            "somebody replaced it: reinstall the package",
        )
    return ["fips140=on"] if found == "go" else []
