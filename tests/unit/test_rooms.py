"""The rooms of the house: which of them may import which. An arrow runs downwards, or the code is in the wrong room."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2] / "pipeline"
FLOORS: tuple[tuple[str, ...], ...] = (
    ("cli", "dagger_module"),
    ("run",),
    ("release",),
    ("stages", "images"),
    ("source", "roots"),
    ("config", "signing"),
    ("engine", "oci", "publish"),
    ("host",),
    ("model",),
    ("programs",),
)
"""From the top down. A room imports rooms below it; those of one floor do not import each other."""

LOOSE = {"__init__.py", "__main__.py", "errors.py"}
"""What lies outside of a room: every room may import the errors."""

TWICE = {
    *(
        "build",
        "checkout",
        "deb",
        "exposure",
        "index",
        "package",
        "package_sbom",
        "rpm",
        "sbom",
        "sign",
        "verify",
    ),  # stage, program
    *("bundle", "images", "keys", "toolchains", "version"),  # a verb, and what it is about
    *("engine", "step"),  # what there is of each engine
    "table",  # of what is in that room
}
"""Names of files that stand in several rooms, because the files belong together."""


def files() -> Iterator[tuple[str, Path]]:
    """Yield (room, file) of every module in a room."""
    for path in sorted(HOUSE.rglob("*.py")):
        parts = path.relative_to(HOUSE).parts
        if len(parts) > 1:
            yield parts[0], path


def imports(path: Path) -> Iterator[str]:
    """Yield the modules of the house that a module imports while it runs, those inside functions included."""
    tree = ast.parse(path.read_text("utf-8"))
    only_types = {
        node
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and ast.unparse(test.test) == "TYPE_CHECKING"
        for statement in test.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if node in only_types:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pipeline":
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if is_module(full) else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("pipeline."))


def is_module(name: str) -> bool:
    path = HOUSE.parent / Path(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_every_room_has_its_floor_and_nothing_lies_about() -> None:
    assert {path.name for path in HOUSE.glob("*.py")} == LOOSE
    rooms = {room for room, _ in files()}
    assert rooms <= {room for floor in FLOORS for room in floor}


def test_every_import_runs_downwards() -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    wrong = [
        f"{path.relative_to(HOUSE)} imports {module}"
        for room, path in files()
        for module in imports(path)
        if (target := room_of(module)) not in ("", "errors", room) and floor[target] <= floor[room]
    ]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    arrows: dict[str, set[str]] = defaultdict(set)
    for _, path in files():
        name = ".".join(path.relative_to(HOUSE.parent).with_suffix("").parts).removesuffix(".__init__")
        arrows[name] |= set(imports(path)) - {name}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        if module in way:
            pytest.fail(" -> ".join((*way[way.index(module) :], module)))
        if module not in done:
            for target in sorted(arrows.get(module, ())):
                visit(target, (*way, module))
            done.add(module)

    for module in sorted(arrows):
        visit(module, ())


def test_a_file_name_stands_once_in_a_room_and_twice_in_the_house_only_for_what_belongs_together() -> None:
    where: dict[str, list[str]] = defaultdict(list)
    for _, path in files():
        if path.name not in ("__init__.py", "common.py"):
            where[path.stem].append(str(path.parent.relative_to(HOUSE)))
    assert {name: rooms for name, rooms in where.items() if len(rooms) != len(set(rooms))} == {}
    assert {name: rooms for name, rooms in where.items() if len(rooms) > 1 and name not in TWICE} == {}
