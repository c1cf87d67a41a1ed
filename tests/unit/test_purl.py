"""Our package URLs are those that the library of the specification's authors writes."""

from __future__ import annotations

import pytest
from packageurl import PackageURL

from pipeline.programs.purl import purl


@pytest.mark.parametrize(
    ("kind", "name", "version", "qualifiers"),
    [
        ("generic", "weed", "1.2.3", {"file_name": "weed-1.2.3-linux-amd64", "checksum": "sha256:d235c091"}),
        ("generic", "a product @ work", "1.2.3+build/4", {"file_name": "a b&c=d?e#f.tar.gz", "checksum": ""}),
        ("golang", "github.com/Azure/go-autorest/v2", "v2.0.0+incompatible", {}),
        ("golang", "stdlib", "", {}),
        ("deb", "seaweedfs-fips", "1:3.68~rc1-1+deb12u1", {"arch": "amd64"}),
        ("rpm", "SeaweedFS", "3.68^git1-1.el9", {"arch": "x86_64"}),
        ("deb", "é%", "~1", {}),
    ],
)
def test_a_package_url_is_what_the_library_writes(
    kind: str, name: str, version: str, qualifiers: dict[str, str]
) -> None:
    namespace, _, last = name.rpartition("/")
    expected = PackageURL(kind, namespace or None, last, version or None, qualifiers)
    written = purl(kind, name, version, **qualifiers)
    assert written == expected.to_string()
    assert PackageURL.from_string(written) == expected
