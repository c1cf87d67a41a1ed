"""A cold release of the example beside a plain shell script that runs the same tools with the same parallelism.

    python -m benchmarks.release [--rounds 1]

Images and tools are there before either starts, and neither has a compiler cache or downloaded modules. The script
is `benchmarks/release.sh`; it makes no packages, so neither does the release beside it. Then a release with packages,
each step timed, and the same once more with nothing changed. Exits with 1 when a budget is exceeded: 1.10 of the
script's time, 20 s for each package, 1 s for a release that is all cached.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from operator import itemgetter
from pathlib import Path
from typing import Any

import anyio

from pipeline.cli.parser import build_parser
from pipeline.cli.running import opened
from pipeline.host.folders import home_folder
from tests.integration.released import PROJECT, RELEASE, second_home, succeeded

RATIO_BUDGET = 1.10
PACKAGE_BUDGET = 20.0
CACHED_BUDGET = 1.0
STAGES = 'stages = ["archive", "deb", "rpm", "sbom", "scan"]'
TOOLS = ("go", "govulncheck", "syft", "grype", "trivy")


async def tools(home: Path) -> dict[str, Path]:
    """Return where the store has the root (`/`) and each tool, by the path that it is mounted at."""
    with opened(build_parser().parse_args(["plan", "--home", str(home)])) as run:
        catalog = run.backend.catalog
        found = {"/": catalog.roots()[catalog.base("go").content]}
        for name in TOOLS:
            for mount, tree in catalog.image(name).layers:
                found[mount] = await run.backend.evaluate(tree)
        return found


REPEATS = 3
"""How often a release with nothing changed is made, into the same folder as before."""


def run_script(home: Path, folder: Path) -> float:
    """Run the shell script in a sandbox over the same root and return its wall time in seconds."""
    for name in ("out", "work"):
        (folder / name).mkdir(parents=True)
    binds = {str(mount): path for mount, path in anyio.run(tools, home).items()}
    binds["/in/source"] = PROJECT / "examples/weed"
    binds["/in/advisories"] = PROJECT / "packaging/products/example/advisories"
    binds["/run/release.sh"] = PROJECT / "benchmarks/release.sh"
    binds["/run/key"] = home / "signing/development.asc"
    binds.update({path: Path(path) for path in ("/etc/resolv.conf", "/etc/hosts")})
    argv = ["bwrap", "--unshare-user", "--uid", "0", "--gid", "0", "--ro-bind", str(binds.pop("/")), "/"]
    argv += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/run", "--tmpfs", "/in"]
    bundle = os.environ.get("SSL_CERT_FILE")
    if bundle:
        binds["/run/ca.crt"] = Path(bundle)
        argv += ["--setenv", "SSL_CERT_FILE", "/run/ca.crt"]
    for mount, path in binds.items():
        argv += ["--ro-bind", str(path), mount]
    argv += [
        "--bind",
        str(folder / "out"),
        "/out",
        "--bind",
        str(folder / "work"),
        "/tmp/scratch",
        "--chdir",
        "/tmp/scratch",
    ]
    argv += ["--setenv", "JOBS", str(os.cpu_count() or 1), "bash", "/run/release.sh"]
    started = time.monotonic()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def without_packages(folder: Path) -> Path:
    """Return a copy of what this project knows of its products, in which the example has no packages."""
    shutil.copytree(PROJECT / "packaging", folder / "packaging")
    (folder / "examples").symlink_to(PROJECT / "examples")
    product = folder / "packaging/products/example/product.toml"
    text = product.read_text("utf-8")
    assert STAGES in text
    product.write_text(text.replace(STAGES, STAGES.replace('"deb", "rpm", ', "")), encoding="utf-8")
    return folder


def release(home: Path, folder: Path, project: Path = PROJECT) -> tuple[float, dict[str, Any]]:
    """Run the release as a person would and return its wall time in seconds, and its own account of it."""
    folder.mkdir(parents=True, exist_ok=True)
    timings = folder / "timings.json"
    argv = [str(PROJECT / "pipelinew"), *RELEASE, "--dist", str(folder / "dist"), "--timings", str(timings)]
    started = time.monotonic()
    succeeded(
        subprocess.run(
            argv,
            capture_output=True,
            text=True,
            check=False,
            cwd=PROJECT,
            env={**os.environ, "PIPELINE_HOME": str(home), "PIPELINE_PROJECT": str(project)},
        )
    )
    return time.monotonic() - started, json.loads(timings.read_text())


def main() -> int:
    """Measure and print; return 1 when a budget is exceeded."""
    parser = argparse.ArgumentParser(description="A cold release beside a plain shell script.")
    parser.add_argument("--rounds", type=int, default=1)
    rounds = parser.parse_args().rounds
    first = home_folder(None)
    good = True
    for number in range(1, rounds + 1):
        with tempfile.TemporaryDirectory(prefix="pipeline-benchmark-") as name:
            folder = Path(name)
            script = run_script(first, folder / "script")
            home = second_home(first, folder / "home")
            cold, _ = release(home, folder / "cold", without_packages(folder / "project"))
            whole, made = release(home, folder / "whole")
            warm, account = sorted((release(home, folder / "whole") for _ in range(REPEATS)), key=itemgetter(0))[1]
        packages = {s["title"]: s["seconds"] for s in made["steps"] if s["title"].startswith(("deb ", "rpm "))}
        longest = max(packages, key=lambda title: packages[title])
        print(f"round {number}: script {script:.1f} s, release {cold:.1f} s, ratio {cold / script:.3f}")
        print(f"  {len(packages)} packages: {whole:.1f} s in all, at most {packages[longest]:.1f} s ({longest})")
        print(f"  nothing changed: {warm:.2f} s in all (median of {REPEATS}), {account['ran']} steps ran")
        good = good and cold / script <= RATIO_BUDGET and warm < CACHED_BUDGET
        good = good and packages[longest] < PACKAGE_BUDGET
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
