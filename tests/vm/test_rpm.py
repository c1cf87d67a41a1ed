"""The RPMs through rpm itself, on a host that enforces SELinux: scriptlets, signatures, upgrade, erasure, confinement.

rpm runs on Debian here, with a database of its own, so `--nodeps` stands for the packages of Oracle Linux. Debian calls
its targeted policy `default`; a link gives it the name that it has on Oracle Linux.
"""

from __future__ import annotations

import json

import pytest

from tests.vm.host import (
    BUCKET,
    LARGE,
    ROLES,
    UNITS,
    aws,
    healthy,
    large_is_whole,
    load,
    pid,
    running_versions,
    upload_large,
    version,
    with_keys,
    with_room,
)
from tests.vm.machine import Machine
from tests.vm.packages import Packages, without

pytestmark = pytest.mark.heavy

HERE = "/payload/packages"
RPM = "rpm --force-debian --nodeps"
EDITED = "# kept by every upgrade\nVOLUME_SIZE_LIMIT_MB=1000\n"


@pytest.fixture(scope="module")
def host(rpm: Machine, built: Packages) -> Machine:
    """The host with the older release where there is one, and the SELinux module of this one."""
    folder = f"{HERE}/{'older' if built.older else 'current'}"
    rpm.run(
        f"{RPM} --install {HERE}/current/{built.product}-selinux-*.el9.noarch.rpm "
        f"{folder}/{built.product}-{built.older_version or built.version}-*.el9.x86_64.rpm 2>&1",
        timeout=900,
    )
    healthy(rpm)
    with_room(rpm)
    with_keys(rpm)
    aws(rpm, f"s3 mb s3://{BUCKET}")
    return rpm


def modules(machine: Machine) -> list[str]:
    """Return the modules of the policy. semodule may write to a pipe of a shell, and not to the agent's."""
    found = machine.run("semodule --list | cat").text.split()
    assert "unconfined" in found
    return found


def test_both_packages_are_signed_by_our_key_and_no_other(rpm: Machine, built: Packages) -> None:
    if rpm.run(f"test -e {HERE}/current/signing-key.asc", check=False).code:
        without("not a finished release: nothing is signed")
    packages = f"{HERE}/current/*.rpm"
    check = f"rpm --checksig --define '_pkgverify_level all' {packages}"
    unknown = rpm.run(check, check=False)
    assert unknown.code != 0, "without our key"
    assert "SIGNATURES NOT OK" in unknown.stdout
    rpm.run(f"rpm --import {HERE}/current/signing-key.asc")
    known = rpm.run(check).text.splitlines()
    assert known
    assert all(line.endswith("digests signatures OK") for line in known)
    rpm.run(f"cp {HERE}/current/{built.product}-{built.version}-*.el9.x86_64.rpm /tmp/changed.rpm")
    rpm.run("printf x | dd of=/tmp/changed.rpm bs=1 seek=200000 conv=notrunc status=none")
    assert rpm.run("rpm --checksig /tmp/changed.rpm", check=False).code != 0


def test_an_installation_brings_up_two_of_each(host: Machine) -> None:
    for unit in UNITS:
        assert host.run(f"systemctl is-active {unit}; systemctl is-enabled {unit}").text == "active\nenabled"
    assert host.run("systemctl --failed --plain --no-legend").text == ""
    home, shell = host.run("getent passwd weed").text.split(":")[5:]
    assert (home, shell) == ("/", "/sbin/nologin")


def test_rpm_verifies_what_it_has_installed(host: Machine, built: Packages) -> None:
    said = host.run(f"rpm --verify --nodeps {built.product} {built.product}-selinux", check=False).text
    assert [line for line in said.splitlines() if " c " not in line] == []


def test_every_program_is_a_file_of_the_package_with_its_digest_in_the_database(host: Machine, built: Packages) -> None:
    """What fapolicyd trusts: its rpmdb backend takes path, size and SHA-256 from there."""
    find = "find /opt/weed /usr/bin/weed /usr/sbin/weed-* -type f"
    assert host.run(f"{find} -print0 | xargs -0 rpm --query --file --queryformat '%{{NAME}}\\n' | sort -u").text == (
        built.product
    )
    listed = host.run(f"rpm --query --queryformat '[%{{FILEDIGESTS}}  %{{FILENAMES}}\\n]' {built.product}").text
    digests = dict(line.split("  ")[::-1] for line in listed.splitlines() if not line.startswith(" "))
    for line in host.run(f"{find} -perm /111 -print0 | xargs -0 sha256sum").text.splitlines():
        digest, path = line.split("  ")
        assert digests[path] == digest


def test_selinux_enforces_and_the_module_is_loaded(host: Machine) -> None:
    assert host.run("getenforce").text == "Enforcing"
    assert "weed" in modules(host)


@pytest.mark.parametrize("role", ROLES)
def test_every_instance_is_confined(host: Machine, role: str) -> None:
    for number in (1, 2):
        main = host.run(f"systemctl show --value --property MainPID weed-{role}@{number}").text
        for process in (main, pid(host, f"{role}-{number}")):
            assert host.run(f"ps --no-headers -o label {process}").text.split(":")[2] == "weed_t"


@pytest.mark.parametrize(
    ("path", "kind"),
    {
        "/opt/weed/weed": "weed_exec_t",
        "/opt/weed/libexec/weed-launch": "weed_exec_t",
        "/etc/weed/s3.json": "weed_etc_t",
        "/var/lib/weed/volume-1": "weed_var_lib_t",
        "/var/log/weed/s3-1.log": "weed_log_t",
        "/run/weed/filer-1": "weed_runtime_t",
        "/usr/lib/systemd/system/weed-s3@.service": "weed_unit_t",
    }.items(),
)
def test_label(host: Machine, path: str, kind: str) -> None:
    assert host.run(f"stat --format %C {path}").text.split(":")[2] == kind


