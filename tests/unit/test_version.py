"""Tags: what is a version, what is refused, and what each consumer of a version is told."""

from __future__ import annotations

import itertools
import re

import pytest

from pipeline.errors import VersionError
from pipeline.model.version import MAX_LENGTH, Scheme, in_range, parse_range, parse_tag, version_of_ref

GOOD = [
    # tag, number, file, deb and rpm, semver, pre-release
    ("v3.68", "3.68", "3.68", "3.68", "3.68.0", False),
    ("3.68", "3.68", "3.68", "3.68", "3.68.0", False),
    ("v4.44.1", "4.44.1", "4.44.1", "4.44.1", "4.44.1", False),
    ("4.07", "4.07", "4.07", "4.07", "4.7.0", False),
    ("v4.07-rc.1", "4.07-rc.1", "4.07-rc.1", "4.07~rc.1", "4.7.0-rc.1", True),
    ("v1.2.3-rc.1+meta", "1.2.3-rc.1+meta", "1.2.3-rc.1_meta", "1.2.3~rc.1+meta", "1.2.3-rc.1+meta", True),
    ("1.2.3+build-7", "1.2.3+build-7", "1.2.3_build-7", "1.2.3+build.7", "1.2.3+build-7", False),
    ("1.2.3-alpha-x.7", "1.2.3-alpha-x.7", "1.2.3-alpha-x.7", "1.2.3~alpha.x.7", "1.2.3-alpha-x.7", True),
    ("0.0.0", "0.0.0", "0.0.0", "0.0.0", "0.0.0", False),
]

HOSTILE = [
    "", "v", "v1;rm -rf", "../x", "1.2.3\n", "\n1.2.3", "1.2.3\r", "1.2.3\0", "v1.2.3 ", " v1.2.3", "1.2.3/..",
    "1.2\\3", "$(id)", "`id`", "1.2.3-$(id)", "--upload-pack=x", "-1.2", "1", "1.", ".1", "1..2", "1.2.3.4", "vv1.2",
    "V1.2", "1.2.x", "1.2-", "1.2+", "1.2-a..b", "1.2-rc_1", "1.2~rc1", "1.2-01", "1.2:3", "1.2%00", "{{ 7*7 }}",
    "٣.٦٨", "１.２.３", "1.2.3é", "1.2\u202e3", "1.2\u200b3", "1" * 200 + ".2", "1.2-" + "a" * MAX_LENGTH,
    "1234567890.1",
]  # fmt: skip


@pytest.mark.parametrize(("tag", "number", "file", "package", "order", "pre"), GOOD)
def test_a_tag_means_something_to_each_consumer(
    tag: str, number: str, file: str, package: str, order: str, pre: bool
) -> None:
    version = parse_tag(tag)
    assert (version.tag, version.number, str(version)) == (tag, number, number)
    assert version.file == file
    assert version.deb == package
    assert version.rpm == package
    assert version.rpm_release == "1"
    assert str(version.semver) == order
    assert version.is_prerelease is pre
    assert version.prefixed is tag.startswith("v")


@pytest.mark.parametrize("tag", HOSTILE)
@pytest.mark.parametrize("scheme", Scheme)
def test_anything_else_is_refused_in_words_that_are_safe_to_print(tag: str, scheme: Scheme) -> None:
    with pytest.raises(VersionError) as caught:
        parse_tag(tag, scheme)
    text = str(caught.value)
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    assert len(text) < 400
    assert caught.value.exit_code == 3
    assert caught.value.resolution


def test_a_refusal_names_the_character_and_its_place() -> None:
    with pytest.raises(VersionError, match=r"';' \(character 3\) cannot be part of a version"):
        parse_tag("v1;rm -rf")


@pytest.mark.parametrize("tag", ["3.68", "v4.07", "1.02.3", "1.2.03", "01.2.3"])
def test_semantic_versioning_wants_three_unpadded_numbers(tag: str) -> None:
    with pytest.raises(VersionError, match=r"padded with a zero|two numbers where three are needed"):
        parse_tag(tag, Scheme.SEMVER)
    assert parse_tag(tag, Scheme.DOTTED).number == tag.removeprefix("v")


def test_versions_are_ordered_by_number_and_never_by_text() -> None:
    ordered = [
        "3.9",
        "3.68-rc.1",
        "3.68-rc.2",
        "3.68-rc.10",
        "3.68",
        "3.68.1",
        "3.99",
        "4.00",
        "4.07",
        "4.12",
        "4.99",
        "5.00",
    ]
    versions = [parse_tag(tag).semver for tag in ordered]
    assert all(one < other for one, other in itertools.pairwise(versions))


def test_package_versions_keep_to_what_the_formats_allow() -> None:
    for tag, *_ in GOOD:
        version = parse_tag(tag)
        # Debian Policy 5.6.12: no hyphen without a revision, a digit first. RPM: no hyphen at all.
        assert re.fullmatch(r"[0-9][A-Za-z0-9.+~]*", version.deb)
        assert re.fullmatch(r"[0-9A-Za-z._+~]+", version.rpm)
        assert re.fullmatch(r"[0-9A-Za-z._-]+", version.file)


@pytest.mark.parametrize(
    ("style", "ref"), [("v{version}", "v4.07"), ("{version}", "4.07"), ("release/{version}", "release/4.07")]
)
def test_the_product_says_how_a_version_becomes_a_git_tag_and_back(style: str, ref: str) -> None:
    for tag in ("4.07", "v4.07"):
        assert parse_tag(tag).git_ref(style) == ref
    found = version_of_ref(ref, style, Scheme.DOTTED)
    assert found is not None
    assert found.number == "4.07"


@pytest.mark.parametrize("ref", ["dev", "helm-3.65.1", "v3.33", "0.72.release", "v0.70beta", "", "v"])
def test_tags_of_another_kind_are_no_versions(ref: str) -> None:
    assert version_of_ref(ref, "{version}", Scheme.DOTTED) is None


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("", ["0.1", "9.99"], []),
        (">=3.90", ["3.90", "3.90-rc.1", "4.07", "3.90.1"], ["3.89", "3.9", "3.89.9"]),
        ("<3.90", ["3.89", "3.09", "3.89-rc.1"], ["3.90", "3.90-rc.1", "4.00"]),
        (">=3.19, <3.90", ["3.19", "3.68", "3.89"], ["3.18", "3.90"]),
        ("==3.50", ["3.50", "v3.50", "3.50+meta"], ["3.5", "3.51"]),
        ("!=3.50", ["3.51"], ["3.50"]),
        (">4.07,<=4.12", ["4.08", "4.12"], ["4.07", "4.13"]),
        (">=3.90-rc.2", ["3.90-rc.2", "3.90", "3.90-rc.10"], ["3.90-rc.1", "3.89"]),
    ],
)
def test_ranges(text: str, inside: list[str], outside: list[str]) -> None:
    assert [tag for tag in inside if not in_range(parse_tag(tag), text, Scheme.DOTTED)] == []
    assert [tag for tag in outside if in_range(parse_tag(tag), text, Scheme.DOTTED)] == []


@pytest.mark.parametrize("text", ["3.90", "~3.90", ">=3.x", ">=3.90,", ">= ", "=>3.90", ">=3.90 <4"])
def test_a_range_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(VersionError):
        parse_range(text, Scheme.DOTTED)
