"""AppArmor, auditd and logrotate: the packaged files, read by the tools that will read them on a host."""

from __future__ import annotations

import getpass
import grp
import gzip
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.integration.weed_host import PRODUCT

PROFILES = PRODUCT / "apparmor/opt.weed.weed"
RULES = PRODUCT / "audit/weed.rules"
ROTATION = PRODUCT / "logrotate/weed"
FEATURES = Path("/etc/apparmor.d/abi")
UNKNOWN = {"3.0": (), "kernel-5.4-vanilla": ("unix socket rules not", "network rules not", "dbus rules not")}
"""The features of Ubuntu's kernels and of Debian's, and what AppArmor's parser may say that a kernel cannot do."""

NO_AUDIT = re.compile(
    r"The audit system is disabled|Operation not permitted|audit support not in kernel|Cannot open netlink"
)
"""What auditctl says, after reading a rule, where it may not hand it to the kernel."""


def parsed(*arguments: str, profiles: Path = PROFILES) -> subprocess.CompletedProcess[bytes]:
    """Run AppArmor's parser on the profiles without loading anything."""
    argv = [
        require_tool("apparmor_parser"),
        "--skip-kernel-load",
        "--skip-cache",
        "--Include",
        str(PRODUCT / "apparmor"),
    ]
    return subprocess.run([*argv, *arguments, str(profiles)], capture_output=True, check=False)


@pytest.mark.parametrize("kernel", UNKNOWN)
def test_apparmor_compiles_the_profiles_without_a_warning(kernel: str) -> None:
    done = parsed("--kernel-features", str(FEATURES / kernel), "--warn=all", "--stdout")
    unsaid = ("Cache read/write disabled", *UNKNOWN[kernel])
    said = [line for line in done.stderr.decode().splitlines() if not any(part in line for part in unsaid)]
    assert (done.returncode, said) == (0, [])
    assert len(done.stdout) > 20_000


def test_apparmor_enforces_both_profiles() -> None:
    names = parsed("--names").stdout.decode().split()
    assert sorted(names) == ["weed", "weed-launch"]
    text = parsed("--preprocess").stdout.decode()
    assert "complain" not in text
    assert set(re.findall(r"flags=(\S+)", PROFILES.read_text())) == {"(attach_disconnected)"}


def test_apparmor_lets_weed_run_only_under_its_launcher() -> None:
    """Stacked, because NoNewPrivileges allows no other change of profile than to one more."""
    launcher, _, server = PROFILES.read_text().partition("profile weed flags")
    assert "/opt/weed/weed pix -> &weed," in launcher
    shared = (PRODUCT / "apparmor/abstractions/weed").read_text()
    executing = [line.strip() for line in (server + shared).splitlines() if re.search(r"\s[rwmkl]*[pciuPCU]*x\b", line)]
    assert executing == []
    assert "/var/log/weed" not in server + shared
    assert "systemd/notify" not in server + shared


def test_apparmor_takes_data_elsewhere_from_a_file_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "tunables/weed.d").mkdir(parents=True)
    (tmp_path / "tunables/weed.d/site").write_text("@{WEED_DATA}+=/srv/elsewhere\n")
    features = ("--kernel-features", str(FEATURES / "3.0"))
    plain = parsed(*features, "--debug").stdout
    changed = parsed(*features, "--debug", "--Include", str(tmp_path)).stdout
    assert b"/srv/elsewhere" not in plain
    assert b"/srv/elsewhere" in changed
    assert b"/var/lib/weed" in changed


def rules() -> list[str]:
    return [line for line in RULES.read_text().splitlines() if line and not line.startswith("#")]


def complaint(rule: str) -> str:
    """Return what auditctl has against a rule. In a user namespace of its own it reads it and cannot load it."""
    argv = [require_tool("unshare"), "--user", "--map-root-user", require_tool("auditctl"), *shlex.split(rule)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line]
    assert said, "auditctl did not come as far as the kernel"
    return "\n".join(line for line in said if not NO_AUDIT.search(line))


@pytest.mark.parametrize("rule", rules())
def test_auditctl_understands_every_rule(rule: str) -> None:
    assert complaint(rule) == ""


@pytest.mark.parametrize(
    "rule",
    [
        "-a always,exit -F dir=/etc/weed -F perm=zz -k x",
        "-a always,exit -F nothing=/etc/weed -k x",
        "-a sometimes,exit -k x",
    ],
)
def test_auditctl_refuses_what_is_wrong(rule: str) -> None:
    """So that the test before this one can fail."""
    assert complaint(rule) != ""


