"""The units: what the requirement lists, what an auditor's tool says of them, and the order of stopping."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from weedops.settings import ROLES

from tests.conftest import require_tool
from tests.unit.weed_host import PRODUCT

UNITS = PRODUCT / "systemd"

REQUIRED = (
    "User=weed", "Group=weed", "NoNewPrivileges=true", "PrivateTmp=true", "ProtectHome=true",
    "ProtectKernelModules=true", "ProtectControlGroups=true", "MemoryDenyWriteExecute=true", "RestrictRealtime=true",
    "RestrictNamespaces=true",
    "LockPersonality=true", "CapabilityBoundingSet=", "AmbientCapabilities=", "SystemCallArchitectures=native",
    "ProtectSystem=strict", "ProtectProc=invisible", "LimitNOFILE=1048576", "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources", "SystemCallErrorNumber=EPERM", "RestrictSUIDSGID=true", "UMask=0077",
    "RemoveIPC=true", "KeyringMode=private", "LimitCORE=0", "ProtectKernelLogs=true", "ProtectClock=true",
    "ProtectHostname=true", "ProtectKernelTunables=true", "PrivateDevices=true",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK", "Type=notify", "WatchdogSec=60", "Restart=always",
    "StartLimitIntervalSec=300", "StartLimitBurst=10",
)  # fmt: skip
"""Section 7 of the requirement (ProtectSystem=full there, strict is stronger), and what goes beyond it."""

FORBIDDEN = ("PrivateUsers", "ProcSubset", "EnvironmentFile")
"""STIG hosts have no user namespaces; /proc/sys gives the listen backlog; a variable PORT would set the flag -port."""


def lines(role: str) -> list[str]:
    return (UNITS / f"weed-{role}@.service").read_text().splitlines()


def values(role: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in lines(role) if line.startswith(key + "=")]


@pytest.mark.parametrize("role", ROLES)
def test_a_unit_has_what_is_required_and_lacks_what_breaks(role: str) -> None:
    assert [line for line in REQUIRED if line not in lines(role)] == []
    assert [key for key in FORBIDDEN if values(role, key)] == []
    assert values(role, "ExecStart") == [f"/opt/weed/libexec/weed-launch {role} %i"]


def test_all_roles_are_hardened_alike() -> None:
    parts = {"\n".join(lines(role)).partition("# Hardening")[2].partition("[Install]")[0] for role in ROLES}
    assert len(parts) == 1
    assert parts != {""}


def test_a_role_stops_after_those_that_need_it() -> None:
    """Units stop in the reverse of After=; the targets are what orders instances of one role against another's."""
    for at, role in enumerate(ROLES):
        before = {f"weed-{earlier}.target" for earlier in ROLES[:at]}
        ordered = set(" ".join(values(role, "After")).split())
        assert before <= ordered
        assert not {f"weed-{later}.target" for later in ROLES[at:]} & ordered
        assert values(role, "Before") == values(role, "PartOf") == values(role, "WantedBy") == [f"weed-{role}.target"]
        target = (UNITS / f"weed-{role}.target").read_text()
        assert "PartOf=weed.target" in target
        assert f"weed-{role}.target" in (UNITS / "weed.target").read_text()


def seconds(text: str) -> int:
    return int(text.removesuffix("min")) * 60 if text.endswith("min") else int(text.removesuffix("s"))


def test_a_volume_server_has_the_time_that_it_needs_to_stop() -> None:
    """10 s without heartbeats, 30 s for requests, 60 s until they are cut (SeaweedFS, weed/command/volume.go)."""
    assert seconds(values("volume", "TimeoutStopSec")[0]) >= 120
    for role in ROLES:
        assert seconds(values(role, "TimeoutStopSec")[0]) >= 60
        assert int(values(role, "WatchdogSec")[0]) >= 4 * 10  # the longest time between two questions is 10 s


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file system with the units of the package, those of systemd that they name, and the programs they start."""
    require_tool("systemd-analyze")
    folder = tmp_path_factory.mktemp("root")
    system = folder / "usr/lib/systemd/system"
    shutil.copytree(UNITS, system, ignore=shutil.ignore_patterns("weed.*s"))
    for name in ("network-online", "nss-lookup", "time-sync", "multi-user", "sysinit", "basic", "shutdown"):
        shutil.copy(f"/usr/lib/systemd/system/{name}.target", system)
    for program in ("opt/weed/libexec/weed-launch", "bin/kill"):
        (folder / program).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/true", folder / program)
    return folder


def analyze(root: Path, *arguments: str) -> str:
    """Run systemd-analyze and return all it said; it must succeed. Offline analysis needs systemd 250."""
    argv = [require_tool("systemd-analyze"), *arguments, f"--root={root}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("role", ROLES)
def test_the_exposure_is_at_most_1_3(root: Path, role: str) -> None:
    said = analyze(root, "security", "--offline=true", "--threshold=13", "--no-pager", f"weed-{role}@1.service")
    assert f"Overall exposure level for weed-{role}@1.service: 1." in said


@pytest.mark.parametrize("role", ROLES)
def test_a_softer_unit_does_not_pass(root: Path, tmp_path: Path, role: str) -> None:
    shutil.copytree(root, tmp_path / "root")
    unit = tmp_path / f"root/usr/lib/systemd/system/weed-{role}@.service"
    unit.write_text(unit.read_text().replace("NoNewPrivileges=true\n", "").replace("RestrictNamespaces=true\n", ""))
    with pytest.raises(AssertionError):
        analyze(tmp_path / "root", "security", "--offline=true", "--threshold=13", f"weed-{role}@1.service")


def test_systemd_has_no_complaint(root: Path) -> None:
    names = [f"weed-{role}@1.service" for role in ROLES] + ["weed.target", *(f"weed-{role}.target" for role in ROLES)]
    assert analyze(root, "verify", "--man=no", *names) == ""


def test_the_user_has_no_login_and_no_home() -> None:
    (line,) = [line for line in (UNITS / "weed.sysusers").read_text().splitlines() if line and line[0] != "#"]
    assert line.split()[:2] == ["u", "weed"]
    assert line.split()[-2:] == ["-", "-"]


def test_tmpfiles_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nweed:x:0:0::/:/bin/false\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nweed:x:0:\n")
    argv = [require_tool("systemd-tmpfiles"), "--create", f"--root={tmp_path}", str(UNITS / "weed.tmpfiles")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "var/log/weed").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "var/lib/weed").stat().st_mode & 0o777 == 0o755
