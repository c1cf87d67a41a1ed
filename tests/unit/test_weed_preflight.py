"""What the package checks before it is unpacked: the maintainer scripts' own shell, run on a host below a folder."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from weedops.errors import ConfigError
from weedops.paths import Paths
from weedops.settings import DEFAULTS, HIDDEN, read_settings

from tests.conftest import require_tool

MAINTAINER = Path(__file__).resolve().parents[2] / "packaging/products/seaweedfs/maintainer"


def preflight(root: Path, *, version: str = "4.44", fips: str = "false", free: int = 10**7) -> tuple[int, str]:
    """Run the checks on the host below `root`, with `free` kB of space; return exit code and what was said."""
    text = "".join((MAINTAINER / name).read_text() for name in ("facts.sh", "settings.sh", "preflight.sh"))
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


def test_it_knows_the_keys_that_the_release_knows_and_no_others(root: Path) -> None:
    listed = re.findall(r'(?:number|text)\("([^"]+)"', (MAINTAINER / "settings.sh").read_text())
    assert sorted(key for keys in listed for key in keys.split()) == sorted(DEFAULTS)
    conf(root, "".join(f"{key}={value}\n" for key, value in DEFAULTS.items()))
    assert preflight(root) == (0, "")


def test_it_knows_where_no_data_can_be() -> None:
    listed = (MAINTAINER / "settings.sh").read_text().partition('places = split("')[2].partition('"')[0]
    assert [f"/{place}" for place in listed.split()] == list(HIDDEN)


def test_an_empty_host_and_one_with_the_shipped_configuration_pass(root: Path) -> None:
    assert preflight(root) == (0, "")
    conf(root, (MAINTAINER.parent / "config/weed.conf").read_text())
    assert preflight(root) == (0, "")


REFUSED = {
    "MASTER_INSTANCES=two\n": "MASTER_INSTANCES is 'two', not a number from 0 to 99",
    "S3_INSTANCES = many\n": "S3_INSTANCES is 'many', not a number",
    "S3_INSTANCES='100'\n": "S3_INSTANCES is 100; at most 99",
    "S3_INSTANCES=02\n": "S3_INSTANCES is '02', not a number",
    "S3_INSTANCES=\n": "S3_INSTANCES is '', not a number",
    "FILER_PORT=60000\n": "FILER_PORT is 60000; at most 55535",
    "FILER_PORT=0\n": "FILER_PORT is 0; at least 1",
    "VOLUME_MAX=99999999999\n": "VOLUME_MAX is 99999999999; at most 1000000",
    "S3_METRICS_PORT=99999\n": "S3_METRICS_PORT is 99999; at most 65535",
    "S3_METRICS_PORT=65500\n": "s3-2 (metrics) would listen on port 65600: choose a lower S3_METRICS_PORT",
    "S3_PORT=55535\n": "s3-2 (grpc) would listen on port 65536: choose a lower S3_PORT",
    "FILER_PORT=9333\n": "master-1 (http) and filer-1 (http) would both listen on port 9333",
    "S3_PROXY_PORT=8334\n": "HAProxy (S3_PROXY_PORT) and s3-2 (http) would both listen on port 8334",
    "S3_PROXY_PORT=8334\nS3_PROXY_ADDRESS=0.0.0.0\n": "HAProxy (S3_PROXY_PORT) and s3-2 (http)",
    "ADDRESS=a b\n": "ADDRESS is 'a b', not a host name or an address",
    "ADDRESS=\n": "ADDRESS is '', not a host name",
    "BIND_ADDRESS=-x\n": "BIND_ADDRESS is '-x', not a host name",
    "MASTER_PEERS=a:1, b\n": "MASTER_PEERS has 'b', which is not host:port",
    "FILER_PEERS=a:100000\n": "FILER_PEERS has 'a:100000'",
    "FILER_DATA_DIR=srv\n": "FILER_DATA_DIR is 'srv', not an absolute path",
    "VOLUME_DATA_DIRS=/a-%i,b\n": "VOLUME_DATA_DIRS is '/a-%i,b'",
    "FILER_DATA_DIR=/srv/../home/x-%i\n": "filer-1: /home/x-1 is below /home, where no data can be",
    "FILER_DATA_DIR=/srv/weed\n": "filer-1 has its data in /srv/weed and filer-2 in /srv/weed",
    "VOLUME_DATA_DIRS=/srv/%i, /srv/./%i/b/\n": "volume-1 has its data in /srv/1 and volume-1 in /srv/1/b",
    "REPLICATION=01\n": "REPLICATION is '01', not three digits",
    "RACK=r 1\n": "RACK is 'r 1', not letters",
    "S3_PROXY_TLS_CERT=cert.pem\n": "S3_PROXY_TLS_CERT is 'cert.pem', not an absolute path",
    "FIPS_ENABLED=yes\n": "FIPS_ENABLED is 'yes', not true or false",
    'FIPS_ENABLED="\n': "FIPS_ENABLED is '\"', not true or false",
    "nonsense\n": "the line 'nonsense' is not KEY=VALUE",
    "# x=1\n RAKC=r1\n": "4.44 does not know: RAKC",
    "=1\n": "4.44 does not know: ",
}
"""What the servers would not start with, and what is said of it."""

ALLOWED = (
    "S3_INSTANCES=100\nS3_INSTANCES=3\n",
    " S3_INSTANCES\t=  '3'  \r\n",
    "; a comment\n\n   # another = one\n",
    "FIPS_ENABLED=FALSE\n",
    "ADDRESS=host-1.example\nBIND_ADDRESS=[::]\nS3_PROXY_PORT=0\n",
    "ADDRESS=fe80::1\nMASTER_PEERS=[fe80::2]:9333, fe80::3:9333 ,, b:1\n",
    "S3_PROXY_PORT=8334\nS3_PROXY_ADDRESS=192.0.2.1\n",
    "S3_PROXY_PORT=8888\nS3_INSTANCES=0\nFILER_INSTANCES=0\n",
    "S3_METRICS_PORT=0\nS3_PORT=9327\n",
    "S3_PORT=55534\nS3_METRICS_PORT=65400\n",
    "S3_INSTANCES=1\nS3_PORT=55535\n",
    "VOLUME_DATA_DIRS=/srv/a-%i, /srv/b-%i\nFILER_DATA_DIR=/homes/%i\nMASTER_DATA_DIR='/srv/m-%i/'\n",
    "FILER_INSTANCES=1\nFILER_DATA_DIR=/srv/weed\n",
    "FILER_INSTANCES=0\nFILER_DATA_DIR=/tmp\nFILER_PORT=9333\n",
    "REPLICATION=001\nRACK=\nDATA_CENTER=dc.1\nS3_PROXY_TLS_CERT=/etc/ssl/x.pem\n",
)


def starts(root: Path) -> bool:
    """Whether the launcher of this release takes the host's weed.conf."""
    try:
        read_settings(Paths(str(root)))
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize(("text", "says"), REFUSED.items())
def test_a_configuration_that_could_not_start_is_refused(root: Path, text: str, says: str) -> None:
    conf(root, text)
    assert not starts(root), "the launcher refuses it as well"
    code, said = preflight(root)
    assert code == 1
    assert says in said
    assert "nothing was changed" in said


@pytest.mark.parametrize("text", ALLOWED)
def test_a_configuration_that_the_launcher_takes_is_no_reason_to_refuse(root: Path, text: str) -> None:
    conf(root, text)
    assert starts(root)
    assert preflight(root) == (0, "")


@pytest.mark.parametrize("name", ["gawk", "mawk", "busybox"])
def test_every_awk_comes_to_the_same(root: Path, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Debian has mawk, Oracle Linux gawk; busybox has nothing but the standard."""
    program = require_tool(name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/awk").symlink_to(program)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    for text, says in REFUSED.items():
        conf(root, text)
        assert says in preflight(root)[1]
    for text in ALLOWED:
        conf(root, text)
        assert preflight(root) == (0, "")


@pytest.mark.parametrize(
    "text", ["FIPS_ENABLED=true", "FIPS_ENABLED=TRUE", "FIPS_ENABLED = true", "FIPS_ENABLED='True'"]
)
def test_the_standard_flavour_is_refused_where_fips_is_asked_for(root: Path, text: str) -> None:
    conf(root, f"{text}\n")
    code, said = preflight(root)
    assert code == 1
    assert "not that flavour" in said
    assert preflight(root, fips="true") == (0, "")


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
