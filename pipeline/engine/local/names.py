"""Under which names the store has a result: its digest, its digest and the day, or the content of what it is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.engine.base import environment
from pipeline.engine.local import schedule
from pipeline.engine.local.schedule import Freshness, Node, Results
from pipeline.model.identity import identify
from pipeline.model.step import TODAY, Caching, Step
from pipeline.model.tree import Merge, Pick, Tree


@dataclass(frozen=True, slots=True)
class Names:
    """The names of results on one day, as long as the same outputs are taken from elsewhere.

    `prebuilt` has trees that stand for the outputs of steps, by their digests. `made` is what this process has found or
    made already of what only `key` can name, and of what has no name at all.
    """

    today: str
    prebuilt: Mapping[str, Tree]
    fresh: Freshness
    made: Results = field(default_factory=dict)

    def name(self, node: Node) -> str:
        """Return the name that is known before anything runs; empty for what only `key` can tell."""
        if not self.fresh(node):
            return node.digest
        if not isinstance(node, Step) or node.caching is not Caching.DAILY or node.digest in self.prebuilt:
            return ""
        if self.fresh.before(node):
            return ""
        return identify("daily/1", [node.digest, environment(node, self.today)[TODAY]])

    def key(self, node: Node, results: Results) -> str:
        """Return the name by the content of what `node` is made from, however that content came about.

        An input that was made again and came out the same leaves this key as it was: then what depends on it is done.
        Empty for a step that is never cached, and for a tree whose digest is name enough.
        """
        if isinstance(node, Step):
            return "" if node.caching is Caching.NEVER else _of_step(node, results, self.today)
        return _of_tree(node, results) if self.fresh(node) else ""


def _of_step(step: Step, results: Results, today: str) -> str:
    image = step.image
    fields = {
        "base": image.base.digest,
        "layers": _contents(image.layers, results),
        "argv": list(step.argv),
        "inputs": _contents(step.inputs, results),
        "environment": environment(step, today),
        "caches": [[cache.mount, cache.key] for cache in step.caches],
        "secrets": list(step.secrets),
        "network": step.network,
        "caching": step.caching.value,
        "effect": step.effect.value,
        "exit_code": step.exit_code.value,
        "platform": step.platform,
        "outputs": list(step.outputs),
    }
    return identify("content-key/2", fields)


def _of_tree(tree: Node, results: Results) -> str:
    match tree:
        case Merge():
            return identify("content-merge/1", _contents(tree.parts, results))
        case Pick():
            fields = [_contents((("", tree.tree),), results), tree.root, sorted(tree.paths), sorted(tree.optional)]
            return identify("content-pick/1", fields)
        case _:
            raise AssertionError("literal files and what is given depend on no step")


def _contents(trees: tuple[tuple[str, Tree], ...], results: Results) -> list[list[str]]:
    return [[name, results[schedule.node_of(tree).digest].identity] for name, tree in trees]
