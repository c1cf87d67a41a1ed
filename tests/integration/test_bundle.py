"""With a bundle, a machine without any network makes the same release."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import anyio

from pipeline.cli.parser import build_parser
from pipeline.cli.running import opened
from pipeline.cli.verbs.inspect import find_step
from pipeline.model.graph import steps_of
from tests.conftest import require_tool
from tests.integration.released import RELEASE, contents, pipeline, succeeded

SMALL = (*RELEASE[1:], "--target", "linux/amd64", "--variant", "standard")


def brought(folder: Path) -> Path:
    """Return `folder` with scanner databases in it: those that the release was scanned with, as a feed has them."""
    with opened(build_parser().parse_args(["plan", *SMALL])) as run:

        async def work() -> None:
            planned = await run.walk.planned(signed=False)
            for scanner in ("grype", "trivy", "govulncheck"):
                database = find_step(steps_of(planned.tree), f"{scanner} database from advisories")
                shutil.copytree(await run.backend.evaluate(database.out), folder / scanner)

        anyio.run(work)
    return folder


def test_a_release_without_network_from_a_bundle(dist: Path, tmp_path: Path) -> None:
    require_tool("unshare")
    bundle, home = tmp_path / "bundle.tar", tmp_path / "home"
    databases = brought(tmp_path / "databases")
    succeeded(pipeline("bundle", "create", *SMALL, "--scan-db", str(databases), "--output", str(bundle)))
    shutil.rmtree(databases)
    said = succeeded(pipeline("bundle", "install", str(bundle), "--home", str(home)))
    bundle.unlink()
    offline = ("unshare", "--net")
    came = ("--scan-db", said.rpartition("--scan-db ")[2].strip())
    where = ("--dist", str(tmp_path / "dist"), "--home", str(home))
    done = pipeline("release", *SMALL, *came, *where, prefix=offline)
    succeeded(done)
    assert "✓ build linux-amd64 standard" in done.stderr
    assert "fetch" not in done.stderr
    released = contents(tmp_path / "dist" / "1.2.3")
    name = "example-1.2.3-linux-amd64"
    assert released[name] == contents(dist)[name]
    scan = json.loads((tmp_path / "dist" / "1.2.3" / "scan.json").read_text())
    assert {finding["reachable"] for finding in scan["findings"]} == {"yes", "no"}
    shutil.rmtree(home)
