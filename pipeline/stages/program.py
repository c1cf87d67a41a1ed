"""Steps that run one of the programs of `pipeline/programs`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.model.image import Image
from pipeline.model.step import Cache, Caching, ExitCode, Step
from pipeline.model.tree import BASE_EPOCH, Files, Tree
from pipeline.programs import closure
from pipeline.programs.document import Dataclass, plain


def inside(
    program: str,
    params: Dataclass | Mapping[str, Any],
    *,
    title: str,
    image: Image,
    inputs: Mapping[str, Tree],
    outputs: tuple[str, ...] = (),
    epoch: int = BASE_EPOCH,
    env: Mapping[str, str] | None = None,
    secrets: tuple[str, ...] = (),
    network: bool = False,
    caching: Caching = Caching.BY_DIGEST,
    exit_code: ExitCode = ExitCode.MUST_BE_ZERO,
    caches: tuple[Cache, ...] = (),
) -> Step:
    """Return the step that runs `program`, such as `scan.gate`, with `params`, its `Parameters`.

    Its own source, and that of what it imports, is an input: a change to it reruns exactly the steps that use it.
    """
    text = json.dumps(plain(params), sort_keys=True, indent=1, ensure_ascii=True) + "\n"
    own = Files.of({**closure.needed(program), "params.json": text})
    return Step(
        title=title,
        image=image,
        argv=closure.argv(program),
        inputs=tuple(sorted({**inputs, "program": own}.items())),
        env=tuple(sorted({**closure.ENVIRONMENT, **(env or {})}.items())),
        secrets=secrets,
        network=network,
        caching=caching,
        exit_code=exit_code,
        epoch=epoch,
        outputs=outputs,
        caches=caches,
    )
