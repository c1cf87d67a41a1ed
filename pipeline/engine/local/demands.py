"""What a step needs of this machine before it can run: its platform, its root, its secrets."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

from pipeline.engine.base import Secret
from pipeline.errors import EngineError, ImageError
from pipeline.model.step import Step

_MACHINES = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}


def check_platform(step: Step) -> None:
    """Raise EngineError unless this machine runs the step's platform itself."""
    machine = platform.machine()
    here = _MACHINES.get(machine, f"linux/{machine}")
    if step.platform != here:
        raise EngineError(
            f'step "{step.title}" runs on {step.platform}, and this machine is {here}',
            resolution="cross-compile in a step for this machine, or use the Dagger engine",
        )


def find_root(step: Step, roots: Mapping[str, Path]) -> Path:
    """Return the root file system of a step. Raises ImageError when this machine does not have it."""
    base = step.image.base
    root = roots.get(base.content) if base.known else None
    if root is None or not root.is_dir():
        raise ImageError(
            f'image {base.name}, in which step "{step.title}" runs, is not on this machine',
            details=f"content: {base.content or 'not known yet'}",
            resolution=f"run `pipeline images build {base.name}`",
        )
    return root.absolute()


def granted(step: Step, secrets: Mapping[str, Secret]) -> dict[str, Secret]:
    """Return the secrets that `step` names. Raises EngineError for one that was not given."""
    missing = [name for name in step.secrets if name not in secrets]
    if missing:
        raise EngineError(
            f'step "{step.title}" needs a secret that was not given: {", ".join(missing)}',
            resolution="give it: a signing key is --signing-key FILE or $PIPELINE_SIGNING_KEY",
        )
    return {name: secrets[name] for name in step.secrets}
