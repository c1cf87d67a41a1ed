"""Sources as values: what is stamped, which Go is needed, and addresses without their secrets."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from pipeline.errors import SourceError
from pipeline.model.source import Source, check_go, go_directive, go_floor, go_module, go_order, go_toolchain
from pipeline.source.location import is_url, local, parse_url

TREE = "git-tree:" + "ab" * 20
COMMIT = "c0ffee" + "0" * 34


def test_what_is_stamped_says_when_it_is_not_the_commit() -> None:
    assert Source(identity=TREE, revision=COMMIT).commit == COMMIT
    assert Source(identity=TREE, revision=COMMIT, dirty=True).commit == f"{COMMIT}-dirty"
    assert Source(identity=TREE).commit == "tree-abababababab"


def test_two_ways_to_the_same_files_are_the_same_tree() -> None:
    assert Source(identity=TREE, revision=COMMIT).tree == Source(identity=TREE, snapshot=True).tree


@pytest.mark.parametrize(
    ("text", "directive"),
    [
        ("module a\n\ngo 1.22.0\n\ntoolchain go1.23.1\n", "1.22.0"),
        ("module a\ngo 1.26\n", "1.26"),
        ("module a\r\ngo 1.24\r\n", "1.24"),
        ("module a\ngo\t1.26rc1 // soon\n", "1.26rc1"),
        ("module a\n// go 1.2\nrequire go.uber.org/zap v1.0.0\n", "1.16"),
        ("module a\n", "1.16"),
    ],
)
def test_the_go_line_of_a_go_mod(text: str, directive: str) -> None:
    assert go_directive(text) == directive
    assert go_module(text) == "a"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("module a\n\ngo 1.24\n\ntoolchain go1.24.1\n", "1.24.1"),
        ("module a\ngo 1.24\r\ntoolchain go1.26rc1\r\n", "1.26rc1"),
        ("module a\ntoolchain go1.23.4-custom // ours\n", "1.23.4"),
        ("module a\ngo 1.24\ntoolchain default\n", ""),
        ("module a\n// toolchain go1.24.1\n", ""),
    ],
)
def test_the_toolchain_line_of_a_go_mod(text: str, version: str) -> None:
    assert go_toolchain(text) == version


def test_go_versions_are_ordered_as_the_go_command_orders_them() -> None:
    ordered = [
        "1.16",
        "1.20rc1",
        "1.20",
        "1.20.3",
        "1.21",
        "1.21beta1",
        "1.21rc2",
        "1.21rc10",
        "1.21.0",
        "1.22.0",
        "1.24",
    ]
    keys = [go_order(version) for version in [*ordered, "go1.24.9", "1.26"]]
    assert all(one < other for one, other in itertools.pairwise(keys))
    for text in ("", "latest", "1.x", "go", "1.24-foo"):
        with pytest.raises(SourceError):
            go_order(text)


@pytest.mark.parametrize(
    ("directive", "native", "floor"),
    [("1.22.0", False, "1.22.0"), ("1.22.0", True, "1.24"), ("1.26", True, "1.26"), ("1.24", True, "1.24")],
)
def test_the_lowest_go_that_will_do(directive: str, native: bool, floor: str) -> None:
    assert go_floor(directive, native_fips=native) == floor


def test_a_toolchain_that_is_too_old_is_refused_with_the_reason() -> None:
    check_go("go1.26.8", "1.26", native_fips=True)
    check_go("1.22.0", "1.22.0")
    with pytest.raises(
        SourceError, match=r"go\.mod needs Go 1\.26 or newer, and the toolchain of this release is Go 1\.25\.1"
    ):
        check_go("1.25.1", "1.26")
    with pytest.raises(
        SourceError, match=r"Go's own FIPS module needs Go 1\.24 or newer, .* by Go 1\.22\.12"
    ) as caught:
        check_go("1.22.12", "1.22.0", native_fips=True)
    assert "--fips-module boringcrypto" in caught.value.resolution


@pytest.mark.parametrize(
    ("text", "url", "user", "password"),
    [
        ("https://example.org/a/b.git", "https://example.org/a/b.git", "", ""),
        ("https://t0ken@example.org/a", "https://example.org/a", "t0ken", ""),
        ("https://me:p%40ss@example.org:8443/a", "https://example.org:8443/a", "me", "p@ss"),
        ("http://u:p@[::1]:80/a", "http://[::1]:80/a", "u", "p"),
        ("ssh://git@example.org:22/a", "ssh://git@example.org:22/a", "", ""),
        ("git@example.org:a/b.git", "git@example.org:a/b.git", "", ""),
        ("git://example.org/a", "git://example.org/a", "", ""),
    ],
)
def test_credentials_are_taken_out_of_an_address(text: str, url: str, user: str, password: str) -> None:
    assert is_url(text)
    location = parse_url(text)
    assert (location.fetch_url, location.user, location.password) == (url, user, password)
    assert repr(location) == f"Location(fetch_url={url!r}, local=False)"


@pytest.mark.parametrize(
    "text",
    [
        "ext://x", "ftp://example.org/a", "https:///a", "https://-x/a", "https://example.org/a?t=hunter2",
        "https://me:hunter2@example.org:port/a", "ssh://git:hunter2@example.org/a", "https://a\nb/c",
    ],
)  # fmt: skip
def test_other_addresses_are_refused_without_repeating_secrets(text: str) -> None:
    assert is_url(text)
    with pytest.raises(SourceError) as caught:
        parse_url(text)
    assert "hunter2" not in str(caught.value)


def test_a_message_is_cleaned_of_credentials() -> None:
    location = parse_url("https://someuser:p%40ss%2Fword@example.org/a")
    said = "fatal: https://someuser:p%40ss%2Fword@example.org/a: p@ss/word was refused; also http://x:y@other/"
    assert location.redact(said) == "fatal: https://***@example.org/a: *** was refused; also http://***@other/"


def test_a_local_repository_keeps_odd_names(tmp_path: Path) -> None:
    location = local(tmp_path / "a b%20#ü")
    assert location.local
    assert location.shown == str(tmp_path / "a b%20#ü")
    assert " " not in location.fetch_url
    assert parse_url(location.fetch_url) == location
