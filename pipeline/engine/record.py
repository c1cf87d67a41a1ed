"""An engine that runs nothing: it notes which steps would run, in order, and answers with what it is told.

For unit tests of stages and for dry runs. Trees are dictionaries of paths to files, so it needs no disk either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from pipeline.engine.base import Event, Observer, Secret, What, ignore
from pipeline.errors import EngineError, StepFailedError
from pipeline.model.graph import steps_of
from pipeline.model.step import Step
from pipeline.model.tree import File, Files, Given, Merge, Output, Pick, Tree, children

Virtual: TypeAlias = Mapping[str, File]
"""A tree as files by path. Empty directories and links do not show."""

Answer: TypeAlias = Callable[[Step, Mapping[str, Virtual]], Virtual]
"""Makes the output of a step out of its inputs, in place of its program."""


@dataclass(slots=True)
class RecordingEngine:
    """Records steps in the order in which they could run.

    `answers`, by title, are the outputs of steps or functions that make them. A step without one leaves the
    outputs that it promises, as empty files.
    """

    answers: Mapping[str, Virtual | Answer] = field(default_factory=dict)
    observer: Observer = ignore
    steps: list[Step] = field(default_factory=list)
    _made: dict[str, Virtual] = field(default_factory=dict)

    @property
    def titles(self) -> list[str]:
        """The titles of the recorded steps, in order."""
        return [step.title for step in self.steps]

    async def evaluate(
        self,
        tree: Tree,
        *,
        given: Mapping[str, Virtual] | None = None,
        secrets: Mapping[str, Secret] | None = None,
    ) -> Virtual:
        """Record every step below `tree` that has not been recorded, and return the tree's files.

        Raises StepFailedError when an answer lacks a promised output, EngineError when something was not given
        or two trees bring the same file.
        """
        for step in steps_of(tree):
            if step.digest not in self._made:
                self._record(step, given or {}, secrets or {})
        return self._files(tree, given or {})

    def _record(self, step: Step, given: Mapping[str, Virtual], secrets: Mapping[str, Secret]) -> None:
        absent = [name for name in step.secrets if name not in secrets]
        if absent:
            raise EngineError(f'step "{step.title}" needs a secret that was not given: {", ".join(absent)}')
        self.observer(Event(what=What.STARTED, step=step))
        inputs = {name: self._files(part, given) for name, part in step.inputs}
        answer = self.answers.get(step.title, dict.fromkeys(step.outputs, File(b"")))
        made = answer(step, inputs) if callable(answer) else answer
        missing = [path for path in step.outputs if not _has(made, path)]
        if missing:
            made_not = ", ".join(f"/out/{path}" for path in missing)
            raise StepFailedError(
                f'step "{step.title}" did not make {made_not}', resolution="add it to the answer for this step"
            )
        self.steps.append(step)
        self._made[step.digest] = made
        self.observer(Event(what=What.FINISHED, step=step))

    def _files(self, tree: Tree, given: Mapping[str, Virtual]) -> Virtual:
        """Return the files of `tree`. Iterative, like everything that walks a graph."""
        done: dict[str, Virtual] = {}
        stack = [tree]
        while stack:
            current = stack[-1]
            waiting = [part for part in children(current) if part.digest not in done]
            if waiting:
                stack += waiting
                continue
            done[current.digest] = self._combine(current, done, given)
            stack.pop()
        return done[tree.digest]

    def _combine(self, tree: Tree, done: Mapping[str, Virtual], given: Mapping[str, Virtual]) -> Virtual:
        match tree:
            case Files():
                return dict(tree.entries)
            case Given():
                if tree.name not in given:
                    raise EngineError(f"the directory {tree.name!r} that this needs was not given")
                return given[tree.name]
            case Output():
                return self._made[tree.step.digest]
            case Merge():
                return _merge([(prefix, done[part.digest]) for prefix, part in tree.parts])
            case Pick():
                return _pick(tree, done[tree.tree.digest])


def _merge(parts: list[tuple[str, Virtual]]) -> Virtual:
    united: dict[str, File] = {}
    for prefix, files in parts:
        for path, file in files.items():
            target = f"{prefix}/{path}" if prefix else path
            if target in united:
                raise EngineError(f"two trees that are put together both bring {target}")
            united[target] = file
    return united


def _pick(tree: Pick, files: Virtual) -> Virtual:
    base = f"{tree.root}/" if tree.root else ""
    below = {path.removeprefix(base): file for path, file in files.items() if path.startswith(base)}
    if not tree.paths and not tree.optional:
        return below
    missing = [path for path in tree.paths if not _has(below, path)]
    if missing:
        raise EngineError(f"a tree has no {', '.join(base + path for path in missing)}")
    wanted = (*tree.paths, *tree.optional)
    return {path: file for path, file in below.items() if any(_is_in(path, each) for each in wanted)}


def _has(files: Virtual, path: str) -> bool:
    return any(_is_in(each, path) for each in files)


def _is_in(path: str, place: str) -> bool:
    return path == place or path.startswith(place + "/")
