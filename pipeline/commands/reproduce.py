"""`pipeline reproduce`: make a finished release again from its source, and compare."""

from __future__ import annotations

import json
import runpy
import shutil
import tempfile
from argparse import Namespace
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline import bundle, content
from pipeline.choice import databases, verified
from pipeline.cli import build_parser
from pipeline.content import remove_tree
from pipeline.errors import SourceError, UsageError
from pipeline.model.artifact import Kind
from pipeline.model.tree import Given, Tree
from pipeline.release import remake, remake_unscanned
from pipeline.reproduce import Compared, Outcome, compare, failed, statement, table
from pipeline.session import Session, open_session, with_progress
from pipeline.stages.context import Context, Databases
from pipeline.stages.sbom import load_schemas

SCANNED = {Kind.SCAN_REPORT.value, Kind.VEX.value, "notes"}
INDEX = ("SHA256SUMS", "SHA512SUMS", "release.json")
MACHINE = ("home", "jobs", "image", "pull_images", "roots", "no_build_cache")
NOT_SCANNED = "scans were left out"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A finished release on disk, as it describes itself."""

    path: Path
    index: dict[str, Any]
    fingerprint: str

    @property
    def source(self) -> dict[str, Any]:
        """What it says of its source."""
        found: dict[str, Any] = self.index["source"]
        return found

    def of(self, key: str) -> tuple[str, ...]:
        """Return the values of `key` that its binaries have: its targets, or its variants."""
        binaries = [entry for entry in self.index["artifacts"] if entry["kind"] == Kind.BINARY.value]
        return tuple(sorted({entry[key] for entry in binaries}))

    def fips_module(self) -> str:
        """Return the module of its FIPS binaries, from their proofs; empty without one."""
        for entry in self.index["artifacts"]:
            if entry["kind"] == Kind.PROOF.value and entry.get("subject"):
                module = (json.loads((self.path / entry["name"]).read_text("utf-8")).get("fips") or {}).get("module")
                if module:
                    return str(module)
        return ""

    def day(self) -> str:
        """Return the day on which it was scanned and judged, from its statements; empty when they do not say."""
        for entry in self.index.get("statements") or []:
            path = self.path / entry["name"]
            if path.is_file():
                about = json.loads(path.read_text("utf-8"))["predicate"]["metadata"]
                return str(about["scanStartedOn"])[:10]
        return ""

    def command(self, options: Namespace) -> Namespace:
        """Return the command line that makes it, with what `options` say of this machine."""
        argv = ["release", f"--product={self.index['product']['name']}", f"--tag={self.index['version']}"]
        argv += [f"--target={target}" for target in self.of("target")]
        argv += [f"--variant={variant}" for variant in self.of("variant")]
        argv += [f"--commit={self.source['commit']}"] if self.source.get("commit") else []
        argv += [f"--fips-module={module}"] if (module := self.fips_module()) else []
        argv += ["--require-openssl-fips"] if (self.path / "openssl-fips.json").is_file() else []
        argv += ["--snapshot"] if self.index["snapshot"] else []
        for name in ("source", "policy", "scan_db", "advisories"):
            value = getattr(options, name)
            argv += [f"--{name.replace('_', '-')}={value}"] if value else []
        parsed = build_parser().parse_args(argv)
        for name in MACHINE:
            setattr(parsed, name, getattr(options, name))
        return parsed


def run(options: Namespace) -> int:
    """Make the release again, compare, and write the statement. Raises VerificationError when a file differs."""
    recorded = read(Path(options.release))
    session = open_session(recorded.command(options))
    place = Path(options.workspace) if options.workspace else session.home
    place.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="reproduce-", dir=place))
    kept = recorded.path.with_name(f"{recorded.path.name}-rebuilt")
    try:
        again = replace(session, home=fresh)
        results = with_progress(again, lambda: _again(again, session.home, recorded, options, kept))
    finally:
        remove_tree(fresh)
    output = Path(options.output or recorded.path.with_name(f"{recorded.path.name}.reproduced.intoto.json"))
    made = statement(results, release=recorded.path, source=recorded.source)
    output.write_text(json.dumps(made, indent=2, sort_keys=True) + "\n", "utf-8")
    print(table(results), end="")
    print(output)
    if any(result.outcome is Outcome.FAILED for result in results):
        raise failed(results, release=recorded.path, kept=kept)
    return 0


def read(path: Path) -> Recorded:
    """Return the release in the folder `path`. Raises VerificationError when it does not check out."""
    script = Path(__file__).resolve().parent.parent / "inside" / "verify.py"
    result = runpy.run_path(str(script))["verify"]({"release": str(path)})
    verified(str(path), result)
    return Recorded(path, json.loads((path / "release.json").read_text("utf-8")), result["signed_by"][0])


async def _again(
    session: Session, first: Path, recorded: Recorded, options: Namespace, kept: Path
) -> tuple[Compared, ...]:
    """Return what became of each file. `first` is this machine's own home."""
    context = await _context(session, recorded, skip_scan=options.skip_scan)
    tree, skipped = _tree(session, context, recorded, skip_scan=options.skip_scan)
    if options.reuse_tools:
        await _tools(replace(session, home=first), tree, session.home)
    with session.engine() as engine:
        rebuilt = await session.evaluate(engine, tree)
        results = compare(recorded.path, rebuilt, skipped=skipped)
        if any(result.outcome is Outcome.FAILED for result in results):
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir()
            for result in results:
                if result.outcome is Outcome.FAILED and (rebuilt / result.name).is_file():
                    shutil.copyfile(rebuilt / result.name, kept / result.name)
    return results


