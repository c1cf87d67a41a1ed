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


PLAIN = {
    r"(?<!here )\b(is|are|was|were) no (?!longer|more|other|one\b)": "is not a",
    r"\bbe had\b": "be available",
    r"\bbut for\b": "except for",
    r"\b(is|was|are|were) said\b": "name who reports it: `the notes say`, `with a warning`",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bjudg(e|es|ed|ing)\b": "check, decide; the result is a verdict",
    r"\bweak code\b|\bweakness(es)?\b": "vulnerable code, vulnerability",
    r"\bbrothers\b": "similar cases",
    r"\bbrought\b": "prebuilt, or provided",
    r"\bthis_day\b": "today",
    r"\bLaid\b": "materialized",
    r"\bsaid( =|: )|\.said\b": "output",
    r"\bat hand\b": "here, or available",
    r"\bthere already\b": "already exists",
    r"\b[Ww]hoever\b": "name the reader: `you`, `those who`",
    r"\bgo(es)? on\b": "continue",
    r"\banew\b": "again",
    r"\b(is|are|was|were) not there\b": "is missing, does not exist",
    r"\blies? (in|at|below|beside|over|elsewhere|outside)\b": "is",
    r"\b(says?|speaks?) of\b": "says about",
    r"\bwhich cannot be\b(?! \w+ed\b)": "which is impossible",
    r"\bone (a (line|core)|to a)\b": "one per",
    r"\bafter (its|their) schemas?\b": "against its schema",
    r"\bbears? (a|the|that)\b": "has",
    r"\bcomes? to be\b": "becomes, is made",
    r"\b(that|this|the) very\b": "that, the same",
    r"\b(be|is|are) to be had\b": "is available",
}
"""What reads like a translation, and what to write instead (docs/contributor.md, "Write text")."""

READ = ("*.md", "*.toml", "*.yml", "*.j2", "packaging/products", "pipelinew", "pipeline/*.py", "docs/*.py")
"""What people read: documents, help, errors, docstrings and comments."""
ELSEWHERE = ("packaging/tools", "packaging/schemas", "pipeline/programs/toolchain", "examples/weed/*.go")


def test_what_people_read_is_plain_english() -> None:
    names = ["git", "ls-files", "--", *READ, *(f":!{name}" for name in ELSEWHERE)]
    listed = subprocess.run(names, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    found = [
        f"{name}:{number}: {match[0]!r}, write: {instead}"
        for name in listed
        for number, line in enumerate((PROJECT / name).read_text("utf-8").splitlines(), 1)
        for phrase, instead in PLAIN.items()
        if (match := re.search(phrase, line))
    ]
    assert len(listed) > 300
    assert found == [], "\n".join(found)