def test_a_server_may_not_read_what_is_not_its_own(host: Machine) -> None:
    """The module does confine: a file that everybody may read is refused to a server, and not to one outside."""
    host.write("/srv/other", "{}")
    host.run("chcon --type user_home_t /srv/other")
    command = "/opt/weed/weed -logtostderr=true s3 -port=18999 -filer=127.0.0.1:8888 -config=/srv/other"
    host.run(f"systemd-run --quiet --wait --unit=probe --uid=weed {command}", check=False)
    said = host.run("journalctl --no-pager -o cat --unit probe").text
    assert "/srv/other: permission denied" in said
    free = host.run(f"timeout 10 setpriv --reuid=weed --regid=weed --clear-groups --reset-env {command}", check=False)
    assert free.code == 124
    assert "/srv/other: permission denied" not in free.stderr


def test_s3_works(host: Machine) -> None:
    upload_large(host)
    (listed,) = aws(host, f"s3api list-objects-v2 --bucket {BUCKET} --output json")
    assert [entry["Size"] for entry in json.loads(listed)["Contents"]] == [LARGE]


def test_an_upgrade_keeps_data_and_edited_configuration_and_interrupts_nothing(host: Machine, built: Packages) -> None:
    if built.older is None:
        without("no older release: set WEED_OLDER_RELEASE")
    host.run("cat >> /etc/default/weed/weed.conf", given=EDITED.encode())
    with load(host, least=20):
        said = host.run(
            f"{RPM} --upgrade {HERE}/current/{built.product}-{built.version}-*.el9.x86_64.rpm 2>&1", timeout=900
        )
    assert "run 'weed-rolling-restart' when it suits" in said.stdout
    assert version(host) == built.version
    assert running_versions(host) == {"replaced"}
    host.run("weed-rolling-restart", timeout=1200)
    assert running_versions(host) == {"current"}
    assert host.read("/etc/default/weed/weed.conf").endswith(EDITED)
    assert host.run("find /etc -name '*.rpmnew' -o -name '*.rpmsave'").text == ""
    large_is_whole(host)


def test_a_swap_of_flavours_says_what_still_runs_or_restarts_it(host: Machine, built: Packages) -> None:
    """As `dnf swap`: the new one comes before the old one goes. rpm has no command for both in one transaction."""
    fips = host.run(f"ls {HERE}/current/{built.product}-fips-{built.version}-*.el9.x86_64.rpm", check=False)
    if fips.code != 0:
        without("this release has no FIPS flavour")
    before = host.run("systemctl show --value --property MainPID 'weed-*@*.service'").text
    said = host.run(f"{RPM} --install --replacefiles {fips.text} 2>&1", timeout=900).stdout
    assert "the running instances still are of the other flavour: run 'weed-rolling-restart'" in said
    assert "until then FIPS does not hold for them" in said
    host.run(f"{RPM} --erase {built.product} 2>&1", timeout=900)
    assert "VARIANT=fips" in host.read("/opt/weed/release")
    assert host.run("systemctl show --value --property MainPID 'weed-*@*.service'").text == before
    assert running_versions(host) == {"replaced"}
    host.run("touch /etc/weed/restart-on-upgrade")
    back = f"{HERE}/current/{built.product}-{built.version}-*.el9.x86_64.rpm"
    said = host.run(f"{RPM} --install --replacefiles {back} 2>&1", timeout=1800).stdout
    assert "still are of" not in said
    host.run(f"{RPM} --erase {built.product}-fips; rm /etc/weed/restart-on-upgrade", timeout=900)
    healthy(host)
    assert running_versions(host) == {"current"}
    large_is_whole(host)


def test_a_reboot_brings_everything_back(host: Machine) -> None:
    host.reboot()
    healthy(host)
    assert host.run("getenforce").text == "Enforcing"
    large_is_whole(host)


def test_selinux_denied_nothing(host: Machine) -> None:
    said = host.run("ausearch --input-logs --message AVC,USER_AVC,SELINUX_ERR --raw", check=False).stdout
    assert "avc:  denied" in said, "other services of Debian are denied things, so denials are seen"
    denials = {line for line in said.splitlines() if line.startswith(("type=AVC", "type=USER_AVC", "type=SELINUX_ERR"))}
    ours = {line for line in denials if "weed" in line and 'name="other"' not in line}
    assert not ours, "\n".join(sorted(ours)[:30])


def test_an_erasure_keeps_data_logs_and_user_and_leaves_no_module(host: Machine, built: Packages) -> None:
    host.run(f"{RPM} --erase {built.product} 2>&1", timeout=900)
    assert host.run(f"systemctl is-active {' '.join(UNITS)} | sort -u", check=False).text == "inactive"
    assert host.run("ps --no-headers -u weed", check=False).text == ""
    left = host.run("find /opt/weed /usr/lib/systemd/system/weed* /etc/systemd/system/weed*", check=False).stdout
    left += host.run("ls /etc/haproxy/conf.d/weed-s3.cfg", check=False).stdout
    assert left == ""
    assert host.run("getent passwd weed").code == 0
    assert len(host.run("ls /var/lib/weed").text.split()) == 8
    assert "VOLUME_SIZE_LIMIT_MB=1000" in host.run("cat /etc/default/weed/weed.conf*").stdout or not built.older
    host.run(f"{RPM} --erase {built.product}-selinux 2>&1", timeout=900)
    assert "weed" not in modules(host)
    assert "weed" not in host.run("stat --format %C /var/lib/weed /etc/weed /var/log/weed", check=False).text


def test_the_machine_carried_out_every_step(rpm: Machine) -> None:
    rpm.finish()
