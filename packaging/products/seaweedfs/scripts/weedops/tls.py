"""What security.toml says about certificates: are they usable, and is a server's own port HTTPS.

weed continues in plain text when the certificate of a gRPC listener cannot be loaded (SeaweedFS, weed/security/tls.go,
LoadServerTLS), so the launcher loads each one first.
"""

import os
import ssl
from typing import Any, Dict, NamedTuple, Tuple

from weedops.errors import AccessError, ConfigError, OpsError
from weedops.files import check_private, check_writers, find, read_trusted
from weedops.options import read_options
from weedops.paths import Installed, Paths
from weedops.settings import Instance
from weedops.toml import TOMLDecodeError, loads

HTTPS_SINCE = {"master": (0,), "volume": (0,), "filer": (3, 71)}
"""The first release in which [https.<role>] of security.toml means something (3.68 has master and volume)."""


class Https(NamedTuple):
    """The HTTPS of a server's own port. Empty strings are what is not configured."""

    cert: str
    key: str
    ca: str


def lookup(content: Dict[str, Any], dotted: str) -> str:
    """Return the string at `dotted` ("grpc.ca"), "" if there is none. Keys do not tell capitals, as in viper."""
    value: Any = content
    for part in dotted.split("."):
        if not isinstance(value, dict):
            return ""
        value = next((value[key] for key in value if key.lower() == part.lower()), None)
    return value if isinstance(value, str) else ""


def https(content: Dict[str, Any], options: Dict[str, str], role: str, installed: Installed) -> Https:
    """Return the HTTPS of `role`'s own port from security.toml, or for S3 from its options; empty when it is HTTP."""
    if role == "s3":
        if options.get("port.https", "0") != "0":
            return Https("", "", "")
        return Https(options.get("cert.file", ""), options.get("key.file", ""), options.get("cacert.file", ""))
    if installed.dialect < HTTPS_SINCE[role] or not lookup(content, f"https.{role}.key"):
        return Https("", "", "")
    return Https(*(lookup(content, f"https.{role}.{name}") for name in ("cert", "key", "ca")))


def context_for(instance: Instance, installed: Installed, paths: Paths) -> Tuple[bool, "ssl.SSLContext"]:
    """Return whether the port of `instance` is HTTPS, and how to ask it.

    The certificate is not checked against a name: the question goes to this host, and a program that can take its port
    has nothing to gain from an answer. A certificate of our own is shown when the server asks for one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    path = find(paths, instance, "security.toml")
    try:
        content = loads(read_trusted(path)) if path else {}
    except TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}", "correct it")
    found = https(content, read_options(paths, instance), instance.role, installed)
    if not found.key:
        return False, context
    for section in ("https.client", f"https.{instance.role}"):
        pair = lookup(content, section + ".cert"), lookup(content, section + ".key")
        if all(pair):
            _load(context, *pair)
            break
    return True, context


def check_certificates(content: Dict[str, Any], role: str, where: str) -> None:
    """Raise ConfigError or AccessError when a certificate that `role` would use cannot be loaded."""
    pairs = [
        (f"grpc.{role}", "cert", "key"),
        (f"grpc.{role}", "client_cert", "client_key"),
        ("grpc.client", "cert", "key"),
    ]
    pairs += [("https.client", "cert", "key"), (f"https.{role}", "cert", "key")]
    demanded = False
    for section, cert, key in pairs:
        files = lookup(content, f"{section}.{cert}"), lookup(content, f"{section}.{key}")
        if not any(files):
            continue
        if not all(files):
            missing = key if files[0] else cert
            raise ConfigError(f"{where}: [{section}] has no {missing}", "give both: weed would continue in plain text")
        _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), *files)
        check_key(files[1])
        demanded = demanded or section.startswith("grpc.")
    for name in ("grpc.ca", "https.client.ca", f"https.{role}.ca"):
        authority = lookup(content, name)
        if authority:
            _authority(authority)
    if demanded and not lookup(content, "grpc.ca"):
        raise ConfigError(f"{where}: [grpc] has no ca", "name the authority: weed would continue in plain text")


def check_key(path: str) -> None:
    """Raise AccessError when others than root and the service user may change a private key, or everybody read it."""
    check_writers(path)
    check_private(path, "is a private key")


def _load(context: ssl.SSLContext, cert: str, key: str) -> None:
    try:
        context.load_cert_chain(cert, key, password=lambda: "")
    except ssl.SSLError as error:
        raise ConfigError(
            f"{cert} and {key} are not a certificate and its key: {error.reason or error}",
            "both in PEM, the key without a passphrase",
        )
    except OSError as error:
        raise _unreadable(cert if not os.access(cert, os.R_OK) else key, error)


def _authority(path: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        raise ConfigError(f"{path} holds no certificate authority: {error.reason or error}", "a PEM file is needed")
    except OSError as error:
        raise _unreadable(path, error)


def _unreadable(path: str, error: OSError) -> OpsError:
    return AccessError(
        f"{path} cannot be read: {error.strerror}", f"the user weed must be able to read it: chgrp weed {path}"
    )
