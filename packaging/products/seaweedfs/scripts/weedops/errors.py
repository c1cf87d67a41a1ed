"""Errors for people: what happened, where, and what to do next."""

EX_USAGE = 64
EX_UNAVAILABLE = 69
EX_NOPERM = 77
EX_CONFIG = 78
"""Exit codes after sysexits.h, which systemd names in its journal."""


class OpsError(Exception):
    """An error whose text is for the operator. `code` is the exit code of the program that it ends."""

    code = 1

    def __init__(self, brief: str, resolution: str = "") -> None:
        super().__init__(brief)
        self.brief = brief
        self.resolution = resolution

    def __str__(self) -> str:
        return self.brief + ("\n  to do: " + self.resolution if self.resolution else "")


class UsageError(OpsError):
    """A command line that cannot be meant."""

    code = EX_USAGE


class ConfigError(OpsError):
    """A configuration that cannot work. The units do not restart after it."""

    code = EX_CONFIG


class AccessError(OpsError):
    """A file that the service user may not read or write. The units do not restart after it."""

    code = EX_NOPERM


class PortError(OpsError):
    """A port that something else holds."""

    code = EX_UNAVAILABLE
