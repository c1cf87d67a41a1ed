"""The compliance table: every line is shown by a test that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
TABLE = PROJECT / "packaging/products/seaweedfs/doc/compliance.md"


def lines() -> list[tuple[str, str, str]]:
    """Return requirement, place and test of every line of the tables that have these columns."""
    found: list[tuple[str, str, str]] = []
    for table in re.findall(r"^\| requirement \|.*\n\|[-|]+\n((?:\|.*\n)+)", TABLE.read_text(), re.MULTILINE):
        rows = [line.strip("|").split(" | ") for line in table.splitlines()]
        assert all(len(row) == 3 for row in rows), [row for row in rows if len(row) != 3]
        found += [(row[0].strip(), row[1].strip(), row[2].strip()) for row in rows]
    return found


@pytest.mark.parametrize(("requirement", "place", "shown"), lines())
def test_a_line_names_tests_that_exist(requirement: str, place: str, shown: str) -> None:
    assert place
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", shown)
    assert named, f"{requirement}: no test"
    for file, test in named:
        assert re.search(rf"^(async )?def {test}\(", (PROJECT / file).read_text(), re.MULTILINE), f"{file}::{test}"


def test_no_requirement_is_there_twice() -> None:
    requirements = [row[0] for row in lines()]
    assert len(requirements) == len(set(requirements))
    assert len(requirements) > 50
