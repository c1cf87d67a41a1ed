"""Steps that run one of the programs of `pipeline/programs`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from pipeline.model.image import Image
from pipeline.model.step import Cache, Effect, ExitCode, Step
from pipeline.model.tree import BASE_EPOCH, Files, Tree


@cache
def _source(name: str) -> bytes:
    return files("pipeline.programs").joinpath(f"{name}.py").read_bytes()


@cache
def sources(name: str) -> Files:
    """Return the folder `pipeline/programs/<name>`: the source of a program in another language."""
    folder = files("pipeline.programs").joinpath(name)
    return Files.of({each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()})


def inside(
    program: str,
    params: Mapping[str, Any],
    *,
    title: str,
    image: Image,
    inputs: Mapping[str, Tree],
    outputs: tuple[str, ...] = (),
    epoch: int = BASE_EPOCH,
    env: Mapping[str, str] | None = None,
    secrets: tuple[str, ...] = (),
    effect: Effect = Effect.PURE,
    exit_code: ExitCode = ExitCode.MUST_BE_ZERO,
    uses: tuple[str, ...] = (),
    caches: tuple[Cache, ...] = (),
) -> Step:
    """Return the step that runs `pipeline/programs/<program>.py` with `params` as its JSON parameters.

    The program's own source is an input, so a change to it reruns exactly the steps that use it. `uses` names other
    programs of `pipeline/programs` that it imports.
    """
    text = json.dumps(params, sort_keys=True, indent=1, ensure_ascii=True) + "\n"
    sources = {f"{name}.py": _source(name) for name in (program, "common", *uses)}
    own = Files.of({**sources, "params.json": text})
    return Step(
        title=title,
        image=image,
        argv=("python3", "-B", "-s", f"/in/program/{program}.py", "/in/program/params.json"),
        inputs=tuple(sorted({**inputs, "program": own}.items())),
        env=tuple(sorted((env or {}).items())),
        secrets=secrets,
        effect=effect,
        exit_code=exit_code,
        epoch=epoch,
        outputs=outputs,
        caches=caches,
    )