def test_audit_rules_have_keys_and_watch_the_places_that_matter() -> None:
    keyed: dict[str, set[str]] = {}
    for rule in rules():
        place = re.search(r"-F (?:path|dir)=(\S+)", rule)
        key = re.search(r"-k (\S+)$", rule)
        assert place, rule
        assert key, rule
        keyed.setdefault(key[1], set()).add(place[1])
        if "perm=x" in rule or "perm=r " in rule:
            assert "-F auid>=1000 -F auid!=unset" in rule, "people, as the STIGs have it, not services"
    assert set(keyed) == {"weed-binary", "weed-config", "weed-secrets", "weed-units", "weed-run"}
    assert "/opt/weed" in keyed["weed-binary"]
    assert {"/etc/weed", "/etc/default/weed"} <= keyed["weed-config"]
    assert {f"/usr/lib/systemd/system/weed-{role}@.service" for role in ("master", "volume", "filer", "s3")} <= keyed[
        "weed-units"
    ]
    assert "/opt/weed/weed" in keyed["weed-run"]


def test_audit_rules_name_only_places_that_the_package_brings() -> None:
    """A rule whose folder is missing stops auditctl from loading those after it."""
    brought = (PRODUCT / "Makefile").read_text()
    for rule in rules():
        place = re.search(r"-F (?:path|dir)=(\S+)", rule)
        assert place
        units = (
            place[1].startswith("/usr/lib/systemd/system/weed-")
            and (PRODUCT / "systemd" / Path(place[1]).name).exists()
        )
        assert units or place[1] == "/etc/systemd/system" or f" {place[1]}" in brought, rule


@pytest.fixture
def rotation(tmp_path: Path) -> Path:
    """The packaged file for logs in `tmp_path` that belong to whoever runs the tests."""
    logs = tmp_path / "log"
    logs.mkdir(mode=0o750)
    text = ROTATION.read_text()
    assert text.count("/var/log/weed/*.log") == text.count("su weed weed") == 1
    text = text.replace("/var/log/weed", str(logs)).replace(
        "su weed weed", f"su {getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name}"
    )
    config = tmp_path / "logrotate.conf"
    config.write_text(text)
    config.chmod(0o644)
    return config


def rotate(config: Path, *options: str) -> str:
    """Run logrotate once and return what it says."""
    argv = [require_tool("logrotate"), "--verbose", "--state", str(config.parent / "state"), *options, str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower(), done.stderr
    return done.stderr


def test_logrotate_keeps_fourteen_compressed_days_while_weed_writes_on(rotation: Path) -> None:
    log = rotation.parent / "log/s3-1.log"
    with log.open("ab", buffering=0) as held:  # as the launcher does: opened once, appended to
        for day in range(17):
            held.write(f"day {day}\n".encode())
            rotate(rotation, "--force")
            assert log.stat().st_size == 0
        held.write(b"after\n")
    assert log.read_bytes() == b"after\n", "no hole where the old lines were"
    kept = sorted(path.name for path in log.parent.iterdir())
    assert kept == sorted(["s3-1.log", *(f"s3-1.log.{number}.gz" for number in range(1, 15))])
    assert gzip.decompress((log.parent / "s3-1.log.1.gz").read_bytes()) == b"day 16\n"
    assert gzip.decompress((log.parent / "s3-1.log.14.gz").read_bytes()) == b"day 3\n"


def test_logrotate_passes_over_empty_and_missing_logs(rotation: Path) -> None:
    assert "error" not in rotate(rotation, "--force")
    (rotation.parent / "log/filer-1.log").touch()
    rotate(rotation, "--force")
    assert [path.name for path in (rotation.parent / "log").iterdir()] == ["filer-1.log"]


def test_logrotate_reads_the_file_as_it_is_packaged(tmp_path: Path) -> None:
    config = tmp_path / "weed"
    config.write_bytes(ROTATION.read_bytes())
    config.chmod(0o644)
    argv = [require_tool("logrotate"), "--debug", "--state", str(tmp_path / "state"), str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    said = done.stderr + done.stdout
    # Where nobody has installed the package the user weed does not exist; nothing else may be wrong.
    wrong = [
        line
        for line in said.splitlines()
        if "error" in line and "unknown user 'weed'" not in line and "found error in" not in line
    ]
    assert wrong == []
    directives = {line.strip() for line in ROTATION.read_text().splitlines()}
    wanted = {"daily", "rotate 14", "compress", "missingok", "notifempty", "copytruncate", "su weed weed"}
    assert wanted <= directives
    assert not any(line.startswith("create") for line in directives)
