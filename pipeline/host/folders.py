"""Where this project and its per-machine folders are."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.errors import ConfigError


def packaging_folder() -> Path:
    """Return the folder `packaging`: below $PIPELINE_PROJECT, or beside this package.

    Raises ConfigError if it does not exist.
    """
    root = Path(os.environ.get("PIPELINE_PROJECT") or Path(__file__).resolve().parents[2])
    folder = root / "packaging"
    if not (folder / "images.toml").is_file():
        raise ConfigError(
            f"{folder} is not a packaging folder: it has no images.toml",
            resolution="run from a checkout of this project, or set PIPELINE_PROJECT to one",
        )
    return folder


def home_folder(chosen: str | None) -> Path:
    """Return the folder for store, images, logs and keys: `chosen`, $PIPELINE_HOME, or the user's cache folder."""
    if chosen or os.environ.get("PIPELINE_HOME"):
        return Path(chosen or os.environ["PIPELINE_HOME"]).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "pipeline"
