"""Products: the files of this project are right, a wrong one is explained, and what follows from a right one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.product import Product, list_products, load_product, parse_product
from pipeline.errors import ConfigError, UsageError
from pipeline.model.target import TARGETS
from pipeline.model.version import parse_tag

PRODUCTS = Path(__file__).parents[2] / "packaging" / "products"
AMD64, ARM64 = TARGETS["linux/amd64"], TARGETS["linux/arm64"]
GOOD = """
name = "thing"
title = "A thing"
summary = "Does things"
homepage = "https://example.org/thing"
license = "Apache-2.0"
maintainer = "Some Body <some@example.org>"
vendor = "Example"

[source]
git = "https://example.org/thing.git"

[build]
binary = "thing"
targets = ["linux/amd64"]
version_output = "thing {{ version }}"
ldflags = ["-s", { value = "-X=a.b={{ commit }}", versions = ">=1.2.3" }]
tags = ["netgo", { value = "old", versions = "<1.0.0" }]

[[build.variants]]
name = "standard"
suffix = ""

[[build.variants]]
name = "fips"
suffix = "-fips"
fips = true
tags = ["extra"]
"""


def product(text: str = GOOD) -> Product:
    return parse_product(text, where="product.toml")


def test_the_products_of_this_project_are_valid() -> None:
    names = list_products(PRODUCTS)
    assert {"example", "seaweedfs"} <= set(names)
    for name in names:
        assert load_product(PRODUCTS / name).name == name


def test_the_requirement_names_the_artifacts_of_seaweedfs() -> None:
    seaweedfs = load_product(PRODUCTS / "seaweedfs")
    version = parse_tag("v3.68", seaweedfs.version.scheme)
    names = [
        seaweedfs.artifact(version, target, variant) for variant in seaweedfs.variants() for target in seaweedfs.targets
    ]
    assert names == [
        "seaweedfs-3.68-linux-amd64",
        "seaweedfs-3.68-linux-arm64",
        "seaweedfs-3.68-linux-amd64-fips",
        "seaweedfs-3.68-linux-arm64-fips",
    ]
    assert version.git_ref(seaweedfs.source.tag) == "3.68"


@pytest.mark.parametrize(
    ("tag", "place"),
    [
        ("3.18", "github.com/chrislusf/seaweedfs/weed/util"),
        ("3.19", "github.com/seaweedfs/seaweedfs/weed/util"),
        ("v3.68", "github.com/seaweedfs/seaweedfs/weed/util"),
        ("3.89", "github.com/seaweedfs/seaweedfs/weed/util"),
        ("3.90", "github.com/seaweedfs/seaweedfs/weed/util/version"),
        ("4.07", "github.com/seaweedfs/seaweedfs/weed/util/version"),
        ("v4.44", "github.com/seaweedfs/seaweedfs/weed/util/version"),
    ],
)
def test_the_commit_is_stamped_where_seaweedfs_keeps_it_at_that_version(tag: str, place: str) -> None:
    seaweedfs = load_product(PRODUCTS / "seaweedfs")
    flags = seaweedfs.ldflags(parse_tag(tag), commit="c0ffee", epoch=1)
    assert [flag for flag in flags if flag.startswith("-X")] == [f"-X={place}.COMMIT=c0ffee"]


def test_each_variant_says_what_its_version_command_prints() -> None:
    seaweedfs = load_product(PRODUCTS / "seaweedfs")
    version = parse_tag("v4.44")
    lines = {
        variant.name: seaweedfs.version_output(version, variant, ARM64, commit="c0ffee", epoch=1)
        for variant in seaweedfs.build.variants
    }
    assert lines["standard"] == lines["fips"] == "version 30GB 4.44 c0ffee linux arm64"
    assert lines["large_disk"] == lines["large_disk-fips"] == "version 8000GB 4.44 c0ffee linux arm64"
    assert seaweedfs.tags(version, seaweedfs.variant("large_disk")) == ("5BytesOffset",)


def test_values_gated_by_version() -> None:
    thing = product()
    old, new = (parse_tag(tag, thing.version.scheme) for tag in ("v0.9.0", "v1.2.3"))
    fips = thing.variant("fips")
    assert thing.ldflags(old, commit="c", epoch=0) == ("-s",)
    assert thing.ldflags(new, commit="c", epoch=0) == ("-s", "-X=a.b=c")
    assert thing.tags(old, fips) == ("netgo", "old", "extra")
    assert thing.tags(new, fips) == ("netgo", "extra")


def test_variants_are_chosen_by_name_in_the_order_of_the_file() -> None:
    seaweedfs = load_product(PRODUCTS / "seaweedfs")
    assert [variant.name for variant in seaweedfs.variants()] == ["standard", "fips"]
    assert [variant.name for variant in seaweedfs.variants(("large_disk", "standard"))] == ["standard", "large_disk"]
    with pytest.raises(UsageError, match="did you mean large_disk"):
        seaweedfs.variants(("large-disk",))


# What is replaced in the good file, by what, and what the error has to say.
WRONG = [
    ('name = "thing"', 'name = "Thing"', "line 2: name: 'Thing' does not match"),
    ('name = "thing"\n', "", "name: required, but missing"),
    ('title = "A thing"', "title = 5", "line 3: title: input should be a valid string, and this is 5"),
    ('title = "A thing"', 'title = "A\\u0007"', "line 3: title: 'A\\x07' is not one line of printable text"),
    ("summary =", "sumary =", "line 4: sumary: unknown key; did you mean `summary`? Allowed: name, title,"),
    ('https://example.org/thing"', 'gopher://x"', "line 5: homepage: 'gopher://x' does not match"),
    ("some@example.org", "some", "line 7: maintainer:"),
    (
        "https://example.org/thing.git",
        "http://example.org/x",
        "source.git: 'http://example.org/x' is not an https or ssh",
    ),
    ("https://example.org/thing.git", "https://u:p@example.org/x", "must not carry credentials"),
    ("https://example.org/thing.git", "https://token@example.org/x", "must not carry credentials"),
    ("https://example.org/thing.git", "", "give either `git` (a URL) or `path`"),
    ('https://example.org/thing.git"', 'https://example.org/thing.git"\npath = "x"', "not both or neither"),
    ("[build]", 'tag = "v"\n[build]', "source.tag: 'v' is not a tag with {version} in it once"),
    ("[build]", 'tag = "{version}{version}"\n[build]', "source.tag:"),
    ("[build]", 'tag = "-{version}"\n[build]', "source.tag:"),
    ("[build]", 'module = "../x"\n[build]', "source.module: '../x' is not a plain relative path"),
    ("[build]", 'module = "/x"\n[build]', "source.module: '/x' is not a plain relative path"),
    ('"linux/amd64"', '"linux/arm"', "line 15: build.targets: 'linux/arm' is not a target; did you mean `linux/"),
    ('"linux/amd64"', '"linux/amd64", "linux/amd64"', "build.targets: a target is named twice"),
    ('["linux/amd64"]', "[]", "build.targets: tuple should have at least 1 item"),
    (
        "{{ version }}",
        "{{ versoin }}",
        "build.version_output: `versoin` is not a variable here; did you mean `version`?",
    ),
    ("{{ version }}", "{{ version", "build.version_output: not a template:"),
    ("{{ commit }}", "{{ comit }}", "line 17: build.ldflags[1].value: `comit` is not a variable here; did you mean"),
    ('"-s"', '"-s -w"', "build.ldflags[0].value: '-s -w' has a space or a quote in it"),
    (">=1.2.3", ">=1.x", "build.ldflags[1].versions: '1.x' is not a version"),
    (">=1.2.3", "1.2.3", "build.ldflags[1].versions: '1.2.3' is not a version comparison"),
    (
        'versions = "<',
        'version = "<',
        "build.tags[1].version: unknown key; did you mean `versions`? Allowed: value, versions",
    ),
    ("fips = true", 'fips = "yes"', "line 27: build.variants[1].fips: input should be a valid boolean"),
    ("fips = true", "fisp = true", "line 27: build.variants[1].fisp: unknown key; did you mean `fips`?"),
    ('suffix = "-fips"', 'suffix = ""', "build.variants: two variants have the suffix ''"),
    ('name = "fips"', 'name = "standard"', "build.variants: two variants have the name 'standard'"),
    ('binary = "thing"', 'binary = "a/b"', "line 14: build.binary: 'a/b' does not match"),
    (
        "[[build.variants]]",
        '[build.env]\nPATH = "x"\n[[build.variants]]',
        "build.env: 'PATH' is not a variable of the Go command",
    ),
    ("[[build.variants]]", '[build.env]\nGOOS = "x"\n[[build.variants]]', "build.env: GOOS is set by the build itself"),
    ("[source]", 'stages = ["scan", 1]\n[source]', "stages[1]: input should be a valid string"),
    (
        "[source]",
        '[version]\nscheme = "sem"\n[source]',
        "version.scheme: 'sem' is not one of the values; did you mean `semver`?",
    ),
    ("[source]", "[source", "product.toml is not TOML: "),
    (
        "[source]",
        '[scan]\ndatabase = "feeds"\n[source]',
        "scan.database: 'feeds' is not one of the values; did you mean `feed`?",
    ),
]


@pytest.mark.parametrize(("good", "bad", "said"), WRONG)
def test_a_mistake_is_pointed_at(good: str, bad: str, said: str) -> None:
    assert good in GOOD
    with pytest.raises(ConfigError) as caught:
        product(GOOD.replace(good, bad, 1))
    assert said in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_all_mistakes_are_listed_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        product(GOOD.replace("fips = true", "fisp = true").replace("summary", "sumary"))
    assert caught.value.brief == "product.toml: 3 problems"
    assert caught.value.details.count("\n") == 2


def test_a_product_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no product 'seaweed'; did you mean seaweedfs"):
        load_product(PRODUCTS / "seaweed")
    with pytest.raises(UsageError, match=r"add a folder with product\.toml"):
        load_product(tmp_path / "none")


def test_a_product_is_named_like_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "product.toml").write_text(GOOD)
    with pytest.raises(ConfigError, match="'thing' is not the name of its folder, 'other'"):
        load_product(folder)


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / "thing"
    folder.mkdir()
    (folder / "product.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(ConfigError, match="is not UTF-8: byte 8"):
        load_product(folder)


def test_templates_cannot_reach_into_python() -> None:
    text = GOOD.replace("thing {{ version }}", "{{ version.__class__.__mro__ }}")
    thing = product(text)
    with pytest.raises(ConfigError, match=r"build\.version_output: cannot fill in"):
        thing.version_output(parse_tag("1.2.3"), thing.variant("fips"), AMD64, commit="c", epoch=0)
