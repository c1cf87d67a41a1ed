"""`pipeline images list`, `lock`, `build` and `export`."""

from __future__ import annotations

import datetime as dt
from argparse import Namespace
from pathlib import Path
from typing import Any

from pipeline.commands.cache import size
from pipeline.errors import ImageError, UsageError
from pipeline.images import exported
from pipeline.images.lock import save_lock
from pipeline.images.oci import export as write_archive
from pipeline.model.image import DEFAULT_PATH, Base
from pipeline.session import Session, open_session, with_progress


def show(options: Namespace) -> int:
    """List every image: what is really used, and what it stands in for."""
    for row in open_session(options).catalog.describe():
        ready = size(row.size) if row.ready and row.size else ("ready" if row.ready else "not built yet")
        print(f"{row.name:<16} {row.used}  ({ready})")
        print(f"{'':<16} reference {row.reference}{'@' + row.digest[:19] if row.digest else ', not locked'}")
        if row.stands_in_for:
            print(f"{'':<16} stands in for {row.stands_in_for}: {row.note}")
    return 0


def lock(options: Namespace) -> int:
    """Resolve every reference to the digest that its registry has now, and write packaging/images.lock."""
    session = open_session(options)
    path = session.packaging / "images.lock"
    if options.check:
        stale = session.catalog.staleness(ask=True)
        if stale:
            raise ImageError("images.lock is out of date", details=str(stale), resolution="run `pipeline images lock`")
        print("images.lock is up to date")
        return 0
    updated = session.catalog.relock(dt.datetime.now(dt.UTC).replace(microsecond=0).isoformat())
    save_lock(path, updated)
    print(f"{len(updated.entries)} references locked in {path}")
    return 0


def build(options: Namespace) -> int:
    """Build or pull images, with the tools that are laid over them."""
    session = open_session(options)
    names = _names(session, options.names)

    async def work() -> None:
        await session.catalog.prepare(names, session.progress.note)
        with session.engine() as engine:
            for name in names:
                for _, tree in session.catalog.image(name).layers:
                    await session.evaluate(engine, tree)

    with_progress(session, work)
    print(session.progress.summary())
    return 0


def export(options: Namespace) -> int:
    """Write the root of each image as an OCI archive, and `images.json`, which says what is in which.

    What lies over a root, such as a toolchain, is not exported: it is made by steps, on any engine.
    """
    session = open_session(options)
    names = _names(session, options.names)
    with_progress(session, lambda: session.catalog.prepare(names, session.progress.note))
    output = Path(options.output)
    described: dict[str, exported.Exported] = {}
    for name in names:
        base = session.catalog.base(name)
        archive = f"{base.content.removeprefix('sha256:')[:16]}.tar"
        if not any(entry.archive == archive for entry in described.values()):
            manifest = write_archive(
                output / archive, [("/", session.catalog.roots()[base.content])], path=DEFAULT_PATH, name=name
            )
            print(f"{output / archive}  {manifest}")
        described[name] = exported.Exported(archive=archive, content=base.content, **_known(base))
    exported.write(output / exported.INDEX, described)
    return 0


def _known(base: Base) -> dict[str, Any]:
    return {"stands_in_for": base.stands_in_for, "made_from": base.made_from, "installed": base.installed}


def _names(session: Session, chosen: list[str]) -> list[str]:
    unknown = sorted(set(chosen) - set(session.catalog.names()))
    if unknown:
        known = ", ".join(session.catalog.names())
        raise UsageError(f"there is no image {', '.join(unknown)}", resolution=f"choose among: {known}")
    return chosen or list(session.catalog.names())
