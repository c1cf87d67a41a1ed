"""Upgrade, downgrade, the other flavour, removal and purge: what stays and what goes."""

from __future__ import annotations

import json

import pytest

from tests.vm.conftest import Before
from tests.vm.host import (
    SYSTEM_FOLDERS,
    UNITS,
    apt_install,
    files_of,
    healthy,
    large_is_whole,
    running_versions,
    upload_large,
    version,
)
from tests.vm.machine import Machine
from tests.vm.packages import Packages, without

pytestmark = pytest.mark.heavy

EDITED = "# kept by every upgrade\nVOLUME_SIZE_LIMIT_MB=1000\n"
OTHERS = (
    *("/etc/.pwd.lock", "/etc/audit/audit.rules.prev", "/root/.", "/run/systemd/", "/var/cache/", "/var/lib/apt/"),
    *("/var/lib/dpkg/", "/var/lib/fail2ban", "/var/lib/haproxy", "/var/lib/logrotate", "/var/lib/systemd/"),
    *("/var/log/", "/var/tmp/"),
)
"""What others write whenever a package comes or goes."""


@pytest.fixture(scope="module")
def edited(serving: Machine) -> Machine:
    if serving.run("test -e /var/tmp/large.sha256", check=False).code:
        upload_large(serving)
    serving.write("/etc/weed/filer-2.toml", '[leveldb2]\nenabled = true\ndir = "/var/lib/weed/filer-2/filerldb2"\n')
    serving.run("cat >> /etc/default/weed/weed.conf", given=EDITED.encode())
    return serving


def unchanged(machine: Machine) -> None:
    """Check that configuration and data are as they were before the package was changed."""
    assert machine.read("/etc/default/weed/weed.conf").endswith(EDITED)
    assert machine.run("ls /etc/default/weed/ | grep dpkg-", check=False).text == ""
    assert "filerldb2" in machine.read("/etc/weed/filer-2.toml")
    healthy(machine)
    large_is_whole(machine)


def test_a_downgrade_keeps_data_and_edited_configuration(edited: Machine, built: Packages) -> None:
    if built.older is None:
        without("no older release: set WEED_OLDER_RELEASE")
    said = apt_install(edited, f"older/{built.product}_*_amd64.deb", "--allow-downgrades")
    assert version(edited) == built.older_version
    assert "run 'weed-rolling-restart' when it suits" in said
    assert running_versions(edited) == {"replaced"}, "nothing was interrupted"
    edited.run("systemctl restart 'weed-*@*.service'", timeout=600)
    assert running_versions(edited) == {"current"}
    unchanged(edited)


def test_an_upgrade_keeps_data_and_edited_configuration(edited: Machine, built: Packages) -> None:
    if built.older is None:
        without("no older release: set WEED_OLDER_RELEASE")
    edited.run("touch /etc/weed/restart-on-upgrade")
    apt_install(edited, f"current/{built.product}_*_amd64.deb")
    assert version(edited) == built.version
    healthy(edited)
    assert running_versions(edited) == {"current"}, "restarted, since the administrator asked for that"
    unchanged(edited)


def test_a_configuration_that_cannot_work_stops_a_change_before_it_begins(edited: Machine, built: Packages) -> None:
    edited.run("cp /etc/default/weed/weed.conf /root/weed.conf; echo S3_INSTANCES=many >> /etc/default/weed/weed.conf")
    package = f"/payload/packages/current/{built.product}_*_amd64.deb"
    done = edited.run(f"apt-get install --yes --reinstall {package} 2>&1", timeout=600, check=False)
    assert done.code == 100
    assert "S3_INSTANCES is 'many', not a number" in done.stdout
    assert "nothing was changed" in done.stdout
    edited.run("mv /root/weed.conf /etc/default/weed/weed.conf; dpkg --configure --pending")
    healthy(edited)


def test_the_fips_flavour_takes_over_and_back(edited: Machine, built: Packages) -> None:
    fips = edited.run(f"ls /payload/packages/current/{built.product}-fips_*_amd64.deb", check=False)
    if fips.code != 0:
        without("this release has no FIPS flavour")
    said = apt_install(edited, f"current/{built.product}-fips_*_amd64.deb")
    assert "VARIANT=fips" in edited.read("/opt/weed/release")
    unchanged(edited)
    # Whether apt removes the one before it unpacks the other is apt's choice. What goes on is restarted, or it is said.
    asked = edited.run("test -e /etc/weed/restart-on-upgrade", check=False).code == 0
    goes_on = "the running instances still are of the other flavour" in said
    assert not (asked and goes_on)
    assert running_versions(edited) == {"replaced" if goes_on else "current"}
    apt_install(edited, f"current/{built.product}_*_amd64.deb")
    edited.run(f"dpkg --purge {built.product}-fips", timeout=300)
    assert "VARIANT=standard" in edited.read("/opt/weed/release")
    unchanged(edited)


