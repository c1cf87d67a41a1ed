"""What the embedded engine costs: a step that does nothing, a plan that is all cached, and memory.

    python -m benchmarks.engine [--steps 1000,5000,10000] [--rounds 20]

Each time stands beside a baseline that is measured turn about with it, so that a slow machine slows both. Of runs
that do the same the quarter that was disturbed least counts. Exits with 1 when a budget is exceeded: 30 ms on top
of a step, 3 s to find 10 000 steps cached and growth in proportion, 150 MB of memory.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio

from pipeline.engine.local import LocalEngine, NetworkSettings
from pipeline.engine.local.sandbox import Sandbox, make_scratch
from pipeline.model.graph import steps_of
from pipeline.model.image import Image
from pipeline.model.step import Step
from pipeline.model.tree import Files, Output, Tree
from tests import tiny_root

STEP_BUDGET = 0.030
PLAN_BUDGET = 3.0
MEMORY_BUDGET = 150.0
CHAIN = 8
PATH = "/usr/bin:/bin"
GROWTH_BUDGET = 1.5
"""How much more a step of the largest plan may cost than one of the smallest."""


def bare(folder: Path, root: Path) -> float:
    """Return the seconds that bubblewrap alone takes for the sandbox of a step that does nothing."""
    scratch, out = folder / "scratch", folder / "out"
    scratch.mkdir(parents=True)
    out.mkdir()
    make_scratch(scratch)
    argv = Sandbox(root=root, out=out, scratch=scratch).arguments(("true",), 2)
    return seconds(partial(subprocess.run, argv, env={"PATH": PATH}, stderr=subprocess.PIPE, check=True))


def stepped(engine: LocalEngine, image: Image, first: int) -> float:
    """Return the seconds that each of a few chained steps that do nothing takes, from demand to stored result."""
    tree: Tree = Files.of({"number": str(first)})
    for number in range(CHAIN):
        env = (("NUMBER", f"{first}-{number}"),)  # no two alike, or one would be found in place of the other
        tree = Step(title="nothing", image=image, argv=("true",), inputs=(("before", tree),), env=env).out
    return seconds(partial(anyio.run, engine.evaluate, tree)) / CHAIN


def undisturbed(times: list[float]) -> float:
    """Return the lower quartile: what a run takes when the machine has little else to do."""
    return statistics.quantiles(times, n=4)[0]


def chain(image: Image, length: int) -> Output:
    """Return the end of a chain of steps: the deepest graph that so many steps can make."""
    tree = Step(title="0", image=image, argv=("true",)).out
    for number in range(1, length):
        tree = Step(title=str(number), image=image, argv=("true",), inputs=(("before", tree),)).out
    return tree


def fill(engine: LocalEngine, tree: Output) -> None:
    """Put an entry for every step into the store, without running anything: only finding is measured."""
    for step in steps_of(tree):
        entry = engine.store.scratch() / "entry"
        (entry / "tree").mkdir(parents=True)
        (entry / "tree/file").write_text(step.title)
        engine.store.commit(entry, step.digest, epoch=step.epoch, durable=False, kind="step", title=step.title)


def seconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def plan(folder: Path, root: Path, image: Image, length: int) -> tuple[float, float]:
    """Return the seconds to build and hash a plan and find each step cached, and those to evaluate its end."""
    with open_engine(folder / str(length), root, image) as engine:
        fill(engine, chain(image, length))
    with open_engine(folder / str(length), root, image) as engine:

        def look() -> None:
            if not all(engine.explain(step, set()).cached for step in steps_of(chain(image, length))):
                raise AssertionError("a step was not found")

        looking = min(seconds(look) for _ in range(3))
        ending = min(seconds(partial(anyio.run, engine.evaluate, chain(image, length))) for _ in range(3))
    return looking, ending


def open_engine(home: Path, root: Path, image: Image) -> LocalEngine:
    """Return an engine over the store at `home`."""
    return LocalEngine(home, roots={image.base.content: root}, network=NetworkSettings())


def peak() -> float:
    """Return the most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def main(argv: list[str]) -> int:
    """Measure, print a table, and return whether every budget was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", default="1000,5000,10000", help="lengths of the plans, comma-separated")
    parser.add_argument("--rounds", type=int, default=20, help="how often each is measured")
    options = parser.parse_args(argv)
    lengths = [int(length) for length in options.steps.split(",")]
    with tempfile.TemporaryDirectory(prefix="engine-benchmark-") as name:
        folder = Path(name)
        root = tiny_root.build(folder / "root")
        image = tiny_root.image(root)
        with open_engine(folder / "home", root, image) as engine:
            both = [(bare(folder / str(n), root), stepped(engine, image, n)) for n in range(options.rounds)]
        alone, step = (undisturbed(list(times)) for times in zip(*both, strict=True))
        print(f"a step that does nothing: {step * 1000:6.1f} ms, bubblewrap alone {alone * 1000:.1f} ms,", end=" ")
        print(f"ratio {step / alone:.1f}, added {(step - alone) * 1000:.1f} ms (budget {STEP_BUDGET * 1000:.0f})")
        costs = []
        kept = step - alone <= STEP_BUDGET
        for length in lengths:
            looking, ending = plan(folder, root, image, length)
            costs.append(looking / length)
            print(f"a plan of {length:6} steps: each looked at in {looking:.2f} s, its end in {ending:.2f} s,", end=" ")
            print(f"{looking / length * 1e6:.0f} µs a step, ratio to the shortest {costs[-1] / costs[0]:.2f}")
            kept = kept and looking <= PLAN_BUDGET * max(1.0, length / 10_000)
        print(f"peak memory: {peak():.0f} MB (budget {MEMORY_BUDGET:.0f})")
        kept = kept and costs[-1] / costs[0] <= GROWTH_BUDGET and peak() <= MEMORY_BUDGET
    print("every budget is kept" if kept else "A BUDGET IS EXCEEDED")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
