"""`pipeline bundle create` and `install`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from pipeline.cli.running import Run, opened
from pipeline.cli.verbs.cache import size
from pipeline.errors import UsageError
from pipeline.host.folders import home_folder
from pipeline.model.graph import direct_steps
from pipeline.model.tree import Merge, Tree
from pipeline.release import bundle
from pipeline.stages import scan
from pipeline.stages.context import Context, Databases


def create(options: Namespace) -> int:
    """Fetch and make what the release needs, and write it into one file."""
    target = Path(options.output)
    with opened(options) as run:
        count = run.watched(lambda: _create(run, target))
    print(f"{target}  {size(target.stat().st_size)}, results of {count} steps")
    return 0


async def _create(run: Run, target: Path) -> int:
    backend = run.backend
    planned = await run.walk.planned(signed=False)
    databases = _databases(planned.context)
    carried = {step.digest for step in direct_steps(tuple(databases.values()))}
    steps = [step for step in bundle.needed(planned.tree) if step.digest not in carried]
    folders = [root.parent for root in backend.catalog.roots().values()]
    folders += [folder for name in ("git", "pins") if (folder := backend.home / name).is_dir()]
    for step in steps:
        await backend.evaluate(step.out)
    store = backend.engine.store
    folders += [store.folder(step.digest).resolve() for step in steps]
    folders += [store.folder(step.digest) for step in steps]
    place = f"{bundle.DATABASES}/{run.request.today}-{Merge.of(*databases.values()).digest[7:15]}"
    others = {f"{place}/{name}": await backend.evaluate(tree) for name, tree in databases.items()}
    bundle.write(target, backend.home, dict.fromkeys(folders), others)
    return len(steps)


def _databases(context: Context) -> dict[str, Tree]:
    """Return the scanner databases that a machine without network could not get: those of a feed, or that were given.

    Those of advisories are made from the advisories by tools that the bundle has anyway. Raises UsageError when one is
    missing: that machine could not release anything.
    """
    wanted = "scan" in context.product.stages and context.options.databases is not Databases.ADVISORIES
    if wanted and context.missing:
        raise UsageError(
            f"the bundle would lack the database of {', '.join(context.missing)}",
            details="\n".join(f"  {why}" for why in context.missing.values()),
            resolution="name a folder with grype/ and trivy/ as --scan-db, or leave it out to fetch them",
        )
    return scan.databases(context) if wanted else {}


def install(options: Namespace) -> int:
    """Unpack a bundle into this machine's home."""
    home = home_folder(options.home)
    installed = bundle.install(Path(options.bundle), home)
    print(f"{installed.files} files are in {home}; a release with the same options now needs no network")
    if installed.databases:
        print(f"scanner databases: use them with --scan-db {installed.databases}")
    return 0
