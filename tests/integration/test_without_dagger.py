"""The embedded engine needs nothing of dagger-io: it may not even be installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
BLOCKED = "import sys; sys.modules['dagger'] = None\n"
NEEDS_IT = (
    *("pipeline.dagger_module.pipeline", "pipeline.dagger_module.words", "pipeline.run.dagger"),
    *("pipeline.run.dagger_images", "pipeline.engine.dagger.engine", "pipeline.engine.dagger.step"),
)


def without_dagger(code: str) -> str:
    argv = [sys.executable, "-c", BLOCKED + code]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_but_those_about_dagger_can_be_imported() -> None:
    code = f"""
import importlib, pkgutil, pipeline
names = [m.name for m in pkgutil.walk_packages(pipeline.__path__, "pipeline.")]
for name in names:
    if name not in {NEEDS_IT!r}:
        importlib.import_module(name)
print(len(names))
"""
    assert int(without_dagger(code)) > 80


def test_the_command_line_works() -> None:
    code = """
from pipeline.cli.parser import run
sys.exit(run(["plan", "--product", "example", "--tag", "v1.2.3", "--source", "examples/weed"]))
"""
    assert "build linux-amd64 standard" in without_dagger(code)
