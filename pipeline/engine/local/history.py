"""What every step looked like the last time, so that people can be told why one will run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pipeline.host.disk import store_errors, write_whole
from pipeline.model.identity import identify
from pipeline.model.step import Step

Fields: TypeAlias = dict[str, Any]

_NAMED = {"inputs": "input", "env": "variable", "layers": "tool", "caches": "cache"}
_PLAIN = {
    "argv": "its command",
    "base": "its image",
    "secrets": "its secrets",
    "network": "its use of the network",
    "caching": "its caching",
    "effect": "its effect",
    "exit_code": "the meaning of its exit code",
    "platform": "its platform",
    "epoch": "its time stamp",
    "outputs": "the outputs it must make",
    "path": "its PATH",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Whether a step is cached, and if not, why it will run: `brief` in a line, `changes` one by one."""

    cached: bool
    brief: str
    changes: tuple[str, ...] = ()


def fields_of(step: Step) -> Fields:
    """Return what identifies a step, field by field.

    Digests stand for trees, and for arguments and values as well: a person may have put a secret there by mistake,
    which is refused before the step runs, and must not be found here.
    """
    return {
        "digest": step.digest,
        "argv": identify("argv/1", step.argv),
        "env": {name: identify("env/1", value) for name, value in step.env},
        "inputs": {name: tree.digest for name, tree in step.inputs},
        "base": step.image.base.digest,
        "layers": {mount: tree.digest for mount, tree in step.image.layers},
        "path": list(step.image.path),
        "caches": {cache.mount: cache.key for cache in step.caches},
        "secrets": list(step.secrets),
        "network": step.network,
        "caching": step.caching.value,
        "effect": step.effect.value,
        "exit_code": step.exit_code.value,
        "platform": step.platform,
        "epoch": step.epoch,
        "outputs": list(step.outputs),
    }


def differences(before: Fields, after: Fields) -> tuple[str, ...]:
    """Return what changed between two states of a step, in words."""
    found = []
    for key, noun in _NAMED.items():
        old, new = before.get(key, {}), after[key]
        for name in sorted({*old, *new}):
            if name not in new:
                found.append(f"{noun} {name} is gone")
            elif name not in old:
                found.append(f"{noun} {name} is new")
            elif old[name] != new[name]:
                found.append(f"{noun} {name} changed")
    found += [f"{what} changed" for key, what in _PLAIN.items() if before.get(key) != after[key]]
    return tuple(found)


class History:
    """The last plan, in one file. A file that cannot be read is an empty history: it only serves explanations."""

    def __init__(self, home: Path, aside: Path) -> None:
        self._home = home
        self._aside = aside
        self._path = home / "history.json"
        self._steps: dict[str, list[Fields]] | None = None

    def record(self, steps: Iterable[Step]) -> None:
        """Remember `steps` by title, beside the titles of other plans."""
        fresh: dict[str, list[Fields]] = {}
        for step in steps:
            fresh.setdefault(step.title, []).append(fields_of(step))
        before = self._load()
        merged = {**before, **fresh}
        if merged != before:
            with store_errors(self._home):
                write_whole(self._path, json.dumps(merged, separators=(",", ":")).encode(), aside=self._aside)
        self._steps = merged

    def explain(self, step: Step, *, cached: bool) -> Reason:
        """Return why `step` will run, or that it will not."""
        if cached:
            return Reason(cached=True, brief="cached")
        if not step.image.base.known:
            return Reason(cached=False, brief=f"image {step.image.name} is not built")
        if self._steps is None:
            self._steps = self._load()
        before = self._steps.get(step.title)
        if not before:
            return Reason(cached=False, brief="new step")
        if any(fields["digest"] == step.digest for fields in before):
            return Reason(cached=False, brief="its result is not in the store: it has not finished, or was pruned")
        after = fields_of(step)
        changes = min((differences(fields, after) for fields in before), key=len)
        return Reason(cached=False, brief=", ".join(changes[:3]) + (", …" if len(changes) > 3 else ""), changes=changes)

    def _load(self) -> dict[str, list[Fields]]:
        try:
            loaded = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        return loaded if isinstance(loaded, dict) else {}
