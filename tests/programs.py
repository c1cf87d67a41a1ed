"""Running a program of `pipeline/programs` as a step does: with the files that a step would have, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.programs import closure
from pipeline.programs.document import Dataclass, plain


def run_program(
    name: str, params: Dataclass | Mapping[str, Any], folder: Path, *, python: str = sys.executable, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the program `name`, such as `sbom.sbom`, in `folder` with `params`; `variables` are its environment."""
    with tempfile.TemporaryDirectory(prefix="program-") as place:
        for path, content in closure.needed(name).items():
            (Path(place) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(place) / path).write_bytes(content)
        (Path(place) / "params.json").write_text(json.dumps(plain(params)))
        argv = [part.replace(closure.FOLDER, place) for part in (python, *closure.argv(name)[1:])]
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": place, **variables}
        return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)
