"""Two builds of one tag are the same, bit for bit but for signatures, however different the machines are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.integration.released import PROJECT, RELEASE, contents, pipeline, second_home, succeeded


@pytest.mark.heavy
def test_a_release_is_the_same_in_another_place_time_zone_locale_umask_and_on_one_core(
    dist: Path, tmp_path: Path
) -> None:
    first = Path(json.loads(succeeded(pipeline("cache", "show", "--json")))["home"])
    home = second_home(first, tmp_path / "another place")
    source = tmp_path / "elsewhere"
    shutil.copytree(PROJECT / "examples" / "weed", source)
    arguments = [str(source) if argument == "examples/weed" else argument for argument in RELEASE]
    prefix = ("unshare", "--uts", "sh", "-c", 'hostname elsewhere; umask 0077; exec taskset -c 0 "$@"', "sh")
    done = pipeline(
        *arguments,
        "--dist",
        str(tmp_path / "second"),
        "--jobs",
        "1",
        "--no-build-cache",
        prefix=prefix,
        PIPELINE_HOME=str(home),
        TZ="Pacific/Kiritimati",
        LC_ALL="C",
        HOME=str(tmp_path),
    )
    succeeded(done)
    built = [line for line in done.stderr.splitlines() if "✓ build linux" in line]
    assert len(built) == 4, "the second release must really build"
    assert contents(tmp_path / "second" / "1.2.3") == contents(dist)


def test_a_release_of_binaries_from_two_machines_is_the_same(dist: Path, tmp_path: Path) -> None:
    what = RELEASE[1:]
    legs = []
    for target in ("linux/amd64", "linux/arm64"):
        leg = tmp_path / target.replace("/", "-")
        built = Path(succeeded(pipeline("build", *what, "--target", target, "--dist", str(leg))).strip())
        for file in built.iterdir():
            file.chmod(0o644)  # as services that carry artifacts from job to job do
        legs += ["--from", str(built)]
    succeeded(pipeline(*RELEASE, *legs, "--dist", str(tmp_path / "dist")))
    assert contents(tmp_path / "dist" / "1.2.3") == contents(dist)
