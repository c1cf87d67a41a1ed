"""Formatting, lints and types are tests like the others."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "argv",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy",),
        ("vermin", "--target=3.6-", "--violations", "packaging/products"),
        ("vermin", "--target=3.9-", "--violations", "pipeline/programs"),  # of Oracle Linux 9, and of python39 on 8
    ],
    ids=["lint", "format", "types", "scripts run on Python 3.6", "programs of steps run on Python 3.9"],
)
def test_the_code_passes(argv: tuple[str, ...]) -> None:
    done = subprocess.run([BIN / argv[0], *argv[1:]], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


MAY_SKIP = {"tests/conftest.py", "tests/vm/packages.py"}
"""Where `lacking` is, which fails in CI, and `without`, for releases that a person gave."""


def test_nothing_is_skipped_but_through_the_helpers() -> None:
    skips = re.compile(r"pytest\.(skip|mark\.skip|importorskip)|unittest\.skip")
    own = Path(__file__)
    found = [
        path for path in sorted((PROJECT / "tests").rglob("*.py")) if path != own and skips.search(path.read_text())
    ]
    assert {str(path.relative_to(PROJECT)) for path in found} == MAY_SKIP


def test_no_file_names_this_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True)
    here = str(PROJECT) + "/"
    found = [
        name
        for name in listed.stdout.splitlines()
        if (PROJECT / name).is_file() and here in (PROJECT / name).read_text("utf-8", errors="replace")
    ]
    assert found == []
