"""Port conflicts, tried with real sockets of this host."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from weedops import ports
from weedops.errors import ConfigError, PortError
from weedops.ports import Holder, Listener, check_ports, holders, listeners
from weedops.settings import check_settings


def wanted(role: str, options: dict[str, str], **given: str) -> set[tuple[str, str, int]]:
    settings = check_settings(given, "weed.conf")
    return {tuple(listener) for listener in listeners(settings.at(role, 1), settings, options)}  # type: ignore[misc]


def test_a_server_on_loopback_needs_three_ports() -> None:
    assert wanted("filer", {}) == {
        ("http", "127.0.0.1", 8888),
        ("grpc", "127.0.0.1", 18888),
        ("metrics", "127.0.0.1", 9326),
    }


def test_a_server_on_another_address_listens_on_localhost_as_well() -> None:
    found = wanted("volume", {}, ADDRESS="10.0.0.7", VOLUME_METRICS_PORT="0")
    assert found == {
        ("http", "10.0.0.7", 8080),
        ("http on localhost", "127.0.0.1", 8080),
        ("grpc", "10.0.0.7", 18080),
        ("grpc on localhost", "127.0.0.1", 18080),
    }


def test_a_wildcard_includes_localhost() -> None:
    found = wanted("volume", {}, ADDRESS="10.0.0.7", BIND_ADDRESS="0.0.0.0")
    assert {host for _, host, _ in found} == {"0.0.0.0"}


def test_options_open_further_ports() -> None:
    given = {"port.https": "8443", "port.lance": "9101", "port.iceberg": "0", "debug.port": "6061"}
    assert {port for _, _, port in wanted("s3", given)} == {8333, 18333, 9327, 8443, 9101}
    assert 6061 in {port for _, _, port in wanted("s3", {**given, "debug": "true"})}


def test_free_ports_pass() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    check_ports([Listener("http", "127.0.0.1", port)])


def test_the_holder_of_a_port_is_named() -> None:
    code = "import socket,sys; s=socket.create_server(('127.0.0.1',0)); print(s.getsockname()[1],flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout
        port = int(other.stdout.readline())
        with pytest.raises(PortError) as caught:
            check_ports([Listener("http", "127.0.0.1", port), Listener("grpc", "127.0.0.1", port)])
        program = Path(f"/proc/{other.pid}/comm").read_text().strip()
        other.communicate("")
    text = str(caught.value)
    assert f"127.0.0.1:{port} (http) is held by {program} (pid {other.pid}" in text
    assert f"127.0.0.1:{port} (grpc) is held by" in text
    assert "choose another port in /etc/default/weed/weed.conf" in text


def test_an_address_of_another_host_is_said_to_be_one() -> None:
    with pytest.raises(PortError, match="is not an address of this host"):
        check_ports([Listener("http", "192.0.2.1", 8080)])


def test_a_name_that_nobody_knows_is_said_to_be_one() -> None:
    with pytest.raises(PortError, match="cannot be resolved"):
        check_ports([Listener("http", "nowhere.invalid", 8080)])


def test_a_low_port_is_a_mistake_in_the_configuration() -> None:
    refused = PermissionError(errno.EACCES, "Permission denied")  # root, who may run this test, would not get it
    with pytest.raises(ConfigError, match=r"port 80 \(http\) needs a privilege that the units drop"):
        ports._explained(Listener("http", "127.0.0.1", 80), refused)


TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 0100007F:D431 06 00000000:00000000 03:00000F29 00000000     0        0 0 3 0000000000000000
   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 4000000        0 111 1 0 100 0 0 10 0
   2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1 0 100 0 0 10 0
"""


def fake_proc(folder: Path) -> str:
    """A /proc in which the holder of port 8081 is visible and that of 8080, another user's, is not."""
    (folder / "net").mkdir()
    (folder / "net/tcp").write_text(TCP)
    (folder / "77/fd").mkdir(parents=True)
    (folder / "77/fd/5").symlink_to("socket:[222]")
    (folder / "77/comm").write_text("weed\n")
    (folder / "77/cgroup").write_text("0::/system.slice/system-weed.slice/weed-volume@2.service\n")
    return str(folder)


def test_a_unit_is_named(tmp_path: Path) -> None:
    (held,) = holders(8081, fake_proc(tmp_path))
    assert held == Holder(77, "weed", "weed-volume@2.service", "root")
    assert str(held) == "weed (pid 77, weed-volume@2.service, user root)"


def test_a_file_that_a_process_closes_meanwhile_hides_none_of_its_sockets(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path)
    (tmp_path / "77/fd/4").write_text("readlink fails here, as it does for what has just been closed")
    (tmp_path / "77/fd/6").write_text("")
    (held,) = holders(8081, proc)
    assert held.pid == 77


def test_of_a_process_that_cannot_be_seen_at_least_the_user_is_named(tmp_path: Path) -> None:
    (held,) = holders(8080, fake_proc(tmp_path))
    assert str(held) == "a process of user 4000000"


def test_of_a_process_that_cannot_be_seen_the_command_that_names_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    in_use = OSError(errno.EADDRINUSE, "Address already in use")
    listener = Listener("http", "127.0.0.1", 8333)
    monkeypatch.setattr(ports, "holders", lambda _port: [Holder(0, "", "", "root")])
    hint = "; `sudo ss -ltnp 'sport = :8333'` names it"
    assert ports._explained(listener, in_use) == "is held by a process of user root" + hint
    monkeypatch.setattr(ports, "holders", lambda _port: [])
    assert ports._explained(listener, in_use).endswith(hint)
    monkeypatch.setattr(ports, "holders", lambda _port: [Holder(77, "nginx", "nginx.service", "root")])
    assert "ss -ltnp" not in ports._explained(listener, in_use)


def test_a_connection_that_has_ended_holds_nothing(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path)
    (tmp_path / "net/tcp").write_text("".join(TCP.splitlines(keepends=True)[:2]))
    assert holders(8080, proc) == []
