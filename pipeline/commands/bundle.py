"""`pipeline bundle create` and `install`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from pipeline import bundle
from pipeline.commands.cache import size
from pipeline.project import home_folder
from pipeline.session import Session, open_session, with_progress


def create(options: Namespace) -> int:
    """Fetch and make what the release needs, and write it into one file."""
    session = open_session(options)
    target = Path(options.output)
    count = with_progress(session, lambda: _create(session, target))
    print(f"{target}  {size(target.stat().st_size)}, {count} results of steps")
    return 0


async def _create(session: Session, target: Path) -> int:
    planned = await session.planned(signed=False)
    steps = bundle.needed(planned.tree)
    folders = [root.parent for root in session.catalog.roots().values()]
    folders += [folder for name in ("git", "pins") if (folder := session.home / name).is_dir()]
    with session.engine() as engine:
        for step in steps:
            await session.evaluate(engine, step.out)
        folders += [engine.store.folder(step.digest).resolve() for step in steps]
        folders += [engine.store.folder(step.digest) for step in steps]
        bundle.write(target, session.home, dict.fromkeys(folders))
    return len(steps)


def install(options: Namespace) -> int:
    """Unpack a bundle into this machine's home."""
    home = home_folder(options.home)
    count = bundle.install(Path(options.bundle), home)
    print(f"{count} files are in {home}; a release with the same options needs no network now")
    return 0
