"""Scan: grype and trivy on every binary, govulncheck on its source, one report, and a gate.

Feeds are fetched, binaries scanned and the verdict reached again on every day of a release, also when nothing has
changed: what the scanners found is stated together with the day.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.model.artifact import Artifact, Kind
from pipeline.model.step import WORK, Caching, ExitCode, Step
from pipeline.model.target import TARGETS
from pipeline.model.tree import EMPTY, Merge, Pick, Tree
from pipeline.programs.scan import approve
from pipeline.programs.scan.govulncheck import CheckedBinary, Parameters
from pipeline.stages.build import modules, settings
from pipeline.stages.context import Context, Databases
from pipeline.stages.program import inside
from pipeline.stages.stage import Made, Stage

GRYPE_ENV = {
    "GRYPE_CHECK_FOR_APP_UPDATE": "false",
    "GRYPE_DB_AUTO_UPDATE": "false",
    "GRYPE_DB_CACHE_DIR": "/in/database",
    "GRYPE_DB_VALIDATE_AGE": "false",
    "GRYPE_TIMESTAMP": "false",
    "HOME": WORK,
    "XDG_CACHE_HOME": f"{WORK}/cache",
}
WRITABLE_DATABASE = f"test -s /in/database/db/trivy.db && mkdir {WORK}/cache && cp -R /in/database/db {WORK}/cache/"
"""trivy opens its database for writing, although it only reads, so it gets a copy. Without one it would make an empty
one and find nothing, so its absence has to fail here."""
BINARY_SCANNERS = ("grype", "trivy")
REPORTS = {
    "scan.json": Kind.SCAN_REPORT,
    "scan.sarif": Kind.SCAN_REPORT,
    "scan.md": Kind.SCAN_REPORT,
    "openvex.json": Kind.VEX,
}


FEED = "https://vuln.go.dev/vulndb.zip"
"""The whole Go vulnerability database in one archive (https://go.dev/security/vuln/database)."""


def make(context: Context, made: Made) -> Made:
    """Return what the scanners find in every binary, the verdict on it, and the gate that it opens or not."""
    binaries = made.of(Kind.BINARY)
    found = databases(context)
    raw: list[tuple[str, Tree]] = []
    for built in binaries:
        for scanner, run in (("grype", grype), ("trivy", trivy)):
            if scanner in found:
                raw.append((f"{built.name}/{scanner}", run(context, built, found[scanner]).out))
    if "govulncheck" in found:
        reached = govulncheck(context, binaries, found["govulncheck"])
        raw += [(f"{built.name}/govulncheck", Pick(reached.out, root=built.name)) for built in binaries]
    decided = verdict(context, binaries, Merge.of(*raw), found.get("trivy", EMPTY))
    artifacts = reports(context, decided)
    return Made(
        artifacts=artifacts,
        statements=statements(binaries, decided),
        gates={"approval": approval(context, decided)},
        verdict=Pick(decided.out, paths=("verdict.json",)),
        reports=Merge.of(*(artifact.tree for artifact in artifacts)),
    )


STAGE = Stage(make=make, verb="scan")


def scanners(context: Context) -> tuple[str, ...]:
    """Return the scanners that need a database."""
    return (*BINARY_SCANNERS, *(("govulncheck",) if context.product.scan.reachability else ()))


def databases(context: Context) -> dict[str, Tree]:
    """Return the vulnerability databases by scanner; none for a scanner whose database is known to be missing."""
    names = [name for name in scanners(context) if name not in context.missing]
    match context.options.databases:
        case Databases.GIVEN:
            given = context.given["scan-db"]
            return {name: Pick(given, root=name) for name in names}
        case Databases.ADVISORIES:
            return {name: _from_advisories(context, name) for name in names}
        case Databases.FEED:
            steps = feeds(context)
            return {name: steps[name].out for name in names}


def feeds(context: Context) -> dict[str, Step]:
    """Return the step that fetches each scanner's database from its vendor, by scanner."""
    made = {"grype": _grype_feed, "trivy": _trivy_feed, "govulncheck": _govulncheck_feed}
    return {name: made[name](context) for name in scanners(context)}


def _from_advisories(context: Context, scanner: str) -> Tree:
    return Step(
        title=f"{scanner} database from advisories",
        image=context.image(scanner),
        argv=(f"{scanner}-advisorydb", "-built", "newest", "-in", "/in/advisories", "-out", "/out"),
        inputs=(("advisories", context.given["advisories"]),),
        env=(("HOME", WORK),),
    ).out


def _grype_feed(context: Context) -> Step:
    return Step(
        title="grype database from its feed",
        image=context.image("grype"),
        argv=("grype", "db", "update"),
        env=tuple(sorted({**GRYPE_ENV, "GRYPE_DB_CACHE_DIR": "/out"}.items())),
        network=True,
        caching=Caching.DAILY,
    )


def _trivy_feed(context: Context) -> Step:
    return Step(
        title="trivy database from its feed",
        image=context.image("trivy"),
        argv=("trivy", "image", "--download-db-only", "--cache-dir=/out", "--no-progress"),
        env=(("HOME", WORK),),
        network=True,
        caching=Caching.DAILY,
    )


def _govulncheck_feed(context: Context) -> Step:
    return inside(
        "scan.vulndb",
        {"url": FEED, "out": "/out/v1"},
        title="govulncheck database from its feed",
        image=context.image("debian"),
        inputs={},
        network=True,
        caching=Caching.DAILY,
        outputs=("v1/index/db.json", "v1/index/modules.json"),
    )


def grype(context: Context, built: Artifact, database: Tree) -> Step:
    """Return grype's run over one binary; its report is `grype.json`."""
    return Step(
        title=f"grype {built.label}",
        image=context.image("grype"),
        argv=("grype", f"file:/in/binary/{built.name}", "--output=json", "--file=/out/grype.json"),
        inputs=(("binary", built.tree), ("database", database)),
        env=tuple(sorted(GRYPE_ENV.items())),
        caching=Caching.DAILY,
        exit_code=ExitCode.IS_DATA,
        epoch=context.epoch,
    )


def trivy(context: Context, built: Artifact, database: Tree) -> Step:
    """Return trivy's run over one binary; its report is `trivy.json`."""
    command = (
        "trivy",
        "rootfs",
        f"--cache-dir={WORK}/cache",
        "--format=json",
        "--offline-scan",
        "--output=/out/trivy.json",
        "--quiet",
        "--scanners=vuln",
        "--skip-db-update",
        "--skip-java-db-update",
        "/in/binary",
    )
    return Step(
        title=f"trivy {built.label}",
        image=context.image("trivy"),
        argv=("sh", "-c", f"{WRITABLE_DATABASE} && exec {' '.join(command)}"),
        inputs=(("binary", built.tree), ("database", database)),
        env=(("HOME", WORK), ("TMPDIR", WORK)),
        caching=Caching.DAILY,
        exit_code=ExitCode.IS_DATA,
        epoch=context.epoch,
    )


def govulncheck(context: Context, binaries: Sequence[Artifact], database: Tree) -> Step:
    """Return the step that looks for call paths to vulnerable code of each binary: `<binary>/govulncheck.json`.

    Given databases that lack its own are an answer, too: then nothing is known about reachability.
    """
    given = context.options.databases is Databases.GIVEN
    own = Merge.of(("govulncheck", database))
    place = Pick(context.given["scan-db"], optional=("govulncheck/v1",)) if given else own
    module_cache = modules(context)
    how = {
        built.name: settings(context, TARGETS[built.target], context.product.variant(built.variant), module_cache)
        for built in binaries
    }
    first = how[binaries[0].name]
    return inside(
        "scan.govulncheck",
        Parameters(
            folder=first.folder,
            package=context.product.build.package,
            binaries=tuple(CheckedBinary(name, own.tags, dict(own.env)) for name, own in how.items()),
            database=Path("/in/databases/govulncheck"),
        ),
        title="govulncheck",
        image=context.image("govulncheck"),
        inputs={**dict(first.inputs), "databases": place},
        outputs=tuple(sorted(f"{built.name}/govulncheck.json" for built in binaries)),
        epoch=context.epoch,
    )


def verdict(context: Context, binaries: Sequence[Artifact], raw: Tree, trivy_database: Tree) -> Step:
    """Return the step that merges all reports and decides on each finding.

    It leaves `scan.json`, `verdict.json` for the gate, and `statements/`: which scanner found what on which day.
    """
    metadata = Pick(trivy_database, optional=("db/metadata.json",))
    return inside(
        "scan.gate",
        {
            "product": context.product.name,
            "version": context.version.number,
            "binaries": [{"name": b.name, "target": b.target, "variant": b.variant} for b in binaries],
            "policy": {
                **context.policy.as_parameters(),
                "ignore": context.policy.accepted(product=context.product.name, version=context.version.number),
            },
            "missing": dict(context.missing),
            "reachability": context.product.scan.reachability,
            "snapshot": context.options.snapshot,
        },
        title="verdict",
        image=context.image("debian"),
        inputs={"binaries": Merge.of(*(b.tree for b in binaries)), "reports": raw, "trivy-database": metadata},
        outputs=("statements", "verdict.json", "scan.json"),
        caching=Caching.DAILY,
        epoch=context.epoch,
    )


def reports(context: Context, decided: Step) -> tuple[Artifact, ...]:
    """Return what was found, for each kind of reader.

    A release about which OpenVEX can state nothing has no `openvex.json`.
    """
    rendered = inside(
        "scan.scan_report",
        {"author": context.product.vendor},
        title="scan reports",
        image=context.image("debian"),
        inputs={"scan": Pick(decided.out, paths=("scan.json",)), "schemas": context.schemas},
        outputs=("scan.md", "scan.sarif"),
        epoch=context.epoch,
    )
    return tuple(
        Artifact(
            name=name,
            kind=kind,
            tree=Pick(rendered.out, optional=(name,))
            if kind is Kind.VEX
            else Pick((decided if name == "scan.json" else rendered).out, paths=(name,)),
        )
        for name, kind in REPORTS.items()
    )


def approval(context: Context, decided: Step) -> Tree:
    """Return the gate: it fails when the verdict is closed, and otherwise names every binary it lets through.

    What it writes does not vary with the date, so what comes after it is not done again every day.
    """
    return inside(
        "scan.approve",
        approve.Parameters(),
        title="gate",
        image=context.image("debian"),
        inputs={"report": Pick(decided.out, paths=("verdict.json",))},
        outputs=("approval.json",),
    ).out


def statements(binaries: Sequence[Artifact], decided: Step) -> tuple[Artifact, ...]:
    """Return what each scanner found in each binary, as in-toto statements.

    They have the day, so they differ from day to day: the index names them without their digests.
    A snapshot lacks those of a scanner whose database has no known age.
    """
    return tuple(
        Artifact(
            name=name,
            kind=Kind.ATTESTATION,
            tree=Pick(decided.out, root="statements", optional=(name,)),
            target=built.target,
            variant=built.variant,
            subject=built.name,
        )
        for built in binaries
        for scanner in BINARY_SCANNERS
        for name in (f"{built.name}.{scanner}.vulns.intoto.json",)
    )
