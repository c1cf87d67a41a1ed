"""The command line of weed: every flag exists in the release that it is for."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from weedops.errors import ConfigError
from weedops.flags import Inputs, check_options, command, fixed
from weedops.options import read_options
from weedops.paths import Installed, Paths
from weedops.settings import ROLES, check_settings

from tests.unit.weed_host import Host

FLAGS = tomllib.loads((Path(__file__).resolve().parents[1] / "data/weed_flags.toml").read_text())
"""The flags that each tag of SeaweedFS really has; the file says where they were read."""

EVERYTHING = {"DATA_CENTER": "dc1", "RACK": "r1", "MASTER_INSTANCES": "3", "VOLUME_DATA_DIRS": "/srv/a-%i,/srv/b-%i"}


def inputs(version: str, role: str, *, product: str = "seaweedfs", **given: str) -> Inputs:
    settings = check_settings(given, "weed.conf")
    installed = Installed(product, version, "standard", "abc")
    identities = "/etc/weed/s3.json" if role == "s3" else ""
    return Inputs(settings.at(role, 1), installed, settings, Paths("/"), identities, {})


@pytest.mark.parametrize("version", list(FLAGS))
@pytest.mark.parametrize("role", ROLES)
def test_every_flag_exists_at_the_tag(version: str, role: str) -> None:
    known = set(FLAGS[version][role].split())
    chosen = [name for name, _ in fixed(inputs(version, role, **EVERYTHING))]
    assert set(chosen) <= known
    assert len(chosen) == len(set(chosen)) >= 5


@pytest.mark.parametrize(
    ("version", "master", "telemetry", "iceberg", "lance"),
    [
        ("3.68", "mserver", False, False, False),
        ("3.80", "mserver", False, False, False),
        ("3.93", "mserver", True, False, False),
        ("4.00", "master", True, False, False),
        ("4.18", "master", True, True, False),
        ("4.44", "master", True, True, True),
    ],
)
def test_what_differs_between_releases(version: str, master: str, telemetry: bool, iceberg: bool, lance: bool) -> None:
    volume, s3 = dict(fixed(inputs(version, "volume"))), dict(fixed(inputs(version, "s3")))
    assert volume[master] == "127.0.0.1:9333,127.0.0.1:9334"
    assert not {"master", "mserver"} - {master} & set(volume)
    assert dict(fixed(inputs(version, "master"))).get("telemetry") == ("false" if telemetry else None)
    assert s3.get("port.iceberg") == ("0" if iceberg else None)
    assert s3.get("port.lance") == ("0" if lance else None)
    # What opens a port unless it is 0 must be closed in every release that has it.
    assert ("port.iceberg" in FLAGS[version]["s3"].split()) == iceberg
    assert ("port.lance" in FLAGS[version]["s3"].split()) == lance
    assert ("telemetry" in FLAGS[version]["master"].split()) == telemetry


def test_an_s3_server_of_a_release_that_takes_one_filer_gets_its_own() -> None:
    settings = check_settings({}, "weed.conf")
    old = Installed("seaweedfs", "4.00", "standard", "abc")
    second = Inputs(settings.at("s3", 2), old, settings, Paths("/"), "", {})
    assert dict(fixed(second))["filer"] == "127.0.0.1:8889"
    assert dict(fixed(inputs("4.01", "s3")))["filer"] == "127.0.0.1:8888,127.0.0.1:8889"


def test_a_product_that_stands_in_has_the_newest_flags() -> None:
    assert fixed(inputs("1.2.3", "volume", product="example")) == fixed(inputs("4.44", "volume"))


def test_the_whole_command_line() -> None:
    assert command(inputs("4.44", "master")) == [
        "/opt/weed/weed",
        "-logtostderr=true",
        "-config_dir=/run/weed/master-1/config",
        "master",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-port=9333",
        "-mdir=/var/lib/weed/master-1",
        "-peers=127.0.0.1:9333,127.0.0.1:9334,127.0.0.1:9335",
        "-volumeSizeLimitMB=30000",
        "-defaultReplication=000",
        "-telemetry=false",
        "-metricsPort=9324",
    ]


def test_a_single_master_has_no_peers() -> None:
    assert "peers" not in dict(fixed(inputs("4.44", "master", MASTER_INSTANCES="1")))


@pytest.mark.parametrize(
    ("role", "given", "says"),
    [
        ("volume", {"MASTER_INSTANCES": "0"}, "no master to report to"),
        ("filer", {"MASTER_INSTANCES": "0"}, "MASTER_PEERS"),
        ("s3", {"FILER_INSTANCES": "0"}, "FILER_PEERS"),
        ("master", {"VOLUME_SIZE_LIMIT_MB": "30001"}, "only the large_disk variant"),
    ],
)
def test_settings_that_cannot_work_are_refused(role: str, given: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fixed(inputs("4.44", role, **given))
    assert says in str(caught.value)


def test_a_binary_for_large_disks_has_larger_volumes() -> None:
    large = Installed("seaweedfs", "4.44", "large_disk-fips", "abc")
    asked = inputs("4.44", "master", VOLUME_SIZE_LIMIT_MB="100000")._replace(installed=large)
    assert dict(fixed(asked))["volumeSizeLimitMB"] == "100000"


def optioned(tmp_path: Path, role: str, text: str, version: str = "4.44") -> Inputs:
    """A host with an options file, and a binary whose help lists the flags of `version` as Go's flag package does."""
    host = Host(tmp_path, version)
    lines = "".join(f"  -{name} string\n    \tusage of -{name}\n" for name in FLAGS[version][role].split())
    host.binary(f"echo 'Usage: weed {role}'\ncat >&2 <<'END'\nDefault Parameters:\n{lines}END\n")
    host.write(f"etc/weed/{role}.options", text)
    settings = check_settings({}, "weed.conf")
    options = read_options(host.paths, settings.at(role, 1))
    return Inputs(settings.at(role, 1), host.installed, settings, host.paths, "", options)