async def _context(session: Session, recorded: Recorded, *, skip_scan: bool) -> Context:
    """Return the values of the release. Raises SourceError when the source at hand is another one."""
    context = await session.context()
    scan_db, advisories = bool(session.options.scan_db), bool(session.options.advisories)
    feed = databases(context.product, scan_db=scan_db, advisories=advisories) is Databases.FEED
    if "scan" in context.product.stages and feed and not skip_scan:
        raise UsageError(
            "the vendors' feeds have moved on since this release was scanned",
            resolution="give the databases of that day with --scan-db (a bundle holds them), or compare everything"
            " but the scans with --skip-scan",
        )
    if context.source.identity != recorded.source["tree"]:
        raise SourceError(
            "the source at hand is not the one that this release was made from",
            details=f"  release  {recorded.source['tree']}\n  here     {context.source.identity}",
            resolution=f"give it with --source; its commit is {recorded.source.get('commit') or 'not known'}",
        )
    # A plain directory has no time of its own; the release says which was used.
    source = context.source if context.source.verified else replace(context.source, epoch=recorded.source["epoch"])
    signing = recorded.index.get("signing") or {}
    decided = replace(
        context.options,
        today=recorded.day() or context.options.today,
        signing_fingerprint=recorded.fingerprint,
        signing_development=bool(signing.get("development")),
        ephemeral_key=bool(signing) and not signing.get("fingerprint"),
    )
    context = replace(context, source=source, options=decided)
    await session.prepare(session.release(context).tree)
    context = replace(context, images=session.images())
    here = {image.name: image.base.content for image in context.images.values()}
    for image in recorded.index.get("images", []):
        if image["content"] and here.get(image["name"], image["content"]) != image["content"]:
            session.progress.note(f"the image {image['name']} is another one here: {here[image['name']]}")
    return context


def _tree(session: Session, context: Context, recorded: Recorded, *, skip_scan: bool) -> tuple[Tree, dict[str, str]]:
    """Return (the release without its signatures, the files that it has no part of, each with the reason)."""
    schemas = load_schemas(session.packaging)
    if not skip_scan:
        session.given["release"] = recorded.path.absolute()
        return remake(context, schemas, Given("release", content.digest_of(recorded.path))), {}
    scanned = [entry["name"] for entry in recorded.index["artifacts"] if entry["kind"] in SCANNED]
    dated = [entry["name"] for entry in recorded.index.get("statements", [])]
    return remake_unscanned(context, schemas), dict.fromkeys((*scanned, *dated, *INDEX), NOT_SCANNED)


async def _tools(session: Session, tree: Tree, other: Path) -> None:
    """Have the tools of `tree` ready in this machine's own store, and copy them to the one in `other`."""
    steps = bundle.tools(tree)
    with session.engine() as engine:
        for step in steps:
            await session.evaluate(engine, step.out)
        folders = [engine.store.folder(step.digest) for step in steps]
        bundle.carry([*(folder.resolve() for folder in folders), *folders], session.home, other)
