"""A finished release is made again from its source: the same, or it is said which files are not."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import require_root
from tests.documents import check_statement
from tests.integration.released import PROJECT, RELEASE, pipeline, succeeded

ONLY = ("--target", "linux/amd64", "--variant", "standard")
AGAIN = ("--source", "examples/weed", "--reuse-tools")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, dist: Path) -> Path:
    """A release of one binary. `dist` has made what both have in common."""
    folder = tmp_path_factory.mktemp("reproduced")
    assert dist.is_dir()
    return Path(succeeded(pipeline(*RELEASE, *ONLY, "--dist", str(folder))).strip())


OTHER = ("unshare", "--uts", "sh", "-c", 'hostname elsewhere; umask 0077; exec taskset -c 0 "$@"', "sh")
"""Another host name and umask, and one core."""


def test_everything_comes_out_the_same_on_another_machine_and_a_statement_says_so(
    release: Path, tmp_path: Path
) -> None:
    require_root("another host name takes root")
    output = tmp_path / "result.intoto.json"
    where = ("--output", str(output), "--workspace", str(tmp_path))
    done = pipeline("reproduce", str(release), *AGAIN, *where, prefix=OTHER, TZ="Pacific/Kiritimati", LC_ALL="C")
    said = succeeded(done)
    assert "✓ build linux-amd64 standard" in done.stderr, "it must really be built again"
    assert "✓ govulncheck" in done.stderr
    stated = json.loads(output.read_text())
    check_statement(stated)
    files = {path.name for path in release.iterdir() if path.suffix not in (".asc", ".gpg")}
    assert f"{len(files)} of {len(files)} files are the same" in said
    assert stated["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert stated["predicate"]["result"] == "PASSED"
    assert stated["predicate"]["passedTests"] == sorted(f"rebuild {name}" for name in files)
    assert stated["predicate"]["failedTests"] == stated["predicate"]["warnedTests"] == []
    for subject in stated["subject"]:
        content = (release / subject["name"]).read_bytes()
        assert subject["digest"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert [path.name for path in tmp_path.iterdir()] == [output.name], "nothing is left of the fresh store"


@pytest.mark.heavy
def test_a_difference_fails_names_the_files_and_keeps_what_was_made(release: Path, tmp_path: Path) -> None:
    policy = (PROJECT / "packaging/products/example/policy.toml").read_text()
    (tmp_path / "policy.toml").write_text(policy.replace('reason = "', 'reason = "as was said before, '))
    output = tmp_path / "result.intoto.json"
    where = ("--output", str(output), "--policy", str(tmp_path / "policy.toml"))
    done = pipeline("reproduce", str(release), *AGAIN, *where)
    assert done.returncode == 10
    assert "openvex.json differs from byte" in done.stderr
    assert "diffoscope" in done.stderr
    assert "Traceback" not in done.stderr
    result = json.loads(output.read_text())["predicate"]
    assert result["result"] == "FAILED"
    assert {"rebuild openvex.json", "rebuild scan.json", "rebuild release.json"} <= set(result["failedTests"])
    assert "rebuild example-1.2.3-linux-amd64" in result["passedTests"]
    kept = release.with_name("1.2.3-rebuilt")
    assert "as was said before" in (kept / "openvex.json").read_text()
    shutil.rmtree(kept)


def test_another_source_is_refused_before_anything_is_built(release: Path, tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "examples/weed", tmp_path / "weed")
    with (tmp_path / "weed" / "main.go").open("a") as file:
        file.write("// another source\n")
    done = pipeline("reproduce", str(release), "--source", str(tmp_path / "weed"))
    assert done.returncode == 5
    assert "is not the source that the release was made from" in done.stderr
    assert "✓" not in done.stderr


def test_a_release_that_does_not_check_out_is_not_made_again(release: Path, tmp_path: Path) -> None:
    shutil.copytree(release, tmp_path / "1.2.3")
    (tmp_path / "1.2.3" / "scan.md").write_text("nothing was found")
    done = pipeline("reproduce", str(tmp_path / "1.2.3"), *AGAIN)
    assert done.returncode == 10
    assert "scan.md is not the file that SHA256SUMS lists" in done.stderr
