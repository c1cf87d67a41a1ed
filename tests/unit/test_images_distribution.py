"""Images made from their distribution's archive: what images.toml and the environment may say, and what follows."""

from __future__ import annotations

import configparser
from functools import partial
from pathlib import Path

import anyio
import pytest
from pydantic import ValidationError

from pipeline.cli.parser import build_parser
from pipeline.config.images import ImageSpecs, load_images
from pipeline.config.mirror import Archive
from pipeline.errors import ConfigError, UsageError
from pipeline.images.catalog import Catalog
from pipeline.images.exported import Exported
from pipeline.roots.bootstrap import Recipe, arguments
from pipeline.roots.from_distribution import MACROS, Rpms, configuration, distribution_of
from pipeline.roots.root import Facts, Roots
from pipeline.stages.index import _image
from tests.unit.test_images_spec import GOOD, PACKAGING, problem, write

APT = """
[images.tool.distribution]
variable = "EXAMPLE"
mirror = "https://archive.example.org/linux/"
keyring = "/usr/share/keyrings/example.gpg"
suites = ["one", "one-security"]
"""
DNF = {
    "variable": "EXAMPLE",
    "mirror": "https://archive.example.org",
    "keyring": "/etc/pki/example",
    "release": "9",
    "repositories": {"base": {"path": "base/x86_64"}},
}


@pytest.fixture
def specs(tmp_path: Path) -> ImageSpecs:
    return load_images(write(tmp_path / "packaging", GOOD + APT))


@pytest.fixture(scope="module")
def real() -> ImageSpecs:
    return load_images(PACKAGING)


def test_every_image_that_stands_in_for_a_distribution_has_its_archive(real: ImageSpecs) -> None:
    for name, image in real.images.items():
        assert bool(image.bootstrap.stands_in_for) == (image.distribution is not None), name


def test_the_archive_of_apt_is_named_with_its_keyring(real: ImageSpecs) -> None:
    recipe = distribution_of(real, "deb-ubuntu22.04", {"PIPELINE_UBUNTU_MIRROR": "https://m.example.org/ubuntu/"})
    assert isinstance(recipe, Recipe)
    argv = arguments(recipe, "root", Path("/target"), recipe.sources)
    source = "deb [signed-by=/usr/share/keyrings/ubuntu-archive-keyring.gpg] https://m.example.org/ubuntu"
    suites = ("jammy", "jammy-updates", "jammy-security")
    assert argv[-5:] == ("jammy", "/target", *(f"{source} {suite} main universe" for suite in suites))
    assert not any("trusted=" in argument for argument in argv)


@pytest.mark.parametrize("name", ["rpm-ol8", "rpm-ol9"])
def test_dnf_checks_every_package_and_has_no_repository_of_this_machine(real: ImageSpecs, name: str) -> None:
    recipe = distribution_of(real, name, {})
    assert isinstance(recipe, Rpms)
    parser = configparser.ConfigParser()
    parser.read_string(configuration(recipe, Path("/keys/keyring")))
    release = name[-1]
    assert parser["main"]["module_platform_id"] == f"platform:el{release}"
    assert not Path(parser["main"]["reposdir"]).exists()
    for section in parser.sections():
        assert parser[section]["gpgcheck"] == "1"
        if section != "main":
            assert parser[section]["gpgkey"] == "file:///keys/keyring"
            assert parser[section]["baseurl"].startswith(f"https://yum.oracle.com/repo/OracleLinux/OL{release}/")
    assert "%_pkgverify_level signature\n" in MACROS


def test_metadata_is_checked_unless_the_archive_does_not_sign_it(specs: ImageSpecs) -> None:
    archive = Archive.model_validate(DNF)
    recipe = Rpms(name="x", title="x:9", archive=archive, packages=("a",), mounts=())
    assert "repo_gpgcheck=1" in configuration(recipe, Path("/k"))
    unsigned = {**DNF, "repositories": {"base": {"path": "base", "signed_metadata": False}}}
    other = Rpms(name="x", title="x:9", archive=Archive.model_validate(unsigned), packages=("a",), mounts=())
    assert "repo_gpgcheck=0" in configuration(other, Path("/k"))
    assert recipe.key != other.key


