"""The table `[packages]` of a product: which packages are made of its binaries, for what, and from which files."""

from __future__ import annotations

import difflib
import re
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from pipeline.config.toml import Document
from pipeline.model.distribution import DISTRIBUTIONS, Distribution, Format


def _beside(path: str) -> str:
    """Return `path` if it names the product's own folder or another product's beside it. Raises ValueError."""
    pure = PurePosixPath(path)
    if path != "." and (str(pure) != path or not re.fullmatch(r"\.\./[a-z0-9][a-z0-9+.-]*", path)):
        raise ValueError(f"{path!r} is neither `.` nor the folder of another product, such as `../other`")
    return path


def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} is named twice")
    return names


class Packages(Document):
    """Which packages a release has. Their content is what `make install` of the folder `files` installs."""

    files: Annotated[str, AfterValidator(_beside)] = "."
    """The folder with `Makefile`, `deb/` and `rpm/`, seen from the product's own: `.`, or another product's."""
    distributions: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_unique)]
    variants: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_unique)]
    """The variants that are packaged. A variant's suffix is added to the name of its package."""
    revision: Annotated[int, Field(ge=1, le=9999)] = 1
    """How often this version was packaged: 2 after a correction of the packaging alone."""
    selinux: bool = False
    """Whether there is an SELinux module, in a package of its own for each RPM distribution."""
    exposure: Annotated[float, Field(ge=0, le=10)] = 1.3
    """The highest exposure that a service may have, as `systemd-analyze security` computes it: from 0 to 10."""

    @field_validator("distributions")
    @classmethod
    def _check_distributions(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = next((name for name in names if name not in DISTRIBUTIONS), None)
        if unknown is not None:
            near = difflib.get_close_matches(unknown, DISTRIBUTIONS, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else "."
            raise ValueError(f"{unknown!r} is not a distribution{hint} Allowed: {', '.join(DISTRIBUTIONS)}")
        return names

    @field_validator("exposure")
    @classmethod
    def _in_tenths(cls, exposure: float) -> float:
        if abs(exposure * 10 - round(exposure * 10)) > 1e-6:
            raise ValueError(f"{exposure} has more than one decimal; systemd computes tenths")
        return exposure

    @property
    def exposure_tenths(self) -> int:
        """`exposure` as `systemd-analyze security --threshold` takes it."""
        return round(self.exposure * 10)

    def of(self, format_: Format) -> tuple[Distribution, ...]:
        """Return the distributions that get packages of one format, in the order of the file."""
        found = (DISTRIBUTIONS[name] for name in self.distributions)
        return tuple(distribution for distribution in found if distribution.format is format_)
