"""The table of stages. To add one, write `pipeline/stages/<name>.py` and add its name here (docs/extending.md)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module

from pipeline.config.product import Product
from pipeline.errors import ConfigError
from pipeline.stages.stage import Stage

ORDER = (
    "build",
    "sbom",
    "archive",
    "scan",
    "exposure",
    "deb",
    "rpm",
    "package_sbom",
)
"""Each stage sees what those above it have made. When its steps run follows from their inputs alone."""

STAGES: Mapping[str, Stage] = {name: import_module(f"pipeline.stages.{name}").STAGE for name in ORDER}


def stages_of(product: Product) -> Mapping[str, Stage]:
    """Return the stages of `product` by name, in order.

    Raises ConfigError when its `stages` names one that does not exist, or lacks one that another needs.
    """
    chosen = [name for name, stage in STAGES.items() if stage.chosen]
    for number, name in enumerate(product.stages):
        where = f"product.toml of {product.name}: stages[{number}]"
        if name not in chosen:
            near = difflib.get_close_matches(name, chosen, n=1)
            raise ConfigError(
                f"{where}: there is no stage {name!r} to choose" + (f"; did you mean `{near[0]}`?" if near else ""),
                details=f"Allowed: {', '.join(chosen)}",
                resolution="correct the name, or add the stage (docs/extending.md)",
            )
        for needed in STAGES[name].needs:
            if needed not in product.stages:
                raise ConfigError(f"{where}: {name!r} needs {needed!r}", resolution=f"add {needed!r} to `stages`")
    return {name: stage for name, stage in STAGES.items() if not stage.chosen or name in product.stages}
