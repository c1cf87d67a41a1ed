"""Where things are on a host. Every function of the library takes a `Paths`, so that tests can move the root."""

import os
from typing import Dict, NamedTuple, Tuple

from weedops.errors import ConfigError


class Paths(NamedTuple):
    """The places of one installation, below `root` (`/` on a real host)."""

    root: str = "/"

    def at(self, path: str) -> str:
        """Return the absolute `path` below the root."""
        return os.path.join(self.root, path.lstrip("/"))

    @property
    def binary(self) -> str:
        """The server itself."""
        return self.at("/opt/weed/weed")

    @property
    def release(self) -> str:
        """What the package was built from."""
        return self.at("/opt/weed/release")

    @property
    def defaults(self) -> str:
        """Configuration that the package installs."""
        return self.at("/etc/default/weed")

    @property
    def conf(self) -> str:
        """The file with instances, ports and peers."""
        return self.at("/etc/default/weed/weed.conf")

    @property
    def overrides(self) -> str:
        """Configuration of this host, which wins."""
        return self.at("/etc/weed")

    @property
    def runtime(self) -> str:
        """One folder per instance, gone when it stops."""
        return self.at("/run/weed")

    @property
    def logs(self) -> str:
        """One file per instance."""
        return self.at("/var/log/weed")

    @property
    def units(self) -> str:
        """Where drop-ins of this host go."""
        return self.at("/etc/systemd/system")

    @property
    def haproxy(self) -> str:
        """The generated snippet of HAProxy."""
        return self.at("/etc/haproxy/conf.d/weed-s3.cfg")


THIS_HOST = Paths()


class Installed(NamedTuple):
    """What `/opt/weed/release` says about the package."""

    product: str
    version: str
    variant: str
    commit: str

    @property
    def fips(self) -> bool:
        """Whether the binary is the FIPS one."""
        return "fips" in self.variant.split("-")

    @property
    def number(self) -> Tuple[int, ...]:
        """The version as numbers, for comparing: (4, 44)."""
        digits = self.version.split("-")[0].split("+")[0]
        return tuple(int(part) for part in digits.split(".") if part.isdigit())

    @property
    def dialect(self) -> Tuple[int, ...]:
        """The SeaweedFS release whose flags and endpoints the binary has; a product that stands in for it has all."""
        return self.number if self.product.startswith("seaweedfs") else (99,)


def read_pairs(path: str) -> Dict[str, str]:
    """Return the KEY=VALUE lines of `path`. Raises ConfigError for a file or a line that cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", "reinstall the package") from None
    pairs: Dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text[0] in "#;":
            continue
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"{path}: line {number}: {text!r} is not KEY=VALUE", "write a key, = and a value")
        pairs[key.strip()] = unquoted(value.strip())
    return pairs


def unquoted(value: str) -> str:
    """Return `value` without the quotes around it, if there is a pair of them."""
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def read_installed(paths: Paths) -> Installed:
    """Return what is installed. Raises ConfigError when `/opt/weed/release` is missing or lacks a key."""
    pairs = read_pairs(paths.release)
    missing = [key for key in ("PRODUCT", "VERSION", "VARIANT", "COMMIT") if key not in pairs]
    if missing:
        raise ConfigError(f"{paths.release} does not say {', '.join(missing)}", "reinstall the package")
    return Installed(pairs["PRODUCT"], pairs["VERSION"], pairs["VARIANT"], pairs["COMMIT"])
