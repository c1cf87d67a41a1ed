"""weed.conf: what is read from it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from weedops.errors import ConfigError, UsageError
from weedops.paths import Installed, Paths, read_installed, read_pairs
from weedops.settings import DEFAULTS, check_settings, read_settings

SHIPPED = Path(__file__).resolve().parents[2] / "packaging/products/seaweedfs/config/weed.conf"


def test_the_shipped_file_has_every_key_and_its_default() -> None:
    assert read_pairs(str(SHIPPED)) == DEFAULTS


def test_two_masters_get_a_third_seat_that_nobody_takes() -> None:
    settings = check_settings({"MASTER_INSTANCES": "2"}, "weed.conf")
    assert settings.masters == ["127.0.0.1:9333", "127.0.0.1:9334"]
    assert settings.seats == ["127.0.0.1:9333", "127.0.0.1:9334", "127.0.0.1:9335"]


def test_a_reserved_seat_does_not_take_a_peers_place() -> None:
    settings = check_settings({"MASTER_INSTANCES": "1", "MASTER_PEERS": "127.0.0.1:9334"}, "weed.conf")
    assert settings.seats == ["127.0.0.1:9333", "127.0.0.1:9334", "127.0.0.1:9335"]


@pytest.mark.parametrize("instances", ["1", "3"])
def test_an_odd_number_of_masters_is_left_alone(instances: str) -> None:
    settings = check_settings({"MASTER_INSTANCES": instances}, "weed.conf")
    assert settings.seats == settings.masters


def test_instances_have_their_own_ports_and_data() -> None:
    settings = check_settings({"VOLUME_DATA_DIRS": "/srv/a-%i, /srv/b-%i"}, "weed.conf")
    second = settings.find("volume", "2")
    assert second.ports == {"http": 8081, "grpc": 18081, "metrics": 9425}
    assert second.data == ("/srv/a-2", "/srv/b-2")
    assert second.unit == "weed-volume@2.service"


def test_metrics_can_be_switched_off() -> None:
    settings = check_settings({"S3_METRICS_PORT": "0"}, "weed.conf")
    assert settings.find("s3", "1").ports == {"http": 8333, "grpc": 18333}


def test_the_proxy_listens_where_the_servers_do_unless_told_otherwise() -> None:
    assert check_settings({}, "weed.conf").proxy == ("127.0.0.1", 8300)
    assert check_settings({"S3_PROXY_ADDRESS": "10.0.0.5"}, "weed.conf").proxy == ("10.0.0.5", 8300)
    assert check_settings({"S3_INSTANCES": "0"}, "weed.conf").proxy[1] == 0


def test_the_proxy_can_have_the_port_of_a_server_on_another_address() -> None:
    given = {"S3_PROXY_PORT": "8333", "S3_PROXY_ADDRESS": "10.0.0.5"}
    assert check_settings(given, "weed.conf").proxy == ("10.0.0.5", 8333)
    with pytest.raises(ConfigError, match=r"HAProxy .* and s3-1 .* would both listen on port 8333"):
        check_settings({"S3_PROXY_PORT": "8333"}, "weed.conf")
    with pytest.raises(ConfigError, match="would both listen on port 8333"):
        check_settings({"S3_PROXY_PORT": "8333", "S3_PROXY_ADDRESS": "0.0.0.0"}, "weed.conf")


def test_an_ipv6_address_is_bracketed_in_peers() -> None:
    assert check_settings({"ADDRESS": "fd00::1", "MASTER_INSTANCES": "1"}, "weed.conf").masters == ["[fd00::1]:9333"]


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("MASTER_INSTANCE", "2", "did you mean MASTER_INSTANCES?"),
        ("MASTER_INSTANCES", "two", "a number from 0 to 99"),
        ("S3_PORT", "60000", "a number from 1 to 55535"),
        ("S3_PORT", "55535", "s3-2 would listen on port 65536"),
        ("FIPS_ENABLED", "yes", "true or false"),
        ("ADDRESS", "a b", "a host name or an address"),
        ("MASTER_PEERS", "other", "a list of host:port"),
        ("VOLUME_DATA_DIRS", "data", "absolute paths"),
        ("REPLICATION", "1", "three digits"),
    ],
)
def test_a_wrong_line_is_refused_with_what_is_allowed(key: str, value: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_settings({key: value}, "weed.conf")
    assert says in str(caught.value)
    assert "weed.conf" in str(caught.value)


@pytest.mark.parametrize(("role", "number"), [("s3", "3"), ("s3", "0"), ("s3", "1;x"), ("gateway", "1")])
def test_an_instance_that_is_not_this_hosts_is_refused(role: str, number: str) -> None:
    with pytest.raises(UsageError):
        check_settings({}, "weed.conf").find(role, number)


def test_the_file_is_read_and_never_executed(tmp_path: Path) -> None:
    (tmp_path / "etc/default/weed").mkdir(parents=True)
    conf = tmp_path / "etc/default/weed/weed.conf"
    conf.write_text("# comment\n; comment\n\nDATA_CENTER='dc1'\nRACK=\"r-1\"\n")
    settings = read_settings(Paths(str(tmp_path)))
    assert settings.values["DATA_CENTER"] == "dc1"
    assert settings.values["RACK"] == "r-1"
    conf.write_text("DATA_CENTER=$(id)\n")
    with pytest.raises(ConfigError):
        read_settings(Paths(str(tmp_path)))
    conf.write_text("export\n")
    with pytest.raises(ConfigError, match="line 1: 'export' is not KEY=VALUE"):
        read_settings(Paths(str(tmp_path)))


def test_the_installed_release_is_read(tmp_path: Path) -> None:
    (tmp_path / "opt/weed").mkdir(parents=True)
    release = tmp_path / "opt/weed/release"
    release.write_text("PRODUCT=seaweedfs\nVERSION=4.07\nVARIANT=large_disk-fips\nCOMMIT=abc\n")
    installed = read_installed(Paths(str(tmp_path)))
    assert installed == Installed("seaweedfs", "4.07", "large_disk-fips", "abc")
    assert installed.fips
    assert (4, 0) <= installed.number < (4, 12)
    release.write_text("PRODUCT=seaweedfs\n")
    with pytest.raises(ConfigError, match="VERSION, VARIANT, COMMIT"):
        read_installed(Paths(str(tmp_path)))


def test_every_host_reserves_the_same_seat() -> None:
    first = check_settings(
        {"ADDRESS": "10.0.0.1", "MASTER_INSTANCES": "1", "MASTER_PEERS": "10.0.0.2:9333"}, "weed.conf"
    )
    second = check_settings(
        {"ADDRESS": "10.0.0.2", "MASTER_INSTANCES": "1", "MASTER_PEERS": "10.0.0.1:9333"}, "weed.conf"
    )
    assert sorted(first.seats) == sorted(second.seats) == ["10.0.0.1:9333", "10.0.0.1:9334", "10.0.0.2:9333"]


def test_filers_of_other_hosts_come_after_those_of_this_one() -> None:
    settings = check_settings({"FILER_PEERS": "10.0.0.2:8888, 127.0.0.1:8888"}, "weed.conf")
    assert settings.filers == ["127.0.0.1:8888", "127.0.0.1:8889", "10.0.0.2:8888"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"S3_PORT": "8080"}, "volume-1 (http) and s3-1 (http) would both listen on port 8080"),
        ({"S3_PORT": "9324"}, "master-1 (metrics) and s3-1 (http) would both listen on port 9324"),
        ({"FILER_METRICS_PORT": "18080"}, "volume-1 (grpc) and filer-1 (metrics)"),
        ({"VOLUME_DATA_DIRS": "/srv/volume"}, "put %i, the instance's number, into it"),
        ({"VOLUME_DATA_DIRS": "/srv/%i,/srv/%i/b"}, "not inside another's"),
        ({"FILER_DATA_DIR": "/var/lib/weed/volume-%i"}, "volume-1 has its data in /var/lib/weed/volume-1 and filer-1"),
        ({"FILER_DATA_DIR": "/home/weed/%i"}, "ProtectHome=yes"),
        ({"FILER_DATA_DIR": "/srv/../tmp/%i"}, "below /tmp"),
        ({"FILER_DATA_DIR": "/srv/%h"}, "an absolute path"),
    ],
)
def test_what_cannot_work_together_is_refused(given: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_settings(given, "weed.conf")
    assert says in str(caught.value)


def test_one_instance_needs_no_number_in_its_data() -> None:
    settings = check_settings({"VOLUME_INSTANCES": "1", "VOLUME_DATA_DIRS": "/srv/a,/srv/ab"}, "weed.conf")
    assert settings.find("volume", "1").data == ("/srv/a", "/srv/ab")
