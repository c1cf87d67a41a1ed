"""What the documentation says is what is there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]


def test_the_reference_is_the_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    generator = runpy.run_path(str(PROJECT / "docs" / "generate_reference.py"))
    assert (PROJECT / "docs" / "reference.md").read_text() == generator["reference"]()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_shown_exists(page: Path) -> None:
    from pipeline.cli.parser import build_parser

    verbs = set(build_parser()._subparsers._group_actions[0].choices)  # type: ignore[union-attr,arg-type]
    shown = re.findall(r"^(?:\./)?pipelinew? +([a-z][a-z-]*)", page.read_text(), re.MULTILINE)
    shown += re.findall(r"`(?:\./)?pipelinew? ([a-z][a-z-]*)", page.read_text())
    assert set(shown) - verbs - {"test"} == set()
