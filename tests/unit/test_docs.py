"""What the documentation says is what is there."""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
README = PROJECT / "README.md"
GUIDES = sorted((PROJECT / "packaging/products/seaweedfs/doc").glob("*.md"))
PAGES = [README, PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md")), *GUIDES]
READERS = ("release-engineer", "operator", "auditor", "contributor")
LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Yield (file, anchor) of each link in `page` that leads to this project."""
    for target, anchor in LINK.findall(page.read_text()):
        if "://" not in target:
            yield ((page.parent / target).resolve() if target else page), anchor


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of `page`."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """Yield the text of each code block of `page` in one of `languages`."""
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        if language in languages:
            yield text


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of each command of the pipeline in the shell blocks of `page`."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            command = re.match(r"(?:[A-Z_]+=\S+ )*(?:\./pipelinew|pipeline) (.*)", line)
            if command and not command[1].startswith("test") and "…" not in command[1]:
                yield shlex.split(command[1], comments=True)


def test_the_reference_is_the_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    generator = runpy.run_path(str(PROJECT / "docs" / "generate_reference.py"))
    assert (PROJECT / "docs" / "reference.md").read_text() == generator["reference"]()


def test_the_schemas_are_those_of_the_classes() -> None:
    generator = runpy.run_path(str(PROJECT / "docs" / "generate_schemas.py"))
    for name, text in generator["texts"]().items():
        assert (generator["FOLDER"] / name).read_text() == text, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in links(page):
        assert target.exists(), target
        assert not anchor or anchor in anchors(target), f"{target}#{anchor}"


@pytest.mark.parametrize("reader", READERS)
def test_the_readme_names_the_page_of_each_reader(reader: str) -> None:
    assert PROJECT / "docs" / f"{reader}.md" in {target for target, _ in links(README)}


def test_every_page_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    pending = [README]
    while pending:
        page = pending.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            pending.extend(target for target, _ in links(page) if target.is_file())
    assert {page.name for page in set(PAGES) - reached - {PROJECT / "CONTRIBUTING.md"}} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_shown_exists(page: Path) -> None:
    from pipeline.cli.parser import build_parser

    verbs = set(build_parser()._subparsers._group_actions[0].choices)  # type: ignore[union-attr,arg-type]
    assert set(re.findall(r"`(?:\./)?pipelinew? ([a-z][a-z-]*)", page.read_text())) - verbs - {"test"} == set()
    for words in commands(page):
        build_parser().parse_args(words)


@pytest.mark.parametrize("page", [page for page in PAGES if page not in GUIDES], ids=lambda page: page.name)
def test_commands_and_their_output_fit_a_terminal(page: Path) -> None:
    wide = [line for block in blocks(page, "sh", "text") for line in block.splitlines() if len(line) > 80]
    assert wide == []
