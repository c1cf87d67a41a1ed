"""A process of its own that evaluates a known graph, for tests in which several share a store or one is killed.

Arguments: the store's folder, the root file system, the name of a graph, and what to do. Prints one JSON document:
what the steps were called that ran or were cached, and where the result is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import anyio

from pipeline.engine.base import Event, What
from pipeline.engine.local import LocalEngine, NetworkSettings
from pipeline.errors import PipelineError
from pipeline.model.image import Image
from pipeline.model.step import Step
from pipeline.model.tree import Files, Merge, Tree
from tests import tiny_root
from tests.waiting import shell_pause


def chain(image: Image, length: int = 6) -> Tree:
    """Steps of which each adds a file to what the one before it made."""
    tree: Tree = Files.of({"start": "0"})
    for number in range(length):
        pause = shell_pause(0.02, "a kill can come while it runs")
        script = f"cp -r /in/before/. /out/; seq 1 2000 > /out/{number}; {pause}"
        step = Step(title=f"link {number}", image=image, argv=("sh", "-euc", script), inputs=(("before", tree),))
        tree = step.out
    return tree


def slow(image: Image) -> Tree:
    """Steps beside each other that take a while, and leave what no second run would leave."""
    script = shell_pause(0.4, "they overlap") + "; cat /proc/sys/kernel/random/uuid > /out/id; echo"
    names = "abc"
    steps = [Step(title=name, image=image, argv=("sh", "-euc", f"{script} {name}")) for name in names]
    return Merge.of(*((step.title, step.out) for step in steps))


def large(image: Image) -> Tree:
    """A step that writes 64 MiB."""
    script = "dd if=/dev/zero of=/out/big bs=1048576 count=64 2>&1"
    return Step(title="large", image=image, argv=("sh", "-euc", script)).out


def literal(_: Image) -> Tree:
    """A file of 64 MiB that the engine itself has to write."""
    return Files.of({"big": bytes(64 << 20)})


def chatty(image: Image) -> Tree:
    """A step that fills the log with 64 MiB."""
    return Step(title="chatty", image=image, argv=("sh", "-euc", "dd if=/dev/zero bs=1048576 count=64")).out


GRAPHS: dict[str, Callable[[Image], Tree]] = {
    "chain": chain,
    "slow": slow,
    "large": large,
    "literal": literal,
    "chatty": chatty,
}


def _say(report: object) -> None:
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()


def main(home: str, root: str, graph: str, content: str, *then: str) -> int:
    """Evaluate, print what happened, and with `hold` wait for the end of standard input."""
    events: list[Event] = []
    image = tiny_root.image_of(content)
    try:
        network = NetworkSettings()
        engine = LocalEngine(Path(home), roots={content: Path(root)}, observer=events.append, network=network)
        with engine:
            where = anyio.run(engine.evaluate, GRAPHS[graph](image))
            report = {
                "where": str(where),
                "ran": [event.step.title for event in events if event.what is What.FINISHED],
                "cached": [event.step.title for event in events if event.what is What.CACHED],
            }
            _say(report)
            if "hold" in then:
                sys.stdin.read()
    except PipelineError as error:
        left = [str(path) for path in Path(home).glob("tmp/*")]
        _say({"kind": type(error).__name__, "error": str(error), "left": left})
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
