"""Two builds of one tag are the same, bit for bit but for signatures, however different the machines are."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path

import pytest

from tests.integration.released import DAY, PROJECT, RELEASE, contents, pipeline, second_home, succeeded


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


def test_a_release_of_binaries_from_two_machines_on_another_day_is_the_same(dist: Path, tmp_path: Path) -> None:
    what = RELEASE[1:]
    legs = []
    for target in ("linux/amd64", "linux/arm64"):
        leg = tmp_path / target.replace("/", "-")
        built = Path(succeeded(pipeline("build", *what, "--target", target, "--dist", str(leg))).strip())
        for file in built.iterdir():
            file.chmod(0o644)  # as services that carry artifacts from job to job do
        legs += ["--from", str(built)]
    planned = json.loads(succeeded(pipeline("plan", *what, *legs, "--json")))
    assert {row["title"].split(" ")[0] for row in planned if row["state"] == "prebuilt"} == {"build"}
    tomorrow = (dt.date.fromisoformat(DAY) + dt.timedelta(days=1)).isoformat()
    done = pipeline(*RELEASE, *legs, "--dist", str(tmp_path / "dist"), day=tomorrow)
    succeeded(done)
    assert "✓ build linux" not in done.stderr
    before, after = contents(dist), contents(tmp_path / "dist" / "1.2.3")
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {name for name in before if name.endswith(".vulns.intoto.json")}, "they say on which day it was"


def test_what_follows_from_another_machines_binary_is_kept_for_no_release_without_it(
    dist: Path, tmp_path: Path
) -> None:
    name = "example-1.2.3-linux-amd64"
    planted = (dist / name).read_bytes() + b"\0"
    (tmp_path / "leg").mkdir()
    (tmp_path / "leg" / name).write_bytes(planted)
    what = ("sbom", *RELEASE[1:], "--target", "linux/amd64", "--variant", "standard")
    foreign = Path(succeeded(pipeline(*what, "--from", str(tmp_path / "leg"), "--dist", str(tmp_path / "1"))).strip())
    assert (foreign / name).read_bytes() == planted
    own = Path(succeeded(pipeline(*what, "--dist", str(tmp_path / "2"))).strip())
    before, planted_files, after = contents(dist), contents(foreign), contents(own)
    assert {file: before[file] for file in after} == after
    assert {file for file in after if after[file] != planted_files[file]} >= {name, f"{name}.cdx.json"}


def test_another_releases_binary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "example-1.2.4-linux-amd64").touch()
    done = pipeline("build", *RELEASE[1:], "--from", str(tmp_path), "--dist", str(tmp_path / "dist"))
    assert done.returncode == 2
    assert "--from brings what this release does not make: example-1.2.4-linux-amd64" in done.stderr
