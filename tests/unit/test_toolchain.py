"""Which Go compiles a release: what go.mod names, what the product says instead, and which patch the lock has."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import anyio
import pytest

from pipeline.config.images import ToolchainSpec, load_images
from pipeline.config.product import Product, load_product
from pipeline.config.toolchain import OLDEST, Toolchain, Wanted, wanted
from pipeline.errors import ConfigError, ImageError
from pipeline.host.folders import packaging_folder
from pipeline.images.catalog import Catalog
from pipeline.images.toolchains import (
    LOCK,
    Pinned,
    ToolchainLock,
    decide,
    load_toolchains,
    lock_of,
    look_up,
    resolved,
    save_toolchains,
)
from pipeline.model.graph import steps_of
from pipeline.model.source import Source, go_order
from pipeline.model.step import Caching
from pipeline.model.version import parse_tag
from pipeline.programs.toolchain import go_versions
from pipeline.programs.toolchain.go_versions import FoundToolchain, FoundToolchains

SUM = "h1:" + "A" * 43 + "="
LOCKED = lock_of([Pinned(version="1.22.12", sum=SUM), Pinned(version="1.24.13", sum=SUM)])


def source(directive: str, toolchain: str = "") -> Source:
    return Source(identity="git-tree:" + "a" * 40, go_directive=directive, go_toolchain=toolchain)


def product(*toolchains: dict[str, str]) -> Product:
    read = load_product(packaging_folder() / "products" / "seaweedfs").model_dump(mode="json")
    read["build"]["toolchains"] = toolchains
    return Product.model_validate_json(json.dumps(read))


@pytest.mark.parametrize(
    ("directive", "toolchain", "version", "reason"),
    [
        ("1.22.0", "", "1.22", "go.mod says `go 1.22.0`"),
        ("1.24", "1.24.1", "1.24", "go.mod says `toolchain go1.24.1`"),
        ("1.24.0", "1.25.3", "1.25", "go.mod says `toolchain go1.25.3`"),
        ("1.25.0", "1.24.1", "1.25", "go.mod says `go 1.25.0`"),
        ("1.26rc1", "", "1.26", "go.mod says `go 1.26rc1`"),
        ("1.17", "", OLDEST, f"go.mod says `go 1.17`; Go {OLDEST} is the oldest that is used"),
    ],
)
def test_the_source_names_the_minor_version(directive: str, toolchain: str, version: str, reason: str) -> None:
    found = wanted(product(), parse_tag("v4.00"), source(directive, toolchain))
    assert (found.version, found.reason, found.is_minor) == (version, reason, True)


def test_the_product_overrides_the_source_for_a_range_of_versions() -> None:
    rules = product({"value": "1.23", "versions": "<3.80"}, {"value": "1.24.2", "versions": "<4.00", "sum": SUM})
    by_version = {tag: wanted(rules, parse_tag(tag), source("1.22.0")) for tag in ("v3.68", "v3.97", "v4.00")}
    assert by_version["v3.68"] == Wanted(version="1.23", reason="product.toml names 1.23 for <3.80")
    assert by_version["v3.97"] == Wanted(version="1.24.2", sum=SUM, reason="product.toml names 1.24.2 for <4.00")
    assert by_version["v4.00"].version == "1.22"
    assert ToolchainLock().toolchain(by_version["v3.97"]) == Toolchain(
        version="1.24.2", sum=SUM, reason="product.toml names 1.24.2 for <4.00"
    )


@pytest.mark.parametrize("value", ["go1.22", "1", "1.22.x", "latest", "2.0"])
def test_what_is_no_toolchain_is_refused_in_the_product(value: str) -> None:
    with pytest.raises(ValueError, match="toolchains"):
        product({"value": value})


@pytest.mark.parametrize(
    ("version", "expected"),
    [("1.22", "1.22.12"), ("1.22.12", "1.22.12"), ("1.22.5", None), ("1.2", None), ("1.23", None)],
)
def test_the_lock_has_one_patch_of_a_minor_version(version: str, expected: str | None) -> None:
    found = LOCKED.toolchain(Wanted(version=version, reason="why"))
    assert (found.version if found else None) == expected
    if found:
        assert found.locked
        assert found.reason == ("why; toolchains.lock has 1.22.12" if version == "1.22" else "why")


def asked(which: Wanted, *, locked: bool) -> tuple[Toolchain, list[str], list[str]]:
    """Return what is decided, which versions were looked up, and what was said."""
    looked: list[str] = []
    said: list[str] = []

    async def look(version: str) -> FoundToolchains:
        looked.append(version)
        return FoundToolchains((FoundToolchain("1.23.12", SUM),))

    found = anyio.run(partial(decide, which, LOCKED, locked=locked, look=look, say=said.append))
    return found, looked, said


def test_what_is_locked_is_not_looked_up() -> None:
    found, looked, said = asked(Wanted(version="1.24", reason="why"), locked=True)
    assert (found.version, looked, said) == ("1.24.13", [], [])


def test_what_is_not_locked_is_looked_up_with_a_warning() -> None:
    found, looked, said = asked(Wanted(version="1.23", reason="why"), locked=False)
    assert looked == ["1.23"]
    assert found == resolved(FoundToolchains((FoundToolchain("1.23.12", SUM),)), Wanted(version="1.23", reason="why"))
    assert not found.locked
    assert said == ["warning: Go 1.23.12: why; it is not in toolchains.lock, and the module mirror has 1.23.12"]


def test_what_is_not_locked_is_refused_where_everything_must_be() -> None:
    with pytest.raises(ImageError, match=r"toolchains\.lock has no Go 1\.23, and --locked forbids") as caught:
        asked(Wanted(version="1.23", reason="go.mod says `go 1.23.1`"), locked=True)
    assert "go.mod says `go 1.23.1`" in caught.value.details


def test_a_lock_is_written_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / LOCK
    assert load_toolchains(path) == ToolchainLock()
    save_toolchains(path, LOCKED)
    assert load_toolchains(path) == LOCKED
    assert [each.name for each in tmp_path.iterdir()] == [LOCK]


@pytest.mark.parametrize(
    "text",
    [
        '[[toolchain]]\nversion = "1.22"\nsum = "h2:x"\n',
        f'[[toolchain]]\nversion = "latest"\nsum = "{SUM}"\n',
        f'[[toolchain]]\nversion = "1.22.1"\nsum = "{SUM}"\n[[toolchain]]\nversion = "1.22.2"\nsum = "{SUM}"\n',
    ],
)
def test_a_damaged_lock_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / LOCK).write_text(text)
    with pytest.raises(ConfigError, match=r"toolchains\.lock") as caught:
        load_toolchains(tmp_path / LOCK)
    assert "restore it from git" in caught.value.resolution


def test_the_project_s_lock_has_every_minor_version_since_the_oldest() -> None:
    minors = [entry.version.rsplit(".", 1)[0] for entry in load_toolchains(packaging_folder() / LOCK).entries]
    first, last = (int(minor.split(".")[1]) for minor in (minors[0], minors[-1]))
    assert minors[0] == OLDEST
    assert minors == [f"1.{number}" for number in range(first, last + 1)]


def test_only_images_that_compile_or_read_go_source_have_the_toolchain_of_the_source(tmp_path: Path) -> None:
    catalog = Catalog(load_images(packaging_folder()), home=tmp_path)
    toolchain = Toolchain(version="1.22.12", sum=SUM, reason="why")
    before, after = ({name: catalog.image(name) for name in catalog.names()}, catalog.images(toolchain))
    assert {name for name in before if before[name] != after[name]} == {"go", "govulncheck"}
    fetched = {name: {step.title for _, tree in after[name].layers for step in steps_of(tree)} for name in after}
    scanners = catalog.specs.tools["go"]
    assert isinstance(scanners, ToolchainSpec)
    pinned = f"fetch Go {scanners.version}"
    assert fetched["go"] == {"fetch Go 1.22.12"}
    assert fetched["govulncheck"] >= {"fetch Go 1.22.12", pinned}, "govulncheck itself is built with the pinned one"
    assert "fetch Go 1.22.12" not in fetched["grype"]


def test_the_example_is_compiled_by_the_toolchain_that_is_there_for_the_scanners() -> None:
    example, pinned = (
        load_product(packaging_folder() / "products" / "example"),
        load_images(packaging_folder()).tools["go"],
    )
    found = ToolchainLock().toolchain(wanted(example, parse_tag("v1.2.3"), source("1.24.0")))
    assert isinstance(pinned, ToolchainSpec)
    assert found
    assert (found.version, found.sum) == (pinned.version, pinned.sum)


def test_a_toolchain_is_looked_up_once_a_day_unless_all_are_to_be_locked_anew(tmp_path: Path) -> None:
    image = Catalog(load_images(packaging_folder()), home=tmp_path).bootstrap()
    looked = look_up(image, version="1.22")
    assert (looked.network, looked.caching) == (True, Caching.DAILY)
    assert look_up(image, caching=Caching.NEVER).caching is Caching.NEVER


VERSIONS = sorted(["1.19.13", "1.20", "1.20.9", "1.20.14", "1.21.0", "1.22.9", "1.22.12"], key=go_versions.order)


@pytest.mark.parametrize(
    ("asked_for", "expected"),
    [
        ("", ["1.20.14", "1.21.0", "1.22.12"]),
        ("1.22", ["1.22.12"]),
        ("1.20", ["1.20.14"]),
        ("1.22.9", ["1.22.9"]),
    ],
)
def test_the_newest_patch_is_chosen_by_number(asked_for: str, expected: list[str]) -> None:
    assert sorted(VERSIONS, key=go_order) == VERSIONS
    assert go_versions.chosen(VERSIONS, asked_for, "1.20") == expected


def test_a_version_that_the_mirror_does_not_have_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        go_versions.chosen(VERSIONS, "1.23", "1.20")
    assert "the module mirror has no Go 1.23" in capsys.readouterr().err
