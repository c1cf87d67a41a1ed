"""A stage and a publisher are each a file and a line: those of docs/extending.md, added to a copy of the project."""

from __future__ import annotations

import difflib
import json
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.integration.released import PROJECT, RELEASE, pipeline, succeeded

GUIDE = (PROJECT / "docs" / "extending.md").read_text("utf-8")
WITH_A_FILE = re.compile(r"`(pipeline/\w+/\w+\.py)`[^`]*?:\n\n```python\n(\"\"\".*?)```\n", re.DOTALL)
WITH_A_LINE = re.compile(r"Add its name to `\w+` in `(pipeline/\w+/table\.py)`[^`]*?:\n\n```text\n( +[^\n]*\n)```\n")
ONE = ("--target", "linux/amd64", "--variant", "standard")


def sources(project: Path) -> dict[str, str]:
    """Return the text of every module of a project, by its path."""
    return {str(path.relative_to(project)): path.read_text("utf-8") for path in (project / "pipeline").rglob("*.py")}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of this project with what the guide adds, and an example that has the new stage alone."""
    copy = tmp_path / "project"
    for folder in ("packaging", "pipeline"):
        shutil.copytree(PROJECT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    added = dict(WITH_A_FILE.findall(GUIDE))
    lines = dict(WITH_A_LINE.findall(GUIDE))
    assert sorted(added) == ["pipeline/publish/tar.py", "pipeline/stages/sizes.py"]
    assert sorted(lines) == ["pipeline/publish/table.py", "pipeline/stages/table.py"]
    before = sources(copy)
    for path, text in added.items():
        assert path not in before
        (copy / path).write_text(text, "utf-8")
    for path, line in lines.items():
        (copy / path).write_text(before[path].replace("\n)", f"\n{line})", 1), "utf-8")
    after = sources(copy)
    assert after.keys() - before.keys() == set(added)
    changed = [line for path, text in before.items() for line in difference(text, after[path])]
    assert sorted(changed) == sorted(f"+ {line}" for line in lines.values())
    product = copy / "packaging" / "products" / "example" / "product.toml"
    product.write_text(re.sub(r"(?m)^stages = .*$", 'stages = ["sizes"]', product.read_text("utf-8")), "utf-8")
    return copy


def difference(old: str, new: str) -> list[str]:
    if old == new:
        return []
    compared = difflib.ndiff(old.splitlines(keepends=True), new.splitlines(keepends=True))
    return [line for line in compared if not line.startswith("  ")]


@pytest.mark.usefixtures("dist")
def test_a_stage_and_a_publisher_are_each_a_file_and_a_line(project: Path, tmp_path: Path) -> None:
    (tmp_path / "archives").mkdir()
    release = [*RELEASE, *ONE, "--require-openssl-fips", "--dist", str(tmp_path / "dist")]
    release[release.index("examples/weed")] = str(PROJECT / "examples" / "weed")
    release += ["--publish", f"tar:{tmp_path / 'archives'}"]
    made, archive = (Path(line) for line in succeeded(pipeline(*release, project=project)).splitlines())
    assert (made, archive) == (tmp_path / "dist" / "1.2.3", tmp_path / "archives" / "1.2.3.tar")
    succeeded(pipeline("verify", str(made)))
    name = "example-1.2.3-linux-amd64"
    assert (made / "sizes.txt").read_text() == f"{(made / name).stat().st_size} {name}\n"
    listed = {entry["name"]: entry for entry in json.loads((made / "release.json").read_text())["artifacts"]}
    about = listed["sizes.txt"]
    assert (about["kind"], about["media_type"], about["step_title"]) == ("report", "text/plain", "sizes")
    assert set(listed) == {name, f"{name}.proof.json", "openssl-fips.json", "release-notes.md", "sizes.txt"}
    with tarfile.open(archive) as held:
        assert sorted(held.getnames()) == sorted(path.name for path in made.iterdir())
        sizes = held.extractfile("sizes.txt")
        assert sizes is not None
        assert sizes.read() == (made / "sizes.txt").read_bytes()

    stamp = archive.stat().st_mtime_ns
    again = pipeline(*release, "-v", project=project)
    assert succeeded(again).splitlines() == [str(made), str(archive)]
    assert f"{archive}: 0 files put" in again.stderr
    assert archive.stat().st_mtime_ns == stamp

    refused = pipeline(*release[:-1], f"tar:{tmp_path / 'nowhere'}", project=project)
    assert refused.returncode == 13
    assert f"{tmp_path / 'nowhere'} is not a folder" in refused.stderr
    assert "sizes" not in refused.stderr, "asked before the build"


def test_a_product_with_a_stage_that_does_not_exist_is_told_so(project: Path) -> None:
    product = project / "packaging" / "products" / "example" / "product.toml"
    product.write_text(product.read_text("utf-8").replace('"sizes"', '"size"'), "utf-8")
    release = [*RELEASE]
    release[release.index("examples/weed")] = str(PROJECT / "examples" / "weed")
    refused = pipeline(*release, project=project)
    assert refused.returncode == 4
    assert "stages[0]: there is no stage 'size' to choose; did you mean `sizes`?" in refused.stderr
