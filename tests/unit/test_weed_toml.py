"""The reader of TOML that the packages bring takes what weed's files are, and refuses what would switch them off."""

from __future__ import annotations

import base64
import csv
import hashlib
import tomllib
from pathlib import Path

import pytest
from weedops import toml

from tests.unit.weed_host import PRODUCT

VENDORED = Path(toml.__file__).parent / "_vendor"
RECORD = Path(__file__).parents[1] / "data" / "tomli-1.2.3.RECORD"


def test_it_is_what_its_authors_published() -> None:
    """A wheel's RECORD has the SHA-256 of each file, in base64 for URLs without padding (PyPA, "Recording installed
    projects")."""
    found = {path.name: path.read_bytes() for path in (VENDORED / "tomli").iterdir() if path.is_file()}
    record = RECORD.read_text().splitlines()
    listed = {Path(name).name: digest for name, digest, _ in csv.reader(record) if Path(name).name in found}
    assert {"LICENSE", "__init__.py", "_parser.py"} <= set(listed)
    for name, content in found.items():
        assert listed[name] == "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip(
            "="
        )


@pytest.mark.parametrize("name", ["security", "master", "volume", "filer"])
def test_the_shipped_files_are_read(name: str) -> None:
    text = (PRODUCT / f"config/{name}.toml").read_text()
    assert toml.loads(text) == tomllib.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "a", "a =", "= 1", "a = 1 b = 2", "[a", "[a]]", "[[a]", "[]", "a = [1", "a = {b = 1", "a = {b = 1,}", 'a = "x',
        "a = 'x", 'a = """x', "a = 01", "a = 1__0", "a = 1.", "a = .5", "a = 0x", "a = True", 'a = "\\q"',
        'a = "\\ud800"', "a = 1\na = 2", "[a]\n[a]", "[a]\nb.c = 1\n[a.b]", "a = [1]\n[[a]]", "a = {}\n[a.b]",
        "[[a]]\n[a]", "a.b = 1\na.b.c = 2", "a = {b = 1}\na.c = 2", "a = 2020-13-01", 'a = "\x01"', "a = 1 # \x01",
        "\ufeffa = 1", "a b = 1", '"""a""" = 1',
    ],
)  # fmt: skip
def test_what_the_specification_does_not_have_is_refused(text: str) -> None:
    with pytest.raises(toml.TOMLDecodeError, match=r"\(at (line \d+|end of document)"):
        toml.loads(text)
