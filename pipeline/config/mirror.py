"""A distribution's own package archive, as images.toml names it and as the environment replaces it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from pipeline.config.toml import Document
from pipeline.errors import ConfigError

_URL = re.compile(r"(https?|file)://[^\s\[\]\"'\\]+\Z")
_FILE = re.compile(r"/[^\s\[\]\"'\\,]+\Z")


def _url(text: str) -> str:
    if not _URL.match(text):
        raise ValueError("must be a URL that begins with https://, http:// or file://")
    return text.rstrip("/")


def _file(text: str) -> str:
    if not _FILE.match(text):
        raise ValueError("must be the absolute path of a file, without spaces")
    return text


Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")]
Package = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_:@=~-]*$")]
Below = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]


class Repository(Document):
    """A repository of RPMs below the mirror. Packages must be signed; so must metadata, but where `metadata` is not."""

    path: Below
    signed_metadata: bool = True


class Archive(Document):
    """Where a distribution's packages are, and the keys that they must be signed with.

    One of apt's has `suites`, one of dnf's `repositories`. `packages` are what an image of a registry has already.
    PIPELINE_<variable>_MIRROR and PIPELINE_<variable>_KEYRING replace `mirror` and `keyring`.
    """

    variable: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]
    mirror: Annotated[str, AfterValidator(_url)]
    keyring: Annotated[str, AfterValidator(_file)]
    packages: tuple[Package, ...] = ()
    suites: tuple[Word, ...] = ()
    components: tuple[Word, ...] = Field(default=("main",), min_length=1)
    release: Word = ""
    platform: Word = ""
    repositories: dict[Word, Repository] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if bool(self.suites) == bool(self.repositories):
            raise ValueError("needs either `suites` (apt) or `repositories` (dnf)")
        if self.repositories and not self.release:
            raise ValueError('needs `release`, such as "9", beside `repositories`')
        return self

    @property
    def manager(self) -> str:
        """The package manager of the distribution: `apt` or `dnf`."""
        return "apt" if self.suites else "dnf"

    @property
    def variables(self) -> tuple[str, str]:
        """The names of the variables that replace the mirror and the keyring."""
        return f"PIPELINE_{self.variable}_MIRROR", f"PIPELINE_{self.variable}_KEYRING"

    def replaced(self, environ: Mapping[str, str]) -> Archive:
        """Return this archive with the environment's changes. Raises ConfigError for a malformed URL or path."""
        changes = {}
        for key, variable, check in zip(("mirror", "keyring"), self.variables, (_url, _file), strict=True):
            if environ.get(variable):
                try:
                    changes[key] = check(environ[variable])
                except ValueError as error:
                    raise ConfigError(
                        f"{variable} {error}, got {environ[variable]!r}", resolution="correct it, or leave it unset"
                    ) from None
        return self.model_copy(update=changes)
