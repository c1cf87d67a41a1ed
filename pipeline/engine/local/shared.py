"""What every evaluation of one engine shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from pipeline.engine.base import Observer
from pipeline.engine.local import schedule
from pipeline.engine.local.names import Names
from pipeline.engine.local.store import Store
from pipeline.engine.network import NetworkSettings
from pipeline.model.step import Step
from pipeline.model.tree import Tree


@dataclass(slots=True, kw_only=True)
class Context:
    """The parts of one engine, and what it has found out so far."""

    store: Store
    roots: Mapping[str, Path]
    observer: Observer
    network: NetworkSettings
    use_caches: bool
    today: str
    slots: anyio.Semaphore
    fetches: anyio.Semaphore
    why: Callable[[Step], str]
    """Says why a step runs: for the log."""
    names: dict[frozenset[tuple[str, str]], Names] = field(default_factory=dict)
    """The names of results, for each set of outputs that is taken from elsewhere."""
    notices: dict[str, str] = field(default_factory=dict)
    ran: int = 0
    """How many entries have been made."""

    def names_with(self, prebuilt: Mapping[str, Tree]) -> Names:
        """Return the names of results when the outputs of some steps are taken from elsewhere.

        A result that another such set led to is another one, though its step has the same digest.
        """
        which = frozenset((digest, tree.digest) for digest, tree in prebuilt.items())
        if which not in self.names:
            self.names[which] = Names(self.today, prebuilt, schedule.Freshness(prebuilt))
        return self.names[which]
