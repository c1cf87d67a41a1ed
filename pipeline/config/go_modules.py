"""The sources of the Go modules that tools are built from, as trees."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.model.tree import File, Files

_REPLACED = re.compile(r"=>\s*\.\./([A-Za-z0-9._-]+)\s*(?://.*)?$", re.MULTILINE)
_WANTED = {".go", ".mod", ".sum", ".json", ".txt"}


def module_sources(tools: Path, name: str) -> Files:
    """Return the module `tools/<name>` below its own name, with its siblings that a `replace` line points at.

    Tests (`_test.go`, `testdata`) are left out: a change to one cannot change a program.
    Raises ConfigError for a module without go.mod or go.sum.
    """
    entries: dict[str, File] = {}
    pending, seen = [name], set()
    while pending:
        module = pending.pop()
        if module in seen:
            continue
        seen.add(module)
        folder = tools / module
        if not (folder / "go.mod").is_file():
            raise ConfigError(
                f"{folder} is not a Go module: it has no go.mod",
                resolution="name a folder of packaging/tools in `module`, or add the module",
            )
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if path.is_file() and _is_source(inside):
                entries[f"{module}/{inside.as_posix()}"] = File(path.read_bytes())
        pending += _REPLACED.findall((folder / "go.mod").read_text(encoding="utf-8"))
    if f"{name}/go.sum" not in entries:
        raise ConfigError(
            f"{tools / name} has no go.sum, so nothing pins what would be built",
            resolution=f"run `go mod tidy` in {tools / name}",
        )
    return Files.of(entries)


def _is_source(path: Path) -> bool:
    hidden = any(part.startswith((".", "_")) or part in ("testdata", "vendor") for part in path.parts)
    return path.suffix in _WANTED and not hidden and not path.name.endswith("_test.go")
