"""Not a program: which files a program of this package needs inside a step, read from its imports."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = "pipeline.programs"
HERE = Path(__file__).parent
FOLDER = "/in/program"
"""Where a step finds the program, its package and its parameters."""


def argv(program: str) -> tuple[str, ...]:
    """Return the command line that runs `program`, such as `sbom.sbom`, inside a step."""
    return ("python3", "-B", "-s", "-m", f"{PACKAGE}.{program}", f"{FOLDER}/params.json")


ENVIRONMENT = {"PYTHONPATH": FOLDER}


@cache
def needed(program: str) -> dict[str, bytes]:
    """Return the files that `program` needs, by path below `FOLDER`: its own, and all that it imports of this package.

    The packages around them are empty there, so that no word in one of them makes a step another one.
    """
    modules = _closure(program)
    found = {f"{PACKAGE}.{name}".replace(".", "/") + ".py": _source(name) for name in modules}
    folders = {path.rsplit("/", count)[0] for path in found for count in range(1, path.count("/") + 1)}
    return found | {f"{folder}/__init__.py": b"" for folder in folders}


def alone(program: str) -> str:
    """Return `program` and all that it imports of this package as one file, which Python runs anywhere.

    Its modules follow each other in one scope. Raises ValueError for a name that two of them define.
    """
    owner: dict[str, str] = {}
    parts = [f'"""{ast.get_docstring(ast.parse(_source(program)))}\n"""', "from __future__ import annotations"]
    imports = {name: set(_imports(_source(name))) for name in _closure(program)}
    for name in TopologicalSorter(imports).static_order():
        lines = _source(name).decode().split("\n")
        for node in reversed(ast.parse(_source(name)).body):
            for defined in _defined(node):
                if owner.setdefault(defined, name) != name:
                    raise ValueError(f"{owner[defined]} and {name} both define {defined}")
            if _is_of_a_module(node) or (isinstance(node, ast.If) and name != program):
                lines[node.lineno - 1 : node.end_lineno] = []
        parts.append("\n".join(lines).strip("\n"))
    return "\n\n".join(parts) + "\n"


def _defined(node: ast.stmt) -> list[str]:
    """Return the names that a statement at the top of a module defines there."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]


def _is_of_a_module(node: ast.stmt) -> bool:
    """Return whether a statement has no place among those of another module: a docstring, an import of this package."""
    if isinstance(node, ast.ImportFrom):
        return node.module == "__future__" or (node.module or "").startswith(PACKAGE)
    # Only the first statement has a text in line 1; further ones document what they follow.
    return isinstance(node, ast.Expr) and node.lineno == 1


@cache
def folder(name: str) -> dict[str, bytes]:
    """Return the files of a folder of this package: the source of a program in another language."""
    return {each.name: each.read_bytes() for each in (HERE / name).iterdir() if each.is_file()}


def _closure(program: str) -> list[str]:
    known, waiting = {program}, [program]
    while waiting:
        for name in _imports(_source(waiting.pop())):
            if name not in known:
                known.add(name)
                waiting.append(name)
    return sorted(known)


def _imports(source: bytes) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            package = (node.module or "").removeprefix(PACKAGE).removeprefix(".")
            for alias in node.names:  # a module of a package, or something in a module
                name = f"{package}.{alias.name}".removeprefix(".")
                yield name if _path(name).is_file() else package


def _path(name: str) -> Path:
    *folders, module = name.split(".")
    return HERE.joinpath(*folders, f"{module}.py")


def _source(name: str) -> bytes:
    return _path(name).read_bytes()


if __name__ == "__main__":
    sys.stdout.write(alone(sys.argv[1]))
