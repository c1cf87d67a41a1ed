"""Looking at a run: the plan after a release, and the shell that a failure names."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.integration.released import PROJECT, RELEASE, pipeline, succeeded

ONE = ("--target", "linux/amd64", "--variant", "standard")


@pytest.mark.usefixtures("dist")
def test_after_a_release_nothing_will_run(tmp_path: Path) -> None:
    succeeded(pipeline(*RELEASE, "--dist", str(tmp_path)))
    rows = json.loads(succeeded(pipeline("plan", *RELEASE[1:], "--json")))
    assert len(rows) > 50
    assert [row["title"] for row in rows if row["state"] == "will run"] == []
    assert {"cached"} <= {row["state"] for row in rows} <= {"cached", "not needed"}


def test_the_command_that_a_failure_names_opens_that_step(tmp_path: Path) -> None:
    source = tmp_path / "it's broken"
    shutil.copytree(PROJECT / "examples" / "weed", source)
    (source / "broken.go").write_text("package main\n\nthis is no Go\n")
    arguments = [str(source) if argument == "examples/weed" else argument for argument in RELEASE[1:]]
    done = pipeline("build", *arguments, *ONE, "--dist", str(tmp_path), PIPELINE_PROGRAM="./pipelinew")
    assert done.returncode == 7
    assert "broken.go:3" in done.stderr
    named = re.search(r"`\./pipelinew (shell .*)` for a shell in exactly this step", done.stderr)
    assert named, done.stderr
    said = succeeded(pipeline(*shlex.split(named.group(1)), "--command", "tail -n 1 /in/source/broken.go; pwd"))
    assert said.endswith("this is no Go\n/work\n")


def test_a_shell_can_be_had_in_a_step_that_signs() -> None:
    said = succeeded(pipeline("shell", *RELEASE[1:], "sign", "--command", "ls /run/secrets; ls -R /in"))
    assert "signing-key" in said
    assert "release.json" in said
