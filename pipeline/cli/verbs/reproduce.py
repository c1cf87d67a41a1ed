"""`pipeline reproduce`: make a finished release again from its source, and compare."""

from __future__ import annotations

import json
import shutil
import tempfile
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.cli.options import from_command_line
from pipeline.cli.running import Run, run_of
from pipeline.cli.terminal import show_table
from pipeline.config.toolchain import Toolchain
from pipeline.errors import SourceError, UsageError, VerificationError
from pipeline.host import content
from pipeline.host.content import remove_tree
from pipeline.host.documents import read_document
from pipeline.host.folders import home_folder
from pipeline.model.artifact import Kind
from pipeline.model.image import Image
from pipeline.model.tree import Given, Tree
from pipeline.programs.sign.release_index import Listed, ReleaseIndex
from pipeline.programs.verify.verify import Parameters, verify
from pipeline.release import bundle
from pipeline.release.compare import Compared, Outcome, compare, failed, rows, statement, summary
from pipeline.release.plan import remake, remake_unscanned
from pipeline.run.choice import databases, verified
from pipeline.run.request import Request
from pipeline.stages.context import Context, Databases
from pipeline.stages.index import INDEX

SCANNED = {kind.value for kind in Kind if kind.scanned}
NOT_SCANNED = "scans were left out"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A finished release on disk, as it describes itself."""

    path: Path
    index: ReleaseIndex
    fingerprint: str

    def binaries(self) -> list[Listed]:
        """Return its binaries."""
        return [entry for entry in self.index.artifacts if entry.kind == Kind.BINARY.value]

    def fips_module(self) -> str:
        """Return the module of its FIPS binaries, from their proofs; empty without one."""
        for entry in self.index.artifacts:
            if entry.kind == Kind.PROOF.value and entry.subject:
                module = (json.loads((self.path / entry.name).read_text("utf-8")).get("fips") or {}).get("module")
                if module:
                    return str(module)
        return ""

    def toolchain(self) -> Toolchain | None:
        """Return the toolchain that compiled it; None for a release of before that was recorded."""
        told = self.index.toolchain
        if told is None:
            return None
        return Toolchain(version=told.version, sum=told.sum, reason=told.reason, locked=told.locked)

    def day(self) -> str:
        """Return the day on which it was scanned, from its statements; empty if they do not have it."""
        for entry in self.index.statements:
            path = self.path / entry.name
            if path.is_file():
                about = json.loads(path.read_text("utf-8"))["predicate"]["metadata"]
                return str(about["scanStartedOn"])[:10]
        return ""

    def images(self) -> list[str]:
        """Return the images of registries that it was made in, as `--image` takes them: with the recorded digests."""
        used = {image.base: image.reference for image in self.index.images if image.reference}
        return [f"{name}={reference}" for name, reference in sorted(used.items())]

    def as_recorded(self, images: Mapping[str, Image]) -> dict[str, Image]:
        """Return `images` with the note on those that a registry resolved when the release was made."""
        resolved = {image.base for image in self.index.images if image.resolved}
        return {
            name: replace(image, base=replace(image.base, resolved=name in resolved)) for name, image in images.items()
        }

    def request(self, own: Request) -> Request:
        """Return the request that makes it again: its own records, with what `own` says about this machine."""
        return replace(
            own,
            today=self.day() or own.today,
            product=self.index.product.name,
            tag=self.index.version,
            targets=tuple(sorted({binary.target for binary in self.binaries()})),
            variants=tuple(sorted({binary.variant for binary in self.binaries()})),
            commit=self.index.source.commit,
            fips_module=self.fips_module() or own.fips_module,
            require_openssl_fips=(self.path / "openssl-fips.json").is_file(),
            snapshot=self.index.snapshot,
            fips_enabled="",
            image=(*self.images(), *own.image),
        )


def run(options: Namespace) -> int:
    """Make the release again, compare, and write the statement. Raises VerificationError when a file differs."""
    recorded = read(Path(options.release))
    request = recorded.request(from_command_line(options))
    own = home_folder(request.home or None)
    place = Path(options.workspace) if options.workspace else own
    place.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="reproduce-", dir=place))
    kept = recorded.path.with_name(f"{recorded.path.name}-rebuilt")
    try:
        with run_of(request, home=fresh, recorded=recorded.toolchain()) as again:
            results = again.watched(lambda: _again(again, own, recorded, options, kept))
    finally:
        remove_tree(fresh)
    output = Path(options.output or recorded.path.with_name(f"{recorded.path.name}.reproduced.intoto.json"))
    made = statement(results, release=recorded.path, source=recorded.index.source)
    output.write_text(json.dumps(made, indent=2, sort_keys=True) + "\n", "utf-8")
    cells = rows(results)
    width = max((len(name) for _, name, _ in cells), default=0)
    plain = (f"{outcome:<12}  {name:<{width}}  {found}".rstrip() for outcome, name, found in cells)
    show_table(("outcome", "file", "digest, or why"), cells, plain)
    print(f"{summary(results)}\n{output}")
    if any(result.outcome is Outcome.FAILED for result in results):
        raise failed(results, release=recorded.path, kept=kept)
    return 0


def read(path: Path) -> Recorded:
    """Return the release in the folder `path`. Raises VerificationError when it does not check out."""
    result = verify(Parameters(str(path)))
    verified(str(path), result)
    text = (path / "release.json").read_text("utf-8")
    index = read_document(ReleaseIndex, text, where=f"{path}/release.json", error=VerificationError)
    return Recorded(path, index, result.signed_by[0])


async def _again(again: Run, own: Path, recorded: Recorded, options: Namespace, kept: Path) -> tuple[Compared, ...]:
    """Return what became of each file. `own` is this machine's own home."""
    context = await _context(again, recorded, skip_scan=options.skip_scan)
    tree, skipped = _tree(again, context, recorded, skip_scan=options.skip_scan)
    if options.reuse_tools:
        await _tools(again, tree, own)
    rebuilt = await again.backend.evaluate(tree)
    results = compare(recorded.path, rebuilt, skipped=skipped)
    if any(result.outcome is Outcome.FAILED for result in results):
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        for result in results:
            if result.outcome is Outcome.FAILED and (rebuilt / result.name).is_file():
                shutil.copyfile(rebuilt / result.name, kept / result.name)
    return results


