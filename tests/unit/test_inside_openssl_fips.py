"""What `openssl list -providers` says, as OpenSSL 3.5 of Debian and 3.5 of Oracle Linux print it."""

from __future__ import annotations

import pytest

from pipeline.programs.build import openssl_fips
from pipeline.programs.build.proof import Provider

DEFAULT = """\
Providers:
  default
    name: OpenSSL Default Provider
    version: 3.5.7
    status: active
    build info: 3.5.7
    gettable provider parameters:
      name: pointer to a UTF8 encoded string (arbitrary size)
      status: integer (arbitrary size)
"""
FIPS = """\
  fips
    name: Oracle Linux 9 - OpenSSL FIPS Provider
    version: 3.5.1
    status: active
"""


def test_providers_and_their_facts() -> None:
    found = openssl_fips.providers(DEFAULT + FIPS)
    assert found == {
        "default": Provider("OpenSSL Default Provider", "3.5.7", "active"),
        "fips": Provider("Oracle Linux 9 - OpenSSL FIPS Provider", "3.5.1", "active"),
    }


@pytest.mark.parametrize(
    ("listing", "active"),
    [
        (DEFAULT, False),
        (DEFAULT + FIPS, True),
        (DEFAULT + FIPS.replace("  fips\n", "  vendor\n"), True),
        (DEFAULT + FIPS.replace("status: active", "status: inactive"), False),
        ("list: unable to load provider fips\n", False),
        ("", False),
    ],
)
def test_only_an_active_fips_provider_counts(listing: str, active: bool) -> None:
    assert (openssl_fips.fips_of(listing) is not None) is active