def test_apparmor_denied_nothing_since_the_installation(edited: Machine) -> None:
    """But what a test above asked for on purpose."""
    said = edited.run(
        "journalctl --no-pager -o cat _TRANSPORT=audit _TRANSPORT=kernel | grep DENIED", check=False
    ).stdout
    said += edited.run("ausearch --input-logs -m AVC --raw 2>/dev/null | grep DENIED", check=False).stdout
    ours = {line for line in said.splitlines() if 'profile="weed' in line and 'name="/srv/' not in line}
    assert not ours, "\n".join(sorted(ours)[:30])
    assert "/srv/other" in said, "denials are seen"


def test_removal_stops_everything_and_keeps_data_and_configuration(edited: Machine, built: Packages) -> None:
    edited.run(f"apt-get remove --yes {built.product}", timeout=600)
    assert edited.run(f"systemctl is-active {' '.join(UNITS)} | sort -u", check=False).text == "inactive"
    assert edited.run("ps --no-headers -u weed", check=False).text == ""
    assert edited.run("ls /opt/weed/weed /etc/haproxy/conf.d/weed-s3.cfg", check=False).stdout == ""
    assert edited.read("/etc/default/weed/weed.conf").endswith(EDITED)
    assert edited.run("ls /var/lib/weed").text.split() == [
        f"{role}-{n}" for role in ("filer", "master", "s3", "volume") for n in (1, 2)
    ]
    edited.run("haproxy -c -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/conf.d; systemctl is-active haproxy")


def test_installed_again_it_finds_its_data(edited: Machine, built: Packages) -> None:
    apt_install(edited, f"current/{built.product}_*_amd64.deb")
    unchanged(edited)


def test_a_purge_leaves_nothing(edited: Machine, built: Packages, before: Before) -> None:
    edited.run("touch /etc/weed/purge-data")
    edited.run(f"apt-get purge --yes {built.product}", timeout=600)
    left = {path for path in files_of(edited, *SYSTEM_FOLDERS) - before.files if not path.startswith(OTHERS)}
    assert sorted(left) == []
    assert "weed" not in edited.run("ls /var/log; cat /etc/passwd /etc/group /etc/shadow").stdout
    assert edited.run("grep -c weed /sys/kernel/security/apparmor/profiles", check=False).text == "0"
    assert edited.run("auditctl -l | grep weed", check=False).stdout == ""
    assert edited.run("systemctl --failed --plain --no-legend").text == ""


def test_without_a_package_the_archive_installs_what_runs(deb: Machine, built: Packages, before: Before) -> None:
    """On a host that has no package, or has none any more."""
    archive = f"/payload/packages/current/{built.product}-{built.version}-linux-amd64.tar.gz"
    if deb.run(f"test -e {archive}", check=False).code:
        without("this release has no archive")
    deb.run(f"mkdir /var/tmp/archive; tar -xzf {archive} -C /var/tmp/archive --strip-components=1", timeout=300)
    deb.run("make -C /var/tmp/archive install setup FORMAT=tar", timeout=300)
    assert deb.run("stat -c '%a %U:%G' /etc/weed /etc/default/weed/security.toml /var/log/weed").text.splitlines() == [
        "750 root:weed", "640 root:weed", "750 weed:weed",
    ]  # fmt: skip
    deb.run("weed-instances apply", timeout=300)
    healthy(deb)
    findings = json.loads(deb.run("weed doctor --json", check=False).stdout)
    assert [finding for finding in findings if finding["severity"] == "error"] == []
    deb.run("make -C /var/tmp/archive uninstall FORMAT=tar; rm -r /var/tmp/archive", timeout=300)
    assert deb.run("ps --no-headers -u weed", check=False).text == ""
    kept = (
        "/etc/weed",
        "/etc/default/weed",
        "/var/lib/weed",
        "/etc/passwd",
        "/etc/group",
        "/etc/shadow",
        "/etc/gshadow",
    )
    left = files_of(deb, *SYSTEM_FOLDERS) - before.files
    assert sorted(path for path in left if not path.startswith((*OTHERS, *kept))) == []
    assert deb.run("systemctl --failed --plain --no-legend").text == ""


def test_the_machine_carried_out_every_step(deb: Machine) -> None:
    deb.finish()
