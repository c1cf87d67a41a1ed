"""`pipeline images list`, `lock`, `outdated`, `check`, `build` and `export`."""

from __future__ import annotations

import datetime as dt
from argparse import Namespace
from pathlib import Path
from typing import Any

from pipeline.cli.running import Run, opened
from pipeline.cli.terminal import show_table
from pipeline.cli.verbs.cache import size
from pipeline.errors import ImageError, UsageError
from pipeline.host.folders import packaging_folder
from pipeline.images import exported, needs
from pipeline.images.lock import save_lock
from pipeline.model.image import DEFAULT_PATH, Base
from pipeline.oci.export import export as write_archive


def show(options: Namespace) -> int:
    """List every image: what is really used, and what it stands in for."""
    with opened(options) as run:
        rows = run.backend.catalog.describe()
    cells: list[tuple[str, str]] = []
    for row in rows:
        ready = size(row.size) if row.ready and row.size else ("ready" if row.ready else "not built yet")
        lines = [f"{row.used}  ({ready})"]
        lines.append(f"reference {row.reference}{'@' + row.digest[:19] if row.digest else ', not locked'}")
        lines += [f"stands in for {row.stands_in_for}: {row.note}"] if row.stands_in_for else []
        cells += [(row.name if number == 0 else "", line) for number, line in enumerate(lines)]
    show_table(("image", "what is used"), cells, (f"{name:<16} {line}" for name, line in cells))
    return 0


def lock(options: Namespace) -> int:
    """Resolve every reference to the digest that its registry has now, and write packaging/images.lock."""
    path = packaging_folder() / "images.lock"
    with opened(options) as run:
        catalog = run.backend.catalog
        current = run.watched(catalog.current)
    if options.check:
        stale = catalog.lock.staleness(current)
        if stale:
            raise ImageError("images.lock is out of date", details=str(stale), resolution="run `pipeline images lock`")
        print("images.lock is up to date")
        return 0
    updated = catalog.lock.updated(current, dt.datetime.now(dt.UTC).replace(microsecond=0).isoformat())
    save_lock(path, updated)
    print(f"{len(updated.entries)} references locked in {path}")
    return 0


def outdated(options: Namespace) -> int:
    """Say which references mean another image today than in packaging/images.lock. Changes nothing."""
    with opened(options) as run:
        catalog = run.backend.catalog
        ages = catalog.lock.ages(run.watched(catalog.current))
    width = max(len(age.reference) for age in ages)
    cells = [(age.reference, str(age)) for age in ages]
    show_table(("reference", "age"), cells, (f"{reference:<{width}}  {age}" for reference, age in cells))
    if any(age.outdated for age in ages):
        print("`pipeline images lock` writes what the registries have now")
    return 0


def check(options: Namespace) -> int:
    """Test that images are available as they are pinned, and that each has what its steps need.

    Raises ImageError that lists everything that is wrong.
    """
    with opened(options) as run:
        catalog, names = run.backend.catalog, _names(run, options.names)

        async def work() -> None:
            problems = []
            for answer in await catalog.answers(names):
                print(f"{answer.reference}: {answer.problem or 'the registry has it'}")
                if answer.note:
                    print(f"{answer.reference}: {answer.note}")
                problems += [f"  {answer.reference}: {answer.problem}"] if answer.problem else []
            if problems:
                raise ImageError(
                    "registries do not have what is wanted",
                    details="\n".join(problems),
                    resolution="check network and credentials; `pipeline images lock` writes what they have now",
                )
            await run.backend.prepare(names)
            wanted = {name: needs.of_image(catalog.specs, name) for name in names}
            await needs.verify(needs.checks(catalog.images(), wanted), run.backend.look)

        run.watched(work)
    for name in names:
        print(f"{name}: has what its steps need")
    return 0


def build(options: Namespace) -> int:
    """Build or pull images, with the tools that are laid over them."""
    with opened(options) as run:
        backend, names = run.backend, _names(run, options.names)

        async def work() -> None:
            await backend.prepare(names)
            for name in names:
                for _, tree in backend.catalog.image(name).layers:
                    await backend.evaluate(tree)

        run.watched(work)
        print(run.progress.summary())
    return 0


def export(options: Namespace) -> int:
    """Write the root of each image as an OCI archive, and `images.json`, which says what is in which.

    Layers over a root, such as a toolchain, are not exported: steps make them on any engine.
    """
    with opened(options) as run:
        catalog, names = run.backend.catalog, _names(run, options.names)
        run.watched(lambda: run.backend.prepare(names))
    output = Path(options.output)
    described: dict[str, exported.Exported] = {}
    for name in names:
        base = catalog.base(name)
        archive = f"{base.content.removeprefix('sha256:')[:16]}.tar"
        if not any(entry.archive == archive for entry in described.values()):
            manifest = write_archive(
                output / archive, [("/", catalog.roots()[base.content])], path=DEFAULT_PATH, name=name
            )
            print(f"{output / archive}  {manifest}")
        described[name] = exported.Exported(archive=archive, content=base.content, **_known(base))
    exported.write(output / exported.INDEX, described)
    return 0


def _known(base: Base) -> dict[str, Any]:
    return {"stands_in_for": base.stands_in_for, "made_from": base.made_from, "installed": base.installed}


def _names(run: Run, chosen: list[str]) -> list[str]:
    every = run.backend.catalog.names()
    unknown = sorted(set(chosen) - set(every))
    if unknown:
        known = ", ".join(every)
        raise UsageError(f"there is no image {', '.join(unknown)}", resolution=f"choose among: {known}")
    return chosen or list(every)
