"""A program as one file: everything that it needs is in it, each name once."""

from __future__ import annotations

import ast
import builtins
import dis
import sys
import types
from pathlib import Path

import pytest

from pipeline.programs import closure

VERIFY = "verify.verify"


def test_it_imports_nothing_but_the_standard_library() -> None:
    tree = ast.parse(closure.alone(VERIFY), feature_version=(3, 9))
    found = {each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names}
    found |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in found} <= set(sys.stdlib_module_names)


def test_every_name_that_it_uses_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    code = compile(closure.alone(VERIFY), "verify.py", "exec")
    module = types.ModuleType("verify_alone")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # a dataclass looks its module up
    scope = module.__dict__
    exec(code, scope)
    waiting, used = [code], set()
    while waiting:
        one = waiting.pop()
        used |= {str(each.argval) for each in dis.get_instructions(one) if each.opname == "LOAD_GLOBAL"}
        waiting += [each for each in one.co_consts if isinstance(each, types.CodeType)]
    assert {"Keyring", "statuses", "check_sums", "print"} <= used
    assert used <= {*scope, *dir(builtins)}


def test_two_modules_that_define_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("one", "from pipeline.programs.two import b\n\na = 1\n"), ("two", "a = 2\nb = 3\n")):
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(closure, "HERE", tmp_path)
    with pytest.raises(ValueError, match="two and one both define a"):
        closure.alone("one")
