"""The doctor on a host with one fault each: every fault has its finding, and a host without faults has none."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from weedops import haproxy
from weedops.paths import read_installed

from tests.conftest import require_root, require_tool
from tests.integration.weed_host import HAPROXY_UNIT, Host, host

Found = dict[str, dict[str, str]]

SYSTEMCTL = """#!/bin/sh
case "$1" in
    --version) echo 'systemd 252 (252.39)' ;;
    is-active) exit 0 ;;
esac
"""


def put(made: Host, path: str, text: str = "", mode: int = 0o644) -> None:
    """Write a file of the host."""
    place = made.root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    place.chmod(mode)


@pytest.fixture
def sound(weed: Path) -> Iterator[Host]:
    """A host with nothing to find fault with, where nothing runs."""
    program = require_tool("haproxy")
    require_root("most of what the doctor looks at only root may see")
    with host(weed, MASTER_INSTANCES="3", VOLUME_INSTANCES="1", FILER_INSTANCES="1") as made:
        server = made.root / "opt/weed/weed"
        server.unlink()
        shutil.copy(weed, server)
        server.chmod(0o755)
        put(made, "etc/passwd", "weed:x:990:990::/nonexistent:/usr/sbin/nologin\n")
        put(made, "etc/weed/s3.json", "{}", 0o640)
        os.chown(made.root / "etc/weed/s3.json", 0, 990)
        os.chown(made.root / "var/log/weed", 990, 990)
        for folder in (made.root / "var/lib/weed").iterdir():
            os.chown(folder, 990, 990)
            folder.chmod(0o750)
        for name in ("systemctl", "timedatectl"):
            put(made, f"usr/bin/{name}", SYSTEMCTL if name == "systemctl" else "#!/bin/sh\necho yes\n", 0o755)
        put(made, "usr/bin/fapolicyd-cli", "#!/bin/sh\necho 'rpmdb /opt/weed/weed 1 abc'\n", 0o755)
        for one in made.settings.instances():
            link = made.root / f"etc/systemd/system/weed-{one.role}.target.wants" / one.unit
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to("/lib/systemd/system/weed.service")
        made.with_haproxy(program)
        haproxy.write(made.paths, made.settings, read_installed(made.paths))
        yield made


CODES = {"ok": 0, "note": 0, "warning": 1, "error": 2}
OF_THIS_MACHINE = ("disk-low", "disk-full", "inodes-low")
"""What speaks of the disk that the tests run on; the unit tests have disks of their own."""


def judged(done: subprocess.CompletedProcess[str]) -> tuple[int, Found]:
    """Return exit code and findings that are not ok, by id, without those that are no part of the host."""
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert done.returncode == max(CODES[one["severity"]] for one in found)
    kept = {one["id"]: one for one in found if one["severity"] != "ok" and one["id"] not in OF_THIS_MACHINE}
    return max([CODES[one["severity"]] for one in kept.values()] or [0]), kept


def doctor(made: Host, *arguments: str) -> tuple[int, Found]:
    """Run the doctor on the host."""
    return judged(made.script("weed-doctor", "--json", *arguments))


def test_a_sound_host_has_nothing_to_do(sound: Host) -> None:
    code, found = doctor(sound, "--before", "start")
    assert (code, found) == (0, {})


@contextlib.contextmanager
def port_held(made: Host) -> Iterator[None]:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", made.settings.at("filer", 1).grpc))
        other.listen()
        yield


def change(**values: str) -> Callable[[Host], None]:
    """Return a fault: keys of weed.conf that are added or changed."""

    def plant(made: Host) -> None:
        conf = made.root / "etc/default/weed/weed.conf"
        kept = [line for line in conf.read_text().splitlines() if line.partition("=")[0] not in values]
        conf.write_text("\n".join([*kept, *(f"{key}={value}" for key, value in values.items())]) + "\n")

    return plant


def write(path: str, text: str, mode: int = 0o640) -> Callable[[Host], None]:
    return lambda made: put(made, path, text, mode)


def own(path: str, user: int, mode: int) -> Callable[[Host], None]:
    def plant(made: Host) -> None:
        os.chown(made.root / path, user, user)
        (made.root / path).chmod(mode)

    return plant


def remove(path: str) -> Callable[[Host], None]:
    return lambda made: (made.root / path).unlink()


def private_users(limit: str) -> Callable[[Host], None]:
    """Return a fault: a drop-in asks for a user namespace, and the host allows `limit` of them."""

    def plant(made: Host) -> None:
        show = "Id=weed-master@1.service\\nPrivateUsers=no\\n\\nId=weed-volume@1.service\\nPrivateUsers=yes\\n"
        says = SYSTEMCTL.replace("esac", f"    show) printf '{show}' ;;\nesac")
        put(made, "usr/bin/systemctl", says, 0o755)
        put(made, "proc/sys/user/max_user_namespaces", f"{limit}\n")

    return plant


FAULTS: list[tuple[str, str, Callable[[Host], AbstractContextManager[None] | None], str]] = [
    ("port-in-use", "error", port_held, "python"),
    ("masters-even", "warning", change(MASTER_INSTANCES="2"), "an empty seat"),
    ("masters-none", "error", change(MASTER_INSTANCES="0"), "no master"),
    ("conf", "error", change(MASTER_INSTANCE="2"), "unknown key MASTER_INSTANCE"),
    ("conf", "error", change(S3_PORT="60000"), "a number from 1 to 55535"),
    ("conf", "error", change(VOLUME_DATA_DIRS="/home/weed"), "below /home"),
    ("configuration", "error", write("etc/weed/master.toml", "[a\n"), "would not start"),
    ("configuration", "error", write("etc/weed/s3.options", "port=1\n"), "S3_PORT of weed.conf sets it"),
    ("override-unused", "warning", write("etc/weed/master-9.toml", ""), "no instance of this host reads master-9.toml"),
    ("unreadable", "error", write("etc/weed/security.toml", ""), "the user weed may not read it"),
    ("secret-readable", "warning", write("etc/weed/security.toml", "", 0o644), "everybody may read it"),
    (
        "secret-readable",
        "warning",
        write("etc/weed/filer.toml", '[leveldb2]\nenabled = true\n[mysql]\npassword = "x"\n', 0o644),
        "mysql.password",
    ),
    (
        "configuration",
        "error",
        write("etc/weed/security.toml", '[jwt.signing]\nkey = "x"\n', 0o644),
        "jwt.signing.key and everybody may read it",
    ),
    ("s3-anonymous", "warning", remove("etc/weed/s3.json"), "everyone who reaches the port"),
    ("binary-missing", "error", remove("opt/weed/weed"), "No such file"),
    ("binary-permissions", "error", own("opt/weed/weed", 990, 0o775), "0775 of 990:990"),
    ("binary-replaced", "error", write("opt/weed/weed", "#!/bin/sh\necho version 30GB 9.9 x\n", 0o755), "9.9 x"),
    ("path-shadowed", "warning", write("usr/local/bin/weed", ""), "another weed"),
    ("fips-variant", "error", change(FIPS_ENABLED="true"), "standard build"),
    ("fips-off", "warning", write("proc/sys/crypto/fips_enabled", "1\n"), "kernel is in FIPS mode"),
    ("systemd-old", "error", write("usr/bin/systemctl", "#!/bin/sh\necho systemd 219\n", 0o755), "older than 239"),
    ("user-missing", "error", write("etc/passwd", ""), "the user weed does not exist"),
    ("user-login", "warning", write("etc/passwd", "weed:x:990:990::/:/bin/bash\n"), "can log in"),
    ("user-root", "error", write("etc/passwd", "weed:x:0:0::/:/sbin/nologin\n"), "is root"),
    ("data-owner", "error", own("var/lib/weed/filer-1", 0, 0o750), "cannot write the folder of filer-1"),
    ("data-open", "error", own("var/lib/weed/filer-1", 990, 0o777), "everybody may write"),
    ("data-missing", "warning", lambda made: (made.root / "var/lib/weed/volume-1").rmdir(), "volume-1"),
    ("nofile", "warning", write("proc/sys/fs/nr_open", "65536\n"), "65536"),
    ("port-ephemeral", "warning", write("proc/sys/net/ipv4/ip_local_port_range", "1024 65000\n"), "outgoing"),
    (
        "clock-unsynchronised",
        "warning",
        write("usr/bin/timedatectl", "#!/bin/sh\necho no\n", 0o755),
        "not synchronised",
    ),
    ("selinux-label", "warning", write("sys/fs/selinux/enforce", "1"), "not confined"),
    ("fapolicyd", "error", write("usr/bin/fapolicyd-cli", "#!/bin/sh\n", 0o755), "does not trust"),
    (
        "package-signatures",
        "note",
        write("etc/dnf/dnf.conf", "[main]\ngpgcheck=1\n"),
        "localpkg_gpgcheck not set (STIG: OL08-00-010371)",
    ),
    ("user-namespaces", "error", private_users("0"), "weed-volume@1.service asks for a user namespace"),
    ("user-namespaces", "note", private_users("9000"), "under a STIG (OL08-00-040284) it would not start"),
    ("instances", "warning", change(S3_INSTANCES="1"), "weed-s3@2.service is not in weed.conf and enabled"),
    ("haproxy-missing", "warning", remove("etc/haproxy/conf.d/weed-s3.cfg"), "is missing"),
    ("haproxy-stale", "warning", change(S3_RATE_LIMIT="5"), "not what weed.conf"),
    ("haproxy-refused", "error", write("etc/haproxy/haproxy.cfg", "nonsense\n"), "nonsense"),
    ("haproxy-socket", "warning", write("etc/haproxy/haproxy.cfg", "global\n"), "level admin"),
    ("haproxy-absent", "note", remove("usr/sbin/haproxy"), "not installed"),
    (
        "haproxy-unread",
        "warning",
        write("usr/lib/systemd/system/haproxy.service", HAPROXY_UNIT.replace("-f $CFGDIR", "")),
        "does not read it",
    ),
]


@pytest.mark.parametrize(("name", "severity", "plant", "says"), FAULTS, ids=[f"{one[0]}-{one[3]}" for one in FAULTS])
def test_a_fault_is_found_with_its_fix(
    sound: Host, name: str, severity: str, plant: Callable[[Host], AbstractContextManager[None] | None], says: str
) -> None:
    with plant(sound) or contextlib.nullcontext():
        code, found = doctor(sound, "--before", "start")
    assert name in found
    assert found[name]["severity"] == severity
    assert says in found[name]["what"]
    assert found[name]["fix"]
    assert code == CODES[severity]


def test_a_replaced_program_that_still_runs_is_an_error_where_fips_is_demanded(sound: Host) -> None:
    put(sound, "proc/77/cgroup", "0::/system.slice/system-weed.slice/weed-volume@1.service\n")
    (sound.root / "proc/77/exe").symlink_to("/opt/weed/weed (deleted)")
    found = doctor(sound, "--before", "start")[1]["instances-old"]
    assert (found["severity"], "weed-volume@1.service" in found["what"]) == ("note", True)
    change(FIPS_ENABLED="true")(sound)
    found = doctor(sound, "--before", "start")[1]["instances-old"]
    assert found["severity"] == "error"
    assert found["what"] == "FIPS is demanded, and the replaced binary still runs as weed-volume@1.service"
    assert found["fix"] == "weed-rolling-restart"


def test_apparmor_that_complains_only_is_a_warning(sound: Host) -> None:
    put(sound, "sys/module/apparmor/parameters/enabled", "Y\n")
    put(sound, "etc/apparmor.d/opt.weed.weed")
    put(sound, "sys/kernel/security/apparmor/profiles", "weed-launch (complain)\n")
    assert "(complain)" in doctor(sound)[1]["apparmor-off"]["what"]
    put(sound, "sys/kernel/security/apparmor/profiles", "weed-launch (enforce)\n")
    assert "apparmor-off" not in doctor(sound)[1]


@pytest.mark.parametrize(
    ("version", "name", "severity"),
    [("0.9.0", "upgrade-back", "error"), ("1.2.2", "upgrade-back", "warning"), ("2.0.0", "upgrade-major", "warning")],
)
def test_the_way_to_another_release_is_judged(sound: Host, version: str, name: str, severity: str) -> None:
    found = doctor(sound, "--before", "upgrade", "--to", version)[1]
    assert found[name]["severity"] == severity
    assert found["unhealthy"]["severity"] == "error", "nothing runs, which is no state to upgrade from"


def test_a_package_that_is_only_unpacked_is_what_is_judged(sound: Host, tmp_path: Path) -> None:
    """Before an upgrade, the doctor of the new package looks at the host: its own release is the one to come."""
    shutil.copytree(sound.root / "opt", tmp_path / "opt", symlinks=True)
    release = tmp_path / "opt/weed/release"
    release.write_text(release.read_text().replace("VERSION=1.2.3", "VERSION=1.3.0"))
    argv = [sys.executable, "-IB", str(tmp_path / "opt/weed/libexec/weed-doctor"), "--root", str(sound.root)]
    done = subprocess.run([*argv, "--before", "upgrade"], capture_output=True, text=True, check=False)
    assert "1.2.3 to 1.3.0" in done.stdout


def test_before_an_installation_an_empty_host_is_fine(weed: Path) -> None:
    with host(weed) as made:
        put(made, "usr/bin/systemctl", SYSTEMCTL, 0o755)
        (made.root / "etc/default/weed/weed.conf").unlink()
        shutil.rmtree(made.root / "opt/weed")
        put(made, "etc/passwd")
        script = [sys.executable, "-IB", str(Path(haproxy.__file__).parents[1] / "weed-doctor")]
        done = subprocess.run(
            [*script, "--root", str(made.root), "--before", "install"], capture_output=True, text=True, check=False
        )
        assert "error " not in done.stdout.replace("0 error ", ""), done.stdout
        assert "the user weed does not exist yet" in done.stdout


def test_an_ordinary_user_is_told_what_was_not_seen(sound: Host) -> None:
    setpriv = require_tool("setpriv")
    sound.root.joinpath("etc/weed").chmod(0o750)
    argv = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-IB"]
    if subprocess.run([*argv, "-c", ""], capture_output=True, check=False).returncode:
        argv[-2] = "/usr/bin/python3"  # this Python is out of reach for other users
    argv += [f"{sound.root}/opt/weed/libexec/weed-doctor", "--root", str(sound.root), "--before", "start", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    code, found = judged(done)
    assert set(found) == {"unseen", "not-root"}
    assert code == 0


def test_the_text_has_what_is_wrong_last_and_how_to_mend_it(sound: Host) -> None:
    put(sound, "etc/weed/master-9.toml")
    put(sound, "etc/weed/master.toml", "[a\n", 0o640)
    text = sound.script("weed-doctor", "--before", "start", "--quiet").stdout.splitlines()
    override = next(number for number, line in enumerate(text) if line.startswith("warning  override-unused"))
    assert text[override + 2].strip().startswith("to do: rename it to master")
    error = next(number for number, line in enumerate(text) if line.startswith("error    configuration"))
    assert error > override
    assert text[-1].startswith("2 error, ")
    assert not [line for line in text if line.startswith("ok ")]
