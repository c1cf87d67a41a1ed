"""Go toolchains of a module mirror and a checksum database on loopback: locking them, and looking one up."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.host.folders import home_folder
from pipeline.images.toolchains import LOCK, load_toolchains
from tests.conftest import require_tool
from tests.integration.module_mirror import Mirror, served
from tests.integration.released import own_packaging, pipeline, succeeded

VERSIONS = ("1.19.13", "1.21.0", "1.21.9", "1.21.13", "1.22.1", "1.23rc1")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of its own with the roots that this machine has or makes for everybody."""
    for tool in ("bwrap", "mmdebstrap", "gpg"):
        require_tool(tool)
    succeeded(pipeline("images", "build", "debian"))
    folder = tmp_path_factory.mktemp("home")
    (folder / "images").symlink_to(home_folder(None) / "images")
    return folder


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with served(Mirror(VERSIONS)) as one:
        yield one


@pytest.fixture
def variables(mirror: Mirror, home: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a project of its own whose lock is empty, and whose go commands know only the mirror."""
    own_packaging(tmp_path)
    (tmp_path / "packaging" / LOCK).unlink()
    around = dict.fromkeys((name for name in os.environ if name.lower().endswith("_proxy")), "")
    own = {"GOPROXY": mirror.url, "GOSUMDB": mirror.sumdb, "GONOSUMDB": "", "GOFLAGS": "", "GOPRIVATE": ""}
    return {**around, **own, "PIPELINE_HOME": str(home), "PIPELINE_PROJECT": str(tmp_path)}


def run(variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return pipeline(*arguments, **variables)  # type: ignore[arg-type]


def locked(variables: dict[str, str]) -> list[tuple[str, str]]:
    path = Path(variables["PIPELINE_PROJECT"]) / "packaging" / LOCK
    return [(entry.version, entry.sum) for entry in load_toolchains(path).entries]


def test_the_newest_patch_of_each_minor_version_is_locked_and_only_new_ones_are_downloaded(
    mirror: Mirror, variables: dict[str, str]
) -> None:
    said = succeeded(run(variables, "toolchains", "lock"))
    assert "+ go 1.21.13" in said
    assert locked(variables) == [(version, mirror.sum(version)) for version in ("1.21.13", "1.22.1")]
    assert run(variables, "toolchains", "lock", "--check").returncode == 0
    mirror.add("1.22.2")
    mirror.asked.clear()
    stale = run(variables, "toolchains", "lock", "--check")
    assert stale.returncode == 6
    assert "- go 1.22.1\n  + go 1.22.2" in stale.stderr
    succeeded(run(variables, "toolchains", "lock"))
    assert locked(variables) == [(version, mirror.sum(version)) for version in ("1.21.13", "1.22.2")]
    assert {path.rpartition("/")[2] for path in mirror.asked if path.endswith(".zip")} == {
        "v0.0.1-go1.22.2.linux-amd64.zip"
    }


def test_a_toolchain_that_the_checksum_database_does_not_confirm_is_not_locked(
    mirror: Mirror, variables: dict[str, str]
) -> None:
    mirror.forged.add("1.22.1")
    failed = run(variables, "toolchains", "lock")
    assert failed.returncode == 7
    assert "v0.0.1-go1.22.1.linux-amd64" in failed.stderr
    assert "checksum mismatch" in failed.stderr
    assert not locked(variables)


def planned(source: Path, variables: dict[str, str], *more: str) -> tuple[int, str, str]:
    """Return (exit code, what was printed, what was said) of a plan of the example with another source."""
    command = ("plan", "--product", "example", "--tag", "v1.2.3", "--source", str(source), "--commit", "1" * 40)
    done = run(variables, *command, *more)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "go.mod").write_text("module example.org/weed\n\ngo 1.20\n\ntoolchain go1.21.4\n")
    return folder


def test_a_toolchain_that_is_not_locked_is_looked_up_with_a_warning_and_refused_under_locked(
    source: Path, variables: dict[str, str]
) -> None:
    code, printed, said = planned(source, variables)
    assert code == 0, said
    why = "go.mod says `toolchain go1.21.4`; it is not in toolchains.lock, and the module mirror has 1.21.13"
    assert printed.splitlines()[0] == f"compiled by Go 1.21.13: {why}"
    assert f"warning: Go 1.21.13: {why}" in said
    assert "fetch Go 1.21.13" in printed
    code, printed, said = planned(source, variables, "--locked")
    assert (code, printed) == (6, "")
    assert "toolchains.lock has no Go 1.21, and --locked forbids looking it up" in said
    succeeded(run(variables, "toolchains", "lock"))
    code, printed, said = planned(source, variables, "--locked")
    assert code == 0, said
    assert printed.startswith("compiled by Go 1.21.13: go.mod says `toolchain go1.21.4`; toolchains.lock has 1.21.13\n")


def test_go_s_own_fips_module_is_refused_for_an_older_source_and_boringcrypto_is_not(
    source: Path, variables: dict[str, str]
) -> None:
    succeeded(run(variables, "toolchains", "lock"))
    code, printed, said = planned(source, variables, "--fips-module", "go")
    assert (code, printed) == (5, "")
    assert "Go's own FIPS module needs Go 1.24 or newer, and this source is compiled by Go 1.21.13" in said
    assert planned(source, variables, "--fips-module", "go", "--variant", "standard")[0] == 0
    code, printed, _ = planned(source, variables, "--json")
    assert code == 0
    assert any(row["title"] == "ask the FIPS module linux-amd64 fips" for row in json.loads(printed))


def test_what_is_too_new_for_its_product_s_toolchain_is_refused(source: Path, variables: dict[str, str]) -> None:
    product = Path(variables["PIPELINE_PROJECT"]) / "packaging" / "products" / "example" / "product.toml"
    text = product.read_text()
    product.write_text(text.replace("[build]\n", '[build]\ntoolchains = [{ value = "1.22", versions = "<2.0" }]\n'))
    code, printed, said = planned(source, variables)
    assert code == 0, said
    assert printed.startswith("compiled by Go 1.22.1: product.toml names 1.22 for <2.0; it is not in toolchains.lock")
    (source / "go.mod").write_text("module example.org/weed\n\ngo 1.23.0\n")
    code, _, said = planned(source, variables)
    assert code == 5
    assert "go.mod needs Go 1.23.0 or newer, and the toolchain of this release is Go 1.22.1" in said
