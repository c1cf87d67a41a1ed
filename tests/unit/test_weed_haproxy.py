"""HAProxy's file: what depends on the settings, on the release of HAProxy and on how the host starts it."""

from __future__ import annotations

from pathlib import Path

import pytest
from weedops.haproxy import text, write
from weedops.haproxy_host import arguments, how_to_read, reads_snippet, stats_sockets
from weedops.paths import Installed, Paths
from weedops.settings import check_settings

SEAWEEDFS = Installed("seaweedfs", "4.44", "standard", "c")

DEBIAN = """[Service]
EnvironmentFile=-/etc/default/haproxy
Environment="CONFIG=/etc/haproxy/haproxy.cfg" "PIDFILE=/run/haproxy.pid" "EXTRAOPTS=-S /run/haproxy-master.sock"
ExecStart=/usr/sbin/haproxy -Ws -f $CONFIG -p $PIDFILE $EXTRAOPTS
"""
RED_HAT = """[Service]
EnvironmentFile=-/etc/sysconfig/haproxy
Environment="CONFIG=/etc/haproxy/haproxy.cfg" "PIDFILE=/run/haproxy.pid" "CFGDIR=/etc/haproxy/conf.d"
ExecStartPre=/usr/sbin/haproxy -f $CONFIG -f $CFGDIR -c -q $OPTIONS
ExecStart=/usr/sbin/haproxy -Ws -f ${CONFIG} -f $CFGDIR \\
    -p $PIDFILE $OPTIONS
"""


def made(tmp_path: Path, release: tuple[int, ...] = (2, 4), version: str = "4.44", **values: str) -> str:
    return text(check_settings(values, "weed.conf"), SEAWEEDFS._replace(version=version), Paths(str(tmp_path)), release)


def put(root: Path, path: str, content: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(content)


def test_every_s3_server_is_in_the_pool_and_checked(tmp_path: Path) -> None:
    lines = made(tmp_path, S3_INSTANCES="3").splitlines()
    pool = [line.strip() for line in lines if line.strip().startswith("server s3-") and "check" in line]
    assert pool == [f"server s3-{n} 127.0.0.1:{8332 + n} check" for n in (1, 2, 3)]


@pytest.mark.parametrize(("version", "path"), [("4.44", "/healthz"), ("3.73", "/healthz"), ("3.68", "/status")])
def test_the_check_asks_what_the_release_answers(tmp_path: Path, version: str, path: str) -> None:
    assert f"option httpchk GET {path}\n" in made(tmp_path, version=version)


def test_an_old_haproxy_gets_nothing_that_it_does_not_know(tmp_path: Path) -> None:
    for release in ((), (1, 8)):
        old = made(tmp_path, release)
        assert "retry-on" not in old
        assert "http-request return" not in old
        assert "http-request deny deny_status 503 if too_fast" in old
    assert "retry-on" in made(tmp_path, (2, 0))
    assert "http-request return" not in made(tmp_path, (2, 0))
    assert made(tmp_path, (2, 4)) == made(tmp_path, (3, 0)), "an upgrade of HAProxy alone changes nothing"


def test_no_limit_no_table(tmp_path: Path) -> None:
    assert "stick-table" not in made(tmp_path, S3_RATE_LIMIT="0")
    assert "sc0_http_req_rate gt 50\n" in made(tmp_path, S3_RATE_LIMIT="5")


def test_a_certificate_makes_it_https(tmp_path: Path) -> None:
    bind = next(line for line in made(tmp_path, S3_PROXY_TLS_CERT="/etc/weed/s3.pem").splitlines() if "bind" in line)
    assert "ssl crt /etc/weed/s3.pem ssl-min-ver TLSv1.2" in bind


def test_a_server_with_https_of_its_own_is_spoken_to_in_https(tmp_path: Path) -> None:
    put(tmp_path, "etc/weed/s3-2.options", "cert.file=/etc/weed/s3.crt\nkey.file=/etc/weed/s3.key\n")
    lines = [line for line in made(tmp_path).splitlines() if "server s3-" in line and "check" in line]
    assert [line.endswith("ssl verify none check") for line in lines] == [False, True]


def test_an_ipv6_address_is_written_as_every_release_reads_it(tmp_path: Path) -> None:
    shown = made(tmp_path, ADDRESS="fd00::5")
    assert "bind ipv6@fd00::5:8300" in shown
    assert "server s3-1 ipv6@fd00::5:8333 check" in shown


@pytest.mark.parametrize("values", [{"S3_PROXY_PORT": "0"}, {"S3_INSTANCES": "0"}])
def test_the_file_goes_when_nothing_is_asked_for(tmp_path: Path, values: dict[str, str]) -> None:
    paths = Paths(str(tmp_path))
    assert write(paths, check_settings({}, "weed.conf"), SEAWEEDFS).changed
    assert Path(paths.haproxy).stat().st_mode & 0o777 == 0o644
    assert not write(paths, check_settings({}, "weed.conf"), SEAWEEDFS).changed
    assert write(paths, check_settings(values, "weed.conf"), SEAWEEDFS).changed
    assert not Path(paths.haproxy).exists()


def test_debians_unit_reads_conf_d_only_when_told_and_the_advice_keeps_its_options(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path))
    put(tmp_path, "lib/systemd/system/haproxy.service", DEBIAN)
    put(tmp_path, "etc/default/haproxy", '#EXTRAOPTS="-de"\n')
    assert arguments(paths)[-2:] == ["-S", "/run/haproxy-master.sock"]
    assert not reads_snippet(paths)
    advice = 'EXTRAOPTS="-S /run/haproxy-master.sock -f /etc/haproxy/conf.d"'
    assert advice in how_to_read(paths)
    put(tmp_path, "etc/default/haproxy", advice + "\n")
    assert reads_snippet(paths)


def test_red_hats_unit_reads_conf_d(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/systemd/system/haproxy.service", RED_HAT)
    assert reads_snippet(Paths(str(tmp_path)))


def test_a_drop_in_counts(tmp_path: Path) -> None:
    put(tmp_path, "lib/systemd/system/haproxy.service", DEBIAN)
    put(
        tmp_path,
        "etc/systemd/system/haproxy.service.d/conf.conf",
        "[Service]\nExecStart=\nExecStart=/usr/sbin/haproxy -f $CONFIG -f /etc/haproxy/conf.d/weed-s3.cfg\n",
    )
    assert reads_snippet(Paths(str(tmp_path)))


def test_a_socket_that_can_drain_comes_first(tmp_path: Path) -> None:
    config = (
        "global\n  stats socket /run/a\n  # stats socket /run/b level admin\n  stats socket unix@/run/c level admin\n"
    )
    put(tmp_path, "etc/haproxy/haproxy.cfg", config + "  stats socket ipv4@127.0.0.1:9999 level admin\n")
    found = [(place.path, place.level) for place in stats_sockets(Paths(str(tmp_path)))]
    assert found == [(f"{tmp_path}/run/c", "admin"), (f"{tmp_path}/run/a", "operator")]
