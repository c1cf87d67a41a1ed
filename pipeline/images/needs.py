"""What steps need of the root file system that they run in, and the steps that test whether a root has it.

images.toml names the needs of each image, by program of `pipeline/programs`, or by the command that a step runs. `*` is
for every step. A need is a command (`git`), one of several (`qemu-aarch64-static|qemu-aarch64`), a file (an absolute
path), a Python version (`python3>=3.9`) or a Python module (`python3:jsonschema`). What is laid over an image is not
tested: the step that made it has promised it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import anyio

from pipeline.config.images import EVERY_STEP, ImageSpecs
from pipeline.errors import ImageError, PipelineError, StepFailedError
from pipeline.model.image import DEFAULT_PATH, Image
from pipeline.model.step import Step

Run = Callable[[Step], Awaitable[str]]
"""Carries out a step and returns the text of its file `found`. Raises what the engine raises."""

FOUND = "found"

_SCRIPT = """\
for name in $1; do
    case $name in
        /*) [ -e "$name" ] || continue ;;
        *) command -v "$name" >/dev/null 2>&1 || continue ;;
    esac
    echo "$name"
done >/out/found
python3 -B -s -c "$2" $3 >>/out/found 2>/dev/null || :
"""

_PYTHON = """\
import importlib.util, sys
print("python3>=%d.%d" % sys.version_info[:2])
for name in sys.argv[1:]:
    if importlib.util.find_spec(name):
        print("python3:" + name)
"""

_HOW = "add what provides it to `packages` of the image in packaging/images.toml, or take another image with --image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One root to test. `wanted` are triples of an image, a need, and the step that has it."""

    step: Step
    wanted: frozenset[tuple[str, str, str]] = field(repr=False)

    @property
    def images(self) -> str:
        """The names of the images that have this root, for people."""
        return ", ".join(sorted({image for image, _, _ in self.wanted}))

    def missing(self, found: str) -> list[str]:
        """Return a line for each need that is not in `found`, which the step has written."""
        have = set(found.splitlines())
        version = next((line for line in have if line.startswith("python3>=")), "")
        users: dict[tuple[str, str], list[str]] = {}
        for image, need, step in sorted(self.wanted):
            if not _met(need, have, version):
                users.setdefault((image, need), []).append(step)
        return [
            f'image "{image}" has no {_words(need)}, which {_users(steps)}{_instead(need, version)}'
            for (image, need), steps in users.items()
        ]


def program_of(step: Step) -> str:
    """Return the name that images.toml has for what a step runs."""
    if step.argv[:4] == ("python3", "-B", "-s", "-m"):
        return step.argv[4].rpartition(".")[2]
    return PurePosixPath(step.argv[0]).name


def of_steps(specs: ImageSpecs, steps: Iterable[Step]) -> dict[str, set[tuple[str, str]]]:
    """Return the needs of `steps` by the name of their image, each with the title of the step."""
    found: dict[str, set[tuple[str, str]]] = {}
    for step in steps:
        name = step.image.base.name
        if name in specs.images:
            table = specs.images[name].needs
            found.setdefault(name, set()).update((need, EVERY_STEP) for need in table.get(EVERY_STEP, ()))
            found[name].update((need, step.title) for need in table.get(program_of(step), ()))
    return found


def of_image(specs: ImageSpecs, name: str) -> set[tuple[str, str]]:
    """Return all needs of the image `name`, each with the program that has it."""
    return {(need, program) for program, needs in specs.image(name).needs.items() for need in needs}


def checks(images: Mapping[str, Image], needs: Mapping[str, set[tuple[str, str]]]) -> list[Check]:
    """Return the tests of `needs`, which are by image: one for each root, however many images have it."""
    wanted: dict[tuple[str, tuple[str, ...]], set[tuple[str, str, str]]] = {}
    bases: dict[tuple[str, tuple[str, ...]], Image] = {}
    for name in sorted(needs):
        image = _bare(images[name])
        key = (image.base.digest, image.path)
        bases.setdefault(key, image)
        wanted.setdefault(key, set()).update((name, need, step) for need, step in needs[name])
    return [
        Check(step=_step(bases[key], {need for _, need, _ in found}), wanted=frozenset(found))
        for key, found in wanted.items()
        if found
    ]


async def verify(tests: list[Check], run: Run) -> None:
    """Carry out `tests`, all at once. Raises ImageError that lists what is missing, by image, program and step."""
    problems: list[str] = []
    failures: list[PipelineError] = []

    async def look(test: Check) -> None:
        try:
            problems.extend(test.missing(await run(test.step)))
        except StepFailedError as error:
            output = "".join(f"; {line}" for line in error.output)
            problems.append(
                f"no shell runs in the image {test.images}, and every step needs /bin/sh: {error.brief}{output}"
            )
        except PipelineError as error:
            failures.append(error)

    async with anyio.create_task_group() as group:
        for test in tests:
            group.start_soon(look, test)
    if failures:
        raise failures[0]
    problems.sort()
    if problems:
        raise ImageError(
            "an image lacks what a step needs" if len(problems) == 1 else "images lack what steps need",
            details="\n".join(f"  {problem}" for problem in problems),
            resolution=_HOW,
        )


def _bare(image: Image) -> Image:
    """Return the root of `image` alone. Images that have nothing but the standard places are tested as one."""
    laid = tuple(mount.rstrip("/") for mount, _ in image.layers)
    own = tuple(path for path in image.path if not any(f"{path}/".startswith(f"{mount}/") for mount in laid))
    return Image(image.name, image.base, path=DEFAULT_PATH if set(own) <= set(DEFAULT_PATH) else own)


def _step(image: Image, needs: set[str]) -> Step:
    names = sorted({name for need in needs if not need.startswith("python3:") for name in _commands(need)})
    modules = sorted(need.partition(":")[2] for need in needs if need.startswith("python3:"))
    return Step(
        title=f"look at the image {image.base.name}",
        image=image,
        argv=("/bin/sh", "-euc", _SCRIPT, "sh", " ".join(names), _PYTHON, " ".join(modules)),
        outputs=(FOUND,),
    )


def _commands(need: str) -> list[str]:
    return need.partition(">=")[0].split("|")


def _met(need: str, have: set[str], version: str) -> bool:
    if need.startswith("python3>="):
        return bool(version) and _numbers(version) >= _numbers(need)
    if need.startswith("python3:"):
        return need in have
    return bool(have & set(_commands(need)))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.partition(">=")[2].split("."))


def _words(need: str) -> str:
    if need.startswith("python3>="):
        return f"Python {need.partition('>=')[2]} or newer as python3"
    if need.startswith("python3:"):
        return f"Python module {need.partition(':')[2]}"
    return " or ".join(_commands(need))


def _users(steps: list[str]) -> str:
    if EVERY_STEP in steps:
        return "every step needs"
    more = f" and {len(steps) - 1} more need" if len(steps) > 1 else " needs"
    return f'step "{steps[0]}"{more}'


def _instead(need: str, version: str) -> str:
    return f" (it has Python {version.partition('>=')[2]})" if need.startswith("python3>=") and version else ""
