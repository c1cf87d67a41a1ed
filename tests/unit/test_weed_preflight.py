"""What the package checks before it is unpacked: the maintainer scripts' own shell, run on a host below a folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from weedops.settings import DEFAULTS

from tests.conftest import require_tool

MAINTAINER = Path(__file__).resolve().parents[2] / "packaging/products/seaweedfs/maintainer"


def preflight(root: Path, *, version: str = "4.44", fips: str = "false", free: int = 10**7) -> tuple[int, str]:
    """Run the checks on the host below `root`, with `free` kB of space; return exit code and what was said."""
    text = "".join((MAINTAINER / name).read_text() for name in ("facts.sh", "preflight.sh"))
    for folder in ("/etc/", "/run/"):
        text = text.replace(f" {folder}", f" {root}{folder}")
    text = text.replace("/opt/weed/release", f"{root}/opt/weed/release")
    setting = f"package=seaweedfs version={version} variant=standard fips={fips}\n"
    df = f'df() {{ printf "h\\n/dev/x 1 1 {free} 1%% /\\n"; }}\n'
    done = subprocess.run(
        ["/bin/sh", "-eu"], input=setting + df + text + "\npreflight\n", capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("etc/default/weed", "etc/weed", "opt/weed", "run"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def conf(root: Path, text: str) -> None:
    (root / "etc/default/weed/weed.conf").write_text(text)


def test_it_knows_the_keys_that_the_release_knows() -> None:
    text = (MAINTAINER / "preflight.sh").read_text()
    listed = text.partition('known_keys="')[2].partition('"')[0].split()
    assert listed == list(DEFAULTS)


def test_an_empty_host_and_one_with_the_shipped_configuration_pass(root: Path) -> None:
    assert preflight(root) == (0, "")
    conf(root, (MAINTAINER.parent / "config/weed.conf").read_text())
    assert preflight(root) == (0, "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("MASTER_INSTANCES=two\n", "MASTER_INSTANCES is 'two', which is no number"),
        ("S3_INSTANCES='100'\n", "S3_INSTANCES is 100; at most 99"),
        ("FILER_PORT=60000\n", "FILER_PORT is 60000; at most 55535"),
        ("FIPS_ENABLED=true\n", "not that flavour"),
        ("# x=1\n RAKC=r1\n", "4.44 does not know: RAKC"),
    ],
)
def test_a_configuration_that_could_not_start_is_refused(root: Path, text: str, says: str) -> None:
    conf(root, text)
    code, said = preflight(root)
    assert code == 1
    assert says in said
    assert "nothing was changed" in said


def test_all_reasons_are_named_at_once(root: Path) -> None:
    conf(root, "RAKC=r1\nS3_INSTANCES=100\n")
    said = preflight(root, free=1000)[1]
    assert "RAKC" in said
    assert "S3_INSTANCES" in said
    assert "/opt has 0 MB free" in said


def test_going_back_over_a_major_release_has_to_be_asked_for(root: Path) -> None:
    (root / "opt/weed/release").write_text("PRODUCT=seaweedfs\nVERSION=4.44\nVARIANT=standard\nCOMMIT=x\n")
    code, said = preflight(root, version="3.97")
    assert code == 1
    assert "allow-downgrade" in said
    assert preflight(root, version="4.43") == (0, "")
    (root / "etc/weed/allow-downgrade").touch()
    assert preflight(root, version="3.97") == (0, "")


def test_the_fips_flavour_may_come_where_fips_is_asked_for(root: Path) -> None:
    conf(root, "FIPS_ENABLED=true\n")
    assert preflight(root, fips="true") == (0, "")


@pytest.mark.parametrize("name", ["healthcheck.sh", "weed"])
def test_shell_scripts_are_clean(name: str) -> None:
    program = require_tool("shellcheck")
    done = subprocess.run(
        [program, str(MAINTAINER.parent / "scripts" / name)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_maintainer_shell_is_clean() -> None:
    program = require_tool("shellcheck")
    files = sorted(MAINTAINER.glob("*.sh"))
    text = "#!/bin/sh\npackage=x version=1 variant=y fips=false\n" + "".join(file.read_text() for file in files)
    # SC2034: what only the templates around it use. SC2317: functions that only they call.
    argv = [program, "--exclude=SC2034,SC2317", "-"]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
