"""What every stage is given: the values of one release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from pipeline.config.policy import Policy
from pipeline.config.product import Product
from pipeline.config.toolchain import Toolchain
from pipeline.errors import ConfigError
from pipeline.model.image import Image
from pipeline.model.source import Source
from pipeline.model.tree import EMPTY, Files, Given
from pipeline.model.version import Version
from pipeline.programs.build.proof import FipsModule


class Databases(Enum):
    """Where the scanners' vulnerability databases come from."""

    FEED = "feed"
    """The vendors' own feeds."""
    GIVEN = "given"
    """A directory with `grype/` and `trivy/`, in the tools' own formats."""
    ADVISORIES = "advisories"
    """A directory of OSV advisories, turned into databases by this project's own tool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person chose for this run. Everything here can change the release."""

    fips_module: FipsModule = FipsModule.BORINGCRYPTO
    require_openssl_fips: bool = False
    snapshot: bool = False
    targets: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    databases: Databases = Databases.FEED
    signing_fingerprint: str = ""
    signing_development: bool = False
    """The key is not for shipping, and the release says so."""
    ephemeral_key: bool = False
    """Sign with a key that is made for this run and kept by nobody. Never for shipping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The values of one release.

    `given` holds trees from outside by name: `scan-db`, `advisories`. `prebuilt` holds what `build` left on other
    machines: by the name of each file, the folder that it is in. `missing` has the reason for each scanner that has no
    database; the gate repeats it.
    """

    product: Product
    version: Version
    source: Source
    policy: Policy
    toolchain: Toolchain
    images: Mapping[str, Image] = field(repr=False)
    options: Options = field(default_factory=Options)
    given: Mapping[str, Given] = field(default_factory=dict, repr=False)
    prebuilt: Mapping[str, Given] = field(default_factory=dict, repr=False)
    missing: Mapping[str, str] = field(default_factory=dict)
    packaging: Files = field(default=EMPTY, repr=False)
    """The files that packages are made from; empty for a product without packages."""
    schemas: Files = field(default=EMPTY, repr=False)
    """The official JSON schemas that SBOMs and reports are validated against."""

    @property
    def epoch(self) -> int:
        """SOURCE_DATE_EPOCH of the release, in seconds: the commit's time."""
        return self.source.epoch

    def image(self, name: str) -> Image:
        """Return the image called `name`. Raises ConfigError when images.toml does not have it."""
        try:
            return self.images[name]
        except KeyError:
            raise ConfigError(
                f"no image is called {name!r}",
                details=f"packaging/images.toml has: {', '.join(sorted(self.images))}",
                resolution="add it to packaging/images.toml",
            ) from None
