"""Scan: grype and trivy on every binary, one merged report, and a gate that nothing passes unapproved."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.model.artifact import Artifact, Kind
from pipeline.model.step import Effect, ExitCode, Step
from pipeline.model.tree import Merge, Pick, Tree
from pipeline.stages.context import Context, Databases
from pipeline.stages.inside import inside

GRYPE_ENV = {
    "GRYPE_CHECK_FOR_APP_UPDATE": "false",
    "GRYPE_DB_AUTO_UPDATE": "false",
    "GRYPE_DB_CACHE_DIR": "/in/database",
    "GRYPE_DB_VALIDATE_AGE": "false",
    "HOME": "/work",
    "XDG_CACHE_HOME": "/work/cache",
}
REPORTS = {
    "scan.json": (Kind.SCAN_REPORT, "application/json"),
    "scan.sarif": (Kind.SCAN_REPORT, "application/sarif+json"),
    "scan.md": (Kind.SCAN_REPORT, "text/markdown"),
    "openvex.json": (Kind.VEX, "application/json"),
}


def databases(context: Context) -> dict[str, Tree]:
    """Return the vulnerability databases of grype and trivy, by scanner."""
    match context.options.databases:
        case Databases.GIVEN:
            given = context.given["scan-db"]
            return {name: Pick(given, root=name) for name in ("grype", "trivy")}
        case Databases.ADVISORIES:
            return {name: _from_advisories(context, name) for name in ("grype", "trivy")}
        case Databases.FEED:
            return {"grype": _grype_feed(context), "trivy": _trivy_feed(context)}


def _from_advisories(context: Context, scanner: str) -> Tree:
    return Step(
        title=f"{scanner} database from advisories",
        image=context.image(scanner),
        argv=(f"{scanner}-advisorydb", "-in", "/in/advisories", "-out", "/out"),
        inputs=(("advisories", context.given["advisories"]),),
        env=(("HOME", "/work"),),
    ).out


def _grype_feed(context: Context) -> Tree:
    return Step(
        title="grype database from its feed",
        image=context.image("grype"),
        argv=("grype", "db", "update"),
        env=tuple(sorted({**GRYPE_ENV, "GRYPE_DB_CACHE_DIR": "/out", "RELEASE_DAY": context.options.today}.items())),
        effect=Effect.FETCH,
    ).out


def _trivy_feed(context: Context) -> Tree:
    return Step(
        title="trivy database from its feed",
        image=context.image("trivy"),
        argv=("trivy", "image", "--download-db-only", "--cache-dir=/out", "--no-progress"),
        env=(("HOME", "/work"), ("RELEASE_DAY", context.options.today)),
        effect=Effect.FETCH,
    ).out


def grype(context: Context, built: Artifact, database: Tree) -> Step:
    """Return grype's run over one binary; its report is `grype.json`."""
    return Step(
        title=f"grype {built.name}",
        image=context.image("grype"),
        argv=("grype", f"file:/in/binary/{built.name}", "--output=json", "--file=/out/grype.json", "--quiet"),
        inputs=(("binary", built.tree), ("database", database)),
        env=tuple(sorted(GRYPE_ENV.items())),
        exit_code=ExitCode.IS_DATA,
        epoch=context.epoch,
    )


def trivy(context: Context, built: Artifact, database: Tree) -> Step:
    """Return trivy's run over one binary; its report is `trivy.json`."""
    return Step(
        title=f"trivy {built.name}",
        image=context.image("trivy"),
        argv=(
            "trivy",
            "rootfs",
            "--cache-dir=/in/database",
            "--format=json",
            "--offline-scan",
            "--output=/out/trivy.json",
            "--quiet",
            "--scanners=vuln",
            "--skip-db-update",
            "--skip-java-db-update",
            "/in/binary",
        ),
        inputs=(("binary", built.tree), ("database", database)),
        env=(("HOME", "/work"), ("TMPDIR", "/work")),
        exit_code=ExitCode.IS_DATA,
        epoch=context.epoch,
    )


def report(context: Context, binaries: Sequence[Artifact], raw: Tree) -> Step:
    """Return the step that merges all reports and judges them: `scan.json`, `scan.sarif`, `scan.md`, and a verdict."""
    policy = context.policy
    return inside(
        "gate",
        {
            "product": context.product.name,
            "version": context.version.number,
            "binaries": [{"name": b.name, "target": b.target, "variant": b.variant} for b in binaries],
            "reports": "/in/reports",
            "policy": policy.as_parameters(),
            "today": context.options.today,
            "snapshot": context.options.snapshot,
            "out": "/out",
        },
        title="scan report",
        image=context.image("debian"),
        inputs={"binaries": Merge.of(*(b.tree for b in binaries)), "reports": raw},
        outputs=("verdict.json", *REPORTS),
        epoch=context.epoch,
    )


def approval(context: Context, judged: Step) -> Tree:
    """Return the gate: it fails when the verdict is closed, and otherwise names every binary it lets through.

    What it writes does not vary with the date, so what comes after it is not done again every day.
    """
    return inside(
        "approve",
        {"verdict": "/in/report/verdict.json", "out": "/out/approval.json"},
        title="gate",
        image=context.image("debian"),
        inputs={"report": Pick(judged.out, paths=("verdict.json",))},
        outputs=("approval.json",),
    ).out


def scan(context: Context, binaries: Sequence[Artifact]) -> tuple[tuple[Artifact, ...], Step]:
    """Return the scan artifacts of `binaries`, and the step that judged them."""
    found = databases(context)
    raw: list[tuple[str, Tree]] = []
    artifacts: list[Artifact] = []
    for built in binaries:
        for scanner, run in (("grype", grype), ("trivy", trivy)):
            raw.append((f"{built.name}/{scanner}", run(context, built, found[scanner]).out))
    judged = report(context, binaries, Merge.of(*raw))
    prefix = f"{context.product.name}-{context.version.file}"
    for file, (kind, media_type) in REPORTS.items():
        name = f"{prefix}.{file}"
        artifacts.append(Artifact(name=name, kind=kind, media_type=media_type, tree=Pick(judged.out, paths=(file,))))
    return tuple(artifacts), judged