async def _context(again: Run, recorded: Recorded, *, skip_scan: bool) -> Context:
    """Return the values of the release. Raises SourceError if this source is not the one of the release."""
    context = await again.walk.context()
    feed = databases(again.request, context.product) is Databases.FEED
    if "scan" in context.product.stages and feed and not skip_scan:
        raise UsageError(
            "the vendors' feeds have changed since this release was scanned",
            resolution="pass the databases of that day with --scan-db (a bundle has them), or leave out the scans"
            " with --skip-scan",
        )
    told = recorded.index.source
    if context.source.identity != told.tree:
        raise SourceError(
            "this is not the source that the release was made from",
            details=f"  release  {told.tree}\n  here     {context.source.identity}",
            resolution=f"give it with --source; its commit is {told.commit or 'not known'}",
        )
    # A plain directory has no time of its own; the release says which was used.
    source = context.source if context.source.verified else replace(context.source, epoch=told.epoch)
    signing = recorded.index.signing
    decided = replace(
        context.options,
        signing_fingerprint=recorded.fingerprint,
        signing_development=signing is not None and signing.development,
        ephemeral_key=signing is not None and not signing.fingerprint,
    )
    context = replace(context, source=source, options=decided)
    context = await again.walk.prepared(context, again.walk.release(context).tree)
    context = replace(context, images=recorded.as_recorded(context.images))
    here = {image.name: image.base.content for image in context.images.values()}
    for image in recorded.index.images:
        if image.content and here.get(image.name, image.content) != image.content:
            again.backend.note(f"the image {image.name} differs here: {here[image.name]}")
    return context


def _tree(again: Run, context: Context, recorded: Recorded, *, skip_scan: bool) -> tuple[Tree, dict[str, str]]:
    """Return (the release without its signatures, the files that it has no part of, each with the reason)."""
    if not skip_scan:
        again.backend.given["release"] = recorded.path.absolute()
        return remake(context, Given("release", content.digest_of(recorded.path))), {}
    scanned = [entry.name for entry in recorded.index.artifacts if entry.kind in SCANNED]
    dated = [entry.name for entry in recorded.index.statements]
    return remake_unscanned(context), dict.fromkeys((*scanned, *dated, *INDEX), NOT_SCANNED)


async def _tools(again: Run, tree: Tree, own: Path) -> None:
    """Have the tools of `tree` ready in this machine's own store, and copy them to that of `again`."""
    steps = bundle.tools(tree)
    with run_of(again.request, home=own, progress=again.progress) as here:
        await here.backend.prepare(sorted({step.image.base.name for step in steps}))
        for step in steps:
            await here.backend.evaluate(step.out)
        folders = [here.backend.engine.store.folder(step.digest) for step in steps]
        bundle.carry([*(folder.resolve() for folder in folders), *folders], own, again.backend.home)
