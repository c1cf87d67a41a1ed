"""What a function of the Dagger module is asked, and how the engine is to be used for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.choice import Choice
from pipeline.errors import UsageError
from pipeline.model.tree import BASE_EPOCH
from pipeline.source import given_epoch

if TYPE_CHECKING:
    import dagger


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The arguments of a function: a choice, and what the engine has for it."""

    choice: Choice
    source: dagger.Directory | None = None
    commit: str = ""
    policy: dagger.File | None = None
    scan_db: dagger.Directory | None = None
    advisories: dagger.Directory | None = None
    legs: tuple[dagger.Directory, ...] = ()
    signing_key: dagger.Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the engine is used, whatever is asked of it.

    `go_proxy` is GOPROXY for steps with network, `epoch` the time of a directory that is no repository in seconds
    since 1970, `jobs` how many steps run at once: 0 for one a core. With `locked`, what no lock file pins is refused.
    """

    go_proxy: str = ""
    epoch: int = BASE_EPOCH
    jobs: int = 0
    locked: bool = False

    @staticmethod
    def of(*, go_proxy: str, source_date_epoch: str, jobs: int, locked: bool = False) -> Settings:
        """Return the settings that a person gave. Raises UsageError, and SourceError for a time that is none."""
        if any(urlsplit(part).password for part in re.split("[,|]", go_proxy)):
            raise UsageError(
                "--go-proxy holds a password, which Dagger would show in its logs",
                resolution="name a proxy that this engine reaches without one",
            )
        if jobs < 0:
            raise UsageError(f"--jobs {jobs} is no number of steps", resolution="leave it out for one a core")
        return Settings(go_proxy=go_proxy, epoch=given_epoch(source_date_epoch), jobs=jobs, locked=locked)