def test_an_option_is_added_and_a_choice_of_ours_can_be_replaced(tmp_path: Path) -> None:
    asked = optioned(tmp_path, "s3", "# comment\n\nport.lance = 9101\n-domainName=s3.example.org\nv=2\n")
    check_options(asked, "s3.options")
    argv = command(asked)
    assert argv[3:5] == ["-v=2", "s3"]
    assert "-port.lance=9101" in argv
    assert "-port.lance=0" not in argv
    assert "-domainName=s3.example.org" in argv


@pytest.mark.parametrize(
    ("role", "text", "says"),
    [
        ("volume", "minFreeSpac=5", "did you mean minFreeSpace?"),
        ("volume", "port=1", "VOLUME_PORT of weed.conf sets it"),
        ("volume", "dir=/srv", "VOLUME_DATA_DIRS of weed.conf sets it"),
        ("volume", "mserver=other:9333", "MASTER_PEERS of weed.conf set it"),
        ("master", "port.grpc=1", "it is always the HTTP port + 10000"),
        ("master", "options=/etc/other", "this file is it"),
        ("filer", "disableHttp=true", "asked over HTTP"),
        ("filer", "s3=true", "S3_INSTANCES"),
        ("s3", "config=/etc/s3.json", "/etc/weed/s3.json is it"),
    ],
)
def test_an_option_that_cannot_work_is_refused_with_the_reason(tmp_path: Path, role: str, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_options(optioned(tmp_path, role, text), f"/etc/weed/{role}.options")
    assert says in str(caught.value)
    assert f"/etc/weed/{role}.options" in str(caught.value)


def test_an_option_of_a_later_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"weed s3 4\.18 has no flag port\.lance"):
        check_options(optioned(tmp_path, "s3", "port.lance=9101", "4.18"), "s3.options")


@pytest.mark.parametrize("text", ["minFreeSpace 5", "=5", "a b=1"])
def test_a_line_that_is_no_flag_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"line 1: .* is not flag=value"):
        optioned(tmp_path, "volume", text)


def test_a_flag_is_there_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 2: max appears twice"):
        optioned(tmp_path, "volume", "max=1\nmax=2")
