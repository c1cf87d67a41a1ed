"""The order of versions, as the package manager itself sees it."""

from __future__ import annotations

import itertools
import subprocess

from pipeline.model.version import parse_tag
from tests.conftest import require_tool

ORDERED = [
    "0.9", "1.2.3-alpha", "1.2.3-alpha.1", "1.2.3-alpha.beta", "1.2.3-beta", "1.2.3-beta.2", "1.2.3-beta.11",
    "1.2.3-rc.1", "1.2.3-rc.1+meta", "1.2.3", "1.2.3+build-7", "1.2.4-rc.1", "1.2.4", "3.68", "4.07-rc.1", "4.07",
    "4.12",
]  # fmt: skip


def test_dpkg_orders_versions_as_semantic_versioning_does() -> None:
    dpkg = require_tool("dpkg")
    for one, other in itertools.pairwise(parse_tag(tag).deb for tag in ORDERED):
        subprocess.run([dpkg, "--validate-version", one], check=True)
        subprocess.run([dpkg, "--compare-versions", one, "lt", other], check=True)
