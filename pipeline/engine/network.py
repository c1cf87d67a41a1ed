"""What a step with network gets of this machine's: where names are resolved, whom to trust, which way out."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

PASSED = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "FTP_PROXY"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy", "ftp_proxy"),
    *("GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GONOSUMCHECK", "GOPRIVATE", "GOINSECURE", "GOVCS"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT", "UV_INDEX_URL"),
    *("UV_DEFAULT_INDEX", "NPM_CONFIG_REGISTRY", "CARGO_REGISTRIES_CRATES_IO_PROTOCOL"),
)
"""Variables of this process that decide how the network is reached, and never what is fetched."""

TRUST = (
    *("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO"),
    *("NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE", "CARGO_HTTP_CAINFO"),
)
"""Variables by which programs are told the file with the certificates that they are to trust."""

CA_MOUNT = "/run/ca-certificates.crt"
"""Where that file is inside of a sandbox."""

_USUAL_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """The way out. Only steps that may use the network see any of it."""

    variables: tuple[tuple[str, str], ...] = ()
    ca_bundle: Path | None = None
    resolv_conf: Path | None = Path("/etc/resolv.conf")
    hosts: Path | None = Path("/etc/hosts")

    @staticmethod
    def of(environ: Mapping[str, str]) -> NetworkSettings:
        """Return the settings of an environment, with the machine's own certificates if it names none."""
        named = [environ[name] for name in TRUST if environ.get(name)]
        usual = [ssl.get_default_verify_paths().cafile or "", *_USUAL_BUNDLES]
        bundle = next((Path(path) for path in (*named, *usual) if path and Path(path).is_file()), None)
        variables = tuple((name, environ[name]) for name in PASSED if environ.get(name))
        return NetworkSettings(variables=variables, ca_bundle=bundle)

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that a step with network sees beside its own."""
        trust = dict.fromkeys(TRUST, CA_MOUNT) if self.ca_bundle else {}
        return {**trust, **dict(self.variables)}

    @property
    def passwords(self) -> list[bytes]:
        """Return the passwords in the URLs of proxies and registries: no log may show them."""
        found = [urlsplit(part).password for _, value in self.variables for part in re.split(r"[,| ]", value)]
        return [unquote(password).encode() for password in found if password] + [
            password.encode() for password in found if password
        ]

    @property
    def files(self) -> list[tuple[Path, str]]:
        """Return the files to be seen inside, as (path here, path inside)."""
        wanted = [(self.ca_bundle, CA_MOUNT), (self.resolv_conf, "/etc/resolv.conf"), (self.hosts, "/etc/hosts")]
        return [(Path(os.path.realpath(path)), mount) for path, mount in wanted if path and path.exists()]
