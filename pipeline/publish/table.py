"""The table of publishers. To add one, write `pipeline/publish/<name>.py` and add its name here (docs/extending.md)."""

from __future__ import annotations

import difflib
from importlib import import_module

from pipeline.errors import UsageError
from pipeline.publish.publisher import Publisher

PUBLISHERS = (
    "folder",
)  # fmt: skip


def publisher(place: str) -> Publisher:
    """Return the publisher for `NAME:WHERE`, such as `folder:/srv/releases`; where is for that publisher to read.

    Only the publisher that is asked for is imported. Raises UsageError for one that does not exist.
    """
    name, _, where = place.partition(":")
    if name not in PUBLISHERS or not where:
        near = difflib.get_close_matches(name, PUBLISHERS, n=1)
        raise UsageError(
            f"--publish must be NAME:WHERE, got {place!r}" + (f"; did you mean {near[0]}:WHERE?" if near else ""),
            details=f"publishers: {', '.join(PUBLISHERS)}",
            resolution=f"for example --publish {PUBLISHERS[0]}:WHERE",
        )
    made: Publisher = import_module(f"pipeline.publish.{name}").PUBLISHER(where)
    return made