def test_what_is_made_from_another_mirror_or_by_other_keys_is_another_root(specs: ImageSpecs, real: ImageSpecs) -> None:
    keys = {
        distribution_of(specs, "tool", environ).key
        for environ in ({}, {"PIPELINE_EXAMPLE_MIRROR": "http://m"}, {"PIPELINE_EXAMPLE_KEYRING": "/k"})
    }
    assert len(keys) == 3
    variables: tuple[dict[str, str], ...] = (
        {},
        {"PIPELINE_ORACLE_LINUX_8_MIRROR": "http://m"},
        {"PIPELINE_ORACLE_LINUX_8_KEYRING": "/k"},
    )
    assert len({distribution_of(real, "rpm-ol8", environ).key for environ in variables}) == 3


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PIPELINE_EXAMPLE_MIRROR", "[trusted=yes] http://m"),
        ("PIPELINE_EXAMPLE_MIRROR", "http://m [trusted=yes]"),
        ("PIPELINE_EXAMPLE_MIRROR", "ftp://m"),
        ("PIPELINE_EXAMPLE_KEYRING", "keys.gpg"),
        ("PIPELINE_EXAMPLE_KEYRING", "/k] trusted=yes"),
    ],
)
def test_the_environment_cannot_switch_signatures_off(specs: ImageSpecs, variable: str, value: str) -> None:
    with pytest.raises(ConfigError, match=variable):
        distribution_of(specs, "tool", {variable: value})


@pytest.mark.parametrize(
    "changes",
    [
        {"repositories": {}},
        {"suites": ["one"]},
        {"release": ""},
        {"mirror": "archive.example.org"},
        {"variable": "example"},
        {"repositories": {"base": {"path": "../other"}}},
        {"gpgcheck": False},
    ],
)
def test_a_mistake_in_the_archive_is_named(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Archive.model_validate({**DNF, **changes})


def test_an_archive_of_another_package_manager_is_a_mistake(tmp_path: Path) -> None:
    assert "archive of apt" in problem(tmp_path, 'manager = "apt"\n', 'manager = "dnf"\n', APT)


def test_an_image_without_an_archive_cannot_be_made_from_one(specs: ImageSpecs, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="from which archive go could be made"):
        Catalog(specs, home=tmp_path, overrides={"go": "distribution"})


def test_a_root_of_the_distribution_is_no_stand_in_and_says_what_is_in_it(specs: ImageSpecs, tmp_path: Path) -> None:
    async def fill(rootfs: Path) -> Facts:
        (rootfs / "usr").mkdir()
        return Facts(origin="example.org/tool:v1", packages=("a=1", "b=2"))

    key = distribution_of(specs, "tool", {}).key
    anyio.run(partial(Roots(tmp_path).make, key, fill, progress=lambda _: None))
    catalog = Catalog(specs, home=tmp_path, distribution=True)
    image = catalog.image("tool")
    described = _image(image)
    assert (described.stands_in_for, described.made_from) == ("", "example.org/tool:v1")
    assert described.packages == ("a=1", "b=2")
    row = next(row for row in catalog.describe() if row.name == "tool")
    assert (row.ready, row.stands_in_for, row.note) == (True, "", "")
    assert row.used.startswith("distribution example.org/tool:v1")
    # Without the option it is the stand-in again, and what has no archive is as ever.
    assert Catalog(specs, home=tmp_path).base("tool").stands_in_for == "example.org/tool:v1"
    assert next(row for row in catalog.describe() if row.name == "go").used.startswith("bootstrap small")
    given = Exported(archive="x.tar", content="sha256:x", made_from="example.org/tool:v1", installed=("a=1", "b=2"))
    elsewhere = Catalog(specs, home=Path("/nonexistent"), pull=True, local=False, exported={"tool": given})
    assert _image(elsewhere.image("tool")).packages == ("a=1", "b=2")
    assert _image(Catalog(specs, home=tmp_path).image("tool")).packages == ()


def test_the_option_has_two_values() -> None:
    parse = build_parser().parse_args
    assert parse(["images", "list"]).roots == "stand-in"
    assert parse(["images", "list", "--roots", "distribution"]).roots == "distribution"
