"""The packages of the example by the tools of other ages than the packaging image's: three releases of Debian.

They have lintian 2.104, 2.116 and 2.122, debhelper 13.3 to 13.24, rpm 4.16 to 4.20 and, but for the oldest, rpmlint 2.4
and 2.7. The release itself is made with the middle one. Each of the others is a root of its own, made once.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import pytest

from pipeline.host.folders import home_folder
from pipeline.images.catalog import Catalog
from pipeline.roots.bootstrap import bootstrap, debian_mirrors, recipe_of
from pipeline.roots.root import Roots
from tests.conftest import require_tool
from tests.integration.packaged import build, catalog, machine
from tests.integration.test_packages import field

pytestmark = pytest.mark.heavy

IMAGES = ("deb-ubuntu22.04", "rpm-ol8", "rpm-ol9")
LACKING = {"bullseye": {"rpmlint"}, "trixie": set[str]()}
DEB = "example_1.2.3-1~ubuntu22.04.1_amd64.deb"
PROGRAM = "example-linux-amd64"


def root_of(suite: str) -> Path:
    """Return the root of Debian's release `suite` with the programs of the packaging image."""
    for tool in ("mmdebstrap", "gpg", "bwrap"):
        require_tool(tool)
    specs = catalog().specs
    recipe = recipe_of(specs, "bookworm-packaging")
    packages = tuple(name for name in recipe.packages if name not in LACKING[suite])
    recipe = replace(recipe, name=suite, suite=suite, packages=packages, mounts=specs.mounts)
    make = partial(
        bootstrap, recipe, Roots(home_folder(None)), mirrors=debian_mirrors(os.environ), progress=lambda _: None
    )
    return anyio.run(make).path


def images_of(suite: str) -> Catalog:
    """Return the images with that root in place of the packaging image."""
    images = catalog(dict.fromkeys(IMAGES, f"root-dir:{root_of(suite)}"))
    anyio.run(partial(images.prepare, IMAGES, progress=lambda _: None))
    return images


@pytest.fixture
def binary(dist: Path, tmp_path: Path) -> Path:
    path = tmp_path / "binary" / PROGRAM
    path.parent.mkdir()
    shutil.copy(dist / "example-1.2.3-linux-amd64", path)
    shutil.copy(dist / "example-1.2.3-linux-amd64.NOTICE.txt", path.with_name(f"{PROGRAM}.NOTICE.txt"))
    return path


def test_every_debhelper_makes_the_same_package_and_every_lintian_accepts_it(binary: Path, tmp_path: Path) -> None:
    (made,) = build(binary, "1.2.3", tmp_path, DEB)
    expected = made.read_bytes()
    for suite in LACKING:
        made.unlink()
        assert build(binary, "1.2.3", tmp_path, DEB, images=images_of(suite)) == [made]
        assert made.read_bytes() == expected, suite


def listed(package: Path) -> list[str]:
    """Return what is in an RPM, and what it needs and does, without what says which rpm has made it.

    Left out as well is the digest of the SELinux module, which is compiled by the policy of the root.
    """
    rows = field(
        package, "[%{FILENAMES} %{FILEMODES:perms} %{FILEUSERNAME} %{FILEMTIMES} %{FILEFLAGS} %{FILEDIGESTS}\n]"
    )
    rows = re.sub(r"^(.*/weed\.pp\.bz2 .*) [0-9a-f]{64}$", r"\1", rows, flags=re.MULTILINE)
    names = "%{NEVRA} %{LICENSE} %{BUILDTIME} %{BUILDHOST} %{PAYLOADCOMPRESSOR} %{FILEDIGESTALGO}"
    scripts = "%{PREIN}|%{POSTIN}|%{PREUN}|%{POSTUN}"
    needs = [line for line in field(package, "[%{REQUIRES} %{REQUIREVERSION}\n]").splitlines() if "rpmlib" not in line]
    return [*rows.splitlines(), field(package, names), field(package, scripts), *sorted(needs)]


def test_a_later_rpm_makes_the_same_and_a_later_rpmlint_accepts_it(binary: Path, tmp_path: Path) -> None:
    made = build(binary, "1.2.3", tmp_path, "example-")
    assert len(made) == 8
    expected = [listed(package) for package in made]
    assert build(binary, "1.2.3", tmp_path, "example-", images=images_of("trixie")) == made
    assert [field(package, "%{RPMVERSION}")[:4] for package in made] == ["4.20"] * 8
    assert [listed(package) for package in made] == expected


def test_an_earlier_rpm_makes_the_same_of_the_source_package(binary: Path, tmp_path: Path) -> None:
    """By rpm 4.16, as Oracle Linux 9 has it."""
    made, folder = build(binary, "1.2.3", tmp_path, "example-1.2.3-1.el9"), tmp_path / "p"
    source, package = made
    folder.mkdir()
    for path in (source, binary):
        shutil.copy(path, folder / path.name)
    with machine(folder, tmp_path / "machine", root_of("bullseye")) as host:
        command = f"cd /packages; export HOME=/root; mkdir -p ~/rpmbuild/SOURCES; cp {PROGRAM} ~/rpmbuild/SOURCES/"
        host.run(f"{command}; rpmbuild --rebuild {source.name} && cp ~/rpmbuild/RPMS/*/*.rpm .")
    assert field(folder / package.name, "%{RPMVERSION}").startswith("4.16.")
    assert listed(folder / package.name) == listed(package)
