"""What the go command remembers beside a compiler's cache does not make one version of a source pass for another."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pipeline.model.target import TARGETS
from pipeline.model.tree import BASE_EPOCH
from pipeline.stages.build import settings
from tests.conftest import require_tool
from tests.unit.test_release_graph import context


def test_files_of_one_size_and_time_are_told_apart(tmp_path: Path) -> None:
    values = context()
    how = settings(values, TARGETS["linux/amd64"], values.product.variant("standard"), None)
    own = {name: str(tmp_path / name.lower()) for name in ("GOCACHE", "GOMODCACHE", "GOPATH", "HOME")}
    env = {**dict(how.env), **own, "GOFLAGS": "-mod=mod", "PATH": os.environ["PATH"]}
    source = tmp_path / "source"
    source.mkdir()
    (source / "go.mod").write_text("module example.org/weed\n\ngo 1.20\n")

    def imports(package: str) -> str:
        """Return what the go command takes the imports to be after the only file was written with the usual time."""
        (source / "main.go").write_text(f'package main\n\nimport _ "{package}"\n\nfunc main() {{}}\n')
        for path in (source, *source.iterdir()):
            os.utime(path, (BASE_EPOCH, BASE_EPOCH))
        argv = [require_tool("go"), "list", "-f", "{{.Imports}}", "."]
        done = subprocess.run(argv, cwd=source, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert [imports("fmt"), imports("net"), imports("log")] == ["[fmt]", "[net]", "[log]"]
