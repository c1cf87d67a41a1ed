"""The command line: help that answers, errors that say what to do, exit codes that mean something."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from pipeline import errors
from pipeline.cli.parser import EPILOG, build_parser, main, run


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    actions = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not actions:
        yield parser
    for action in actions:
        for child in action.choices.values():
            yield from leaves(child)


LEAVES = {parser.prog: parser for parser in leaves(build_parser())}


@pytest.mark.parametrize("name", LEAVES)
def test_every_verb_has_a_handler_that_exists(name: str) -> None:
    module, function = LEAVES[name].get_default("handler").split(":")
    assert callable(getattr(import_module(f"pipeline.cli.verbs.{module}"), function))


@pytest.mark.parametrize("name", LEAVES)
def test_every_option_has_a_help_text(name: str) -> None:
    bare = [a.option_strings or a.dest for a in LEAVES[name]._actions if not a.help and not a.required]
    assert bare == []


def raised() -> Iterator[tuple[str, type[errors.PipelineError], ast.Call]]:
    """Every place in the code that makes an error for people: where it is, its kind, the call."""
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    root = Path(errors.__file__).parent
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            kind = kinds.get(node.func.id) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
            if kind and isinstance(node, ast.Call) and issubclass(kind, errors.PipelineError):
                yield f"{path.relative_to(root)}:{node.lineno}", kind, node


def test_every_error_says_what_to_do() -> None:
    found = list(raised())
    assert len(found) > 150
    assert not [
        where
        for where, kind, call in found
        if not kind.usual and "resolution" not in {keyword.arg for keyword in call.keywords}
    ]


def test_the_epilog_lists_every_exit_code_once() -> None:
    kinds = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    codes = [kind.exit_code for kind in kinds if issubclass(kind, errors.PipelineError)]
    assert len(set(codes)) == len(codes)
    listed = [int(part.split()[0]) for part in EPILOG.removeprefix("exit codes: ").replace("\n", " ").split("; ")]
    assert listed == [0, *sorted(codes)]


def test_a_hostile_tag_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    monkeypatch.setattr("anyio.open_process", lambda *_, **__: pytest.fail("a process was started"))
    for tag in ("v1;rm -rf /", "../x", "v1.2\n3", ""):
        argv = ["pipeline", "release", "--product", "example", f"--tag={tag}", "--home", str(tmp_path)]
        monkeypatch.setattr("sys.argv", argv)
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr().err
        assert stopped.value.code in {errors.VersionError.exit_code, errors.UsageError.exit_code}
        assert "What to do" in said
        assert "Traceback" not in said


def test_a_product_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(errors.UsageError, match="exampel") as caught:
        run(["version", "show", "--product", "exampel", "--tag", "v1.0.0"])
    assert "example" in str(caught.value)
