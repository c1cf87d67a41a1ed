"""What all programs that run inside steps have in common."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.programs import common, start

INSIDE = Path(common.__file__).parent
PROGRAMS = sorted(path for path in INSIDE.rglob("*.py") if path.name not in ("__init__.py", "closure.py"))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_program_is_python_3_9_and_standard_library_only(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 9))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    allowed = set(sys.stdlib_module_names) | {"pipeline"}
    assert names <= allowed


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_program_says_what_it_takes_and_leaves(path: Path) -> None:
    text = path.read_text("utf-8")
    documented = ast.get_docstring(ast.parse(text))
    assert documented is not None
    part = path.stem == "common" or "not a program" in documented.lower()
    assert part or "class Parameters:" in text or re.search("param", documented, re.IGNORECASE)


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(common.Problem, match="lack 'binary'"):
        common.Params()["binary"]


def test_json_is_the_same_whatever_the_order_of_keys(tmp_path: Path) -> None:
    common.write_json(tmp_path / "a" / "one", {"b": 1, "a": "é"})
    assert (tmp_path / "a" / "one").read_bytes() == '{\n  "a": "é",\n  "b": 1\n}\n'.encode()
    assert (tmp_path / "a" / "one").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("content", "message"), [(b"[1]", "holds a JSON list"), (b"{", "is not JSON"), (None, "missing")]
)
def test_unreadable_json_is_a_problem_that_names_the_file(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(common.Problem, match=rf"x\.json.*{message}"):
        common.read_object(tmp_path / "x.json")


def test_digests(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert common.sha256_of(tmp_path / "empty").startswith("e3b0c44298fc1c149afb")
    assert common.digests(tmp_path / "empty")["sha512"].startswith("cf83e1357eefb8bdf154")


def test_time_comes_from_source_date_epoch_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1717992646")
    assert common.timestamp(common.source_date_epoch()) == "2024-06-10T04:10:46Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "today")
    with pytest.raises(common.Problem, match="today"):
        common.source_date_epoch()


def _main(params: common.Params) -> None:
    if params["how"] == "problem":
        raise common.Problem("first", "second")
    if params["how"] == "system":
        Path(params["path"]).read_bytes()


@pytest.mark.parametrize(
    ("params", "code", "errors"),
    [
        ('{"how": "well"}', 0, ""),
        ('{"how": "problem"}', 1, "error: first\nerror: second\n"),
        ('{"how": "system", "path": "/nowhere/x"}', 1, "error: /nowhere/x: No such file or directory\n"),
        ("{}", 1, "error: the parameters of this program lack 'how'\n"),
    ],
)
def test_errors_for_people_and_exit_codes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    params: str,
    code: int,
    errors: str,
) -> None:
    (tmp_path / "params.json").write_text(params)
    monkeypatch.setattr("sys.argv", ["program.py", str(tmp_path / "params.json")])
    with pytest.raises(SystemExit) as exit_:
        common.run_program(_main)
    assert exit_.value.code == code
    assert capsys.readouterr().err == errors


@dataclass(frozen=True)
class Parameters:
    name: str
    out: Path = Path("/out")


@pytest.mark.parametrize(
    ("params", "code", "out", "errors"),
    [
        ('{"name": "a"}', 0, "a /out\n", ""),
        ('{"name": "a", "out": "/b"}', 0, "a /b\n", ""),
        ("{}", 1, "", "error: the parameters of this program: lacks the field 'name', which must be a string\n"),
        ('{"name": 1}', 1, "", "error: the parameters of this program: name must be a string, got 1\n"),
    ],
)
def test_a_program_gets_its_parameters_checked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    params: str,
    code: int,
    out: str,
    errors: str,
) -> None:
    (tmp_path / "params.json").write_text(params)
    monkeypatch.setattr("sys.argv", ["program.py", str(tmp_path / "params.json")])

    def main(given: Parameters) -> None:
        sys.stdout.write(f"{given.name} {given.out}\n")

    with pytest.raises(SystemExit) as exit_:
        start.run_program(main, Parameters)
    assert exit_.value.code == code
    assert capsys.readouterr() == (out, errors)
