"""Installing, upgrading, changing flavour, removing and purging, by dpkg and rpm themselves, where no systemd runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.packaged import Machine, build, machine

OWNED = {
    "/opt/weed": "d 0755 root:root",
    "/opt/weed/weed": "f 0755 root:root",
    "/opt/weed/healthcheck.sh": "f 0755 root:root",
    "/opt/weed/release": "f 0644 root:root",
    "/etc/weed": "d 0750 root:weed",
    "/etc/default/weed": "d 0755 root:root",
    "/etc/default/weed/weed.conf": "f 0644 root:root",
    "/etc/default/weed/security.toml": "f 0640 root:weed",
    "/var/lib/weed": "d 0755 root:root",
    "/var/log/weed": "d 0750 weed:weed",
}
LINK = "/etc/systemd/system/weed-master.target.wants/weed-master@2.service"
PLACES = ("/etc", "/opt", "/usr", "/lib/systemd", "/var/lib/weed", "/var/log")
OF_THE_TOOLS = ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/sub", "/etc/.pwd", "/var/log/dpkg")
"""What dpkg and the programs for users keep for themselves."""


@pytest.fixture(scope="module")
def packages(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages of 1.2.3 that were released, and of 1.3.0 and 2.0.0 of one flavour."""
    folder = tmp_path_factory.mktemp("packages")
    for path in (*dist.glob("*amd64.deb"), *dist.glob("*.x86_64.rpm"), *dist.glob("*.noarch.rpm")):
        shutil.copy(path, folder / path.name)
    binary = folder / "binary" / "example-linux-amd64"
    binary.parent.mkdir()
    shutil.copy(dist / "example-1.2.3-linux-amd64", binary)
    shutil.copy(dist / "example-1.2.3-linux-amd64.NOTICE.txt", binary.with_name(f"{binary.name}.NOTICE.txt"))
    build(binary, "1.3.0", folder, "example_", "example-1.3.0-1.el9", "example-selinux-1.3.0-1.el9")
    build(binary, "2.0.0", folder, "example_", "example-2.0.0-1.el9")
    return folder


@pytest.fixture
def host(packages: Path, tmp_path: Path) -> Iterator[Machine]:
    with machine(packages, tmp_path / "machine") as made:
        yield made


def package(version: str, name: str = "example") -> str:
    return f"/packages/{name}_{version}-1~ubuntu22.04.1_amd64.deb"


def left(host: Machine, before: dict[str, str]) -> list[str]:
    """Return what is there now and was not before, or is another thing."""
    now = host.listing(*PLACES)
    paths = [path for path, what in now.items() if before.get(path) != what]
    return [path for path in paths if not path.startswith(OF_THE_TOOLS)]


def test_deb_installs_with_its_user_and_the_right_owners_under_any_umask(host: Machine) -> None:
    said = host.run(f"umask 077; dpkg -i {package('1.2.3')}")
    assert "the instances start when the machine does" in said
    assert host.run("getent passwd weed").split(":")[5:] == ["/nonexistent", "/usr/sbin/nologin"]
    assert host.run("id -gn weed") == "weed"
    found = host.listing("/opt/weed", "/etc/weed", "/etc/default/weed", "/var/lib/weed", "/var/log/weed")
    assert {path: found[path] for path in OWNED} == OWNED
    assert host.run("dpkg --verify example; dpkg --audit") == ""
    assert LINK in host.listing("/etc/systemd/system")
    before = host.listing(*PLACES)
    host.run(f"dpkg -i {package('1.2.3')}")
    assert host.listing(*PLACES) == before, "installing again changes nothing"


def test_deb_upgrades_keep_what_was_edited_and_going_back_needs_consent(host: Machine) -> None:
    host.run(f"dpkg -i {package('1.2.3')}")
    host.run(
        "sed -i 's/^MASTER_INSTANCES=.*/MASTER_INSTANCES=3/' /etc/default/weed/weed.conf; echo x > /etc/weed/s3.json"
    )
    host.run(f"dpkg -i {package('1.3.0')} && dpkg -i {package('2.0.0')}")
    assert "VERSION=2.0.0" in host.run("cat /opt/weed/release")
    assert "MASTER_INSTANCES=3" in host.run("cat /etc/default/weed/weed.conf")
    assert LINK.replace("@2", "@3") in host.listing("/etc/systemd/system")
    code, said = host.attempt(f"dpkg -i {package('1.3.0')}")
    assert code != 0
    assert "2.0.0 is installed, and 1.3.0 may not be able to read its data" in said
    assert "touch /etc/weed/allow-downgrade" in said
    assert host.run("dpkg-query -W -f '${Status} ${Version}' example").startswith("install ok installed 2.0.0")
    assert "VERSION=2.0.0" in host.run("cat /opt/weed/release"), "nothing was unpacked"
    host.run(f"touch /etc/weed/allow-downgrade; dpkg -i {package('1.3.0')}")
    host.run(f"dpkg -i {package('1.2.3')}")
    assert "MASTER_INSTANCES=3" in host.run("cat /etc/default/weed/weed.conf")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("FIPS_ENABLED=true", "this host asks for FIPS"),
        ('VOLUME_INSTANCES="many"', "VOLUME_INSTANCES is 'many', not a number"),
        ("S3_INSTANCES=100", "S3_INSTANCES is 100; at most 99"),
        ("FILER_PORT=60000", "FILER_PORT is 60000; at most 55535"),
        ("S3_INSTANCES = many", "S3_INSTANCES is 'many', not a number"),
        ("FILER_PORT=9333", "master-1 (http) and filer-1 (http) would both listen on port 9333"),
        ("FILER_DATA_DIR=/home/weed-%i", "filer-1: /home/weed-1 is below /home, where no data can be"),
        ("nonsense", "the line 'nonsense' is not KEY=VALUE"),
    ],
)
def test_deb_refuses_an_upgrade_that_could_not_work(host: Machine, line: str, reason: str) -> None:
    host.run(f"dpkg -i {package('1.2.3')}")
    host.run(f"echo '{line}' >> /etc/default/weed/weed.conf")
    code, said = host.attempt(f"dpkg -i {package('1.3.0')}")
    assert code != 0
    assert reason in said
    assert "nothing was changed" in said
    assert "VERSION=1.2.3" in host.run("cat /opt/weed/release")


def test_deb_refuses_to_begin_in_the_middle_of_a_rolling_restart(host: Machine) -> None:
    host.run(f"dpkg -i {package('1.2.3')}")
    code, said = host.attempt(f"mkdir -p /run; flock /run/weed-rolling-restart.lock dpkg -i {package('1.3.0')}")
    assert code != 0
    assert "a rolling restart is under way" in said


def test_deb_flavours_replace_each_other_and_share_what_the_host_has(host: Machine) -> None:
    host.run(
        f"dpkg -i {package('1.2.3')}; echo S3_INSTANCES=1 >> /etc/default/weed/weed.conf; echo x > /etc/weed/s3.json"
    )
    host.run(f"dpkg -i {package('1.2.3', 'example-fips')}")
    assert "VARIANT=fips" in host.run("cat /opt/weed/release")
    before = host.listing("/etc/weed", "/etc/default/weed", "/etc/systemd/system", "/var/log/weed")
    assert {LINK, "/etc/weed/s3.json"} <= set(before)
    assert "S3_INSTANCES=1" in host.run("cat /etc/default/weed/weed.conf")
    host.run("dpkg --purge example")
    assert host.listing("/etc/weed", "/etc/default/weed", "/etc/systemd/system", "/var/log/weed") == before
    assert host.run("getent group weed")
    assert host.run("dpkg --verify example-fips | grep -v weed.conf || :") == ""


SYSTEMCTL = r"""#!/bin/sh
echo "$*" >> /run/asked
case "$*" in
    *list-units*) sed 's/$/ loaded active running x/' /run/running ;;
    *is-active*) for last; do :; done; grep -qx "$last" /run/running ;;
esac
"""


def with_systemd(host: Machine, *running: str) -> None:
    """Let it look as if systemd ran, with these units active. Nothing that is asked of it is done."""
    host.run(
        f"mkdir -p /run/systemd/system; rm -f /usr/bin/systemctl; cat > /usr/bin/systemctl <<'END'\n{SYSTEMCTL}END"
    )
    host.run(f"chmod 755 /usr/bin/systemctl; : > /run/asked; printf '%s\\n' {' '.join(running)} > /run/running")


def test_deb_a_change_of_flavour_says_which_one_still_runs_and_restarts_when_asked_to(host: Machine) -> None:
    host.run(f"dpkg -i {package('1.2.3')}")
    with_systemd(host, "weed-master@1.service")
    said = host.run(f"dpkg -i {package('1.2.3', 'example-fips')}")
    assert "the running instances still are of the other flavour: run 'weed-rolling-restart' when it suits" in said
    assert "until then FIPS does not hold for them" in said
    assert "stop weed-" not in host.run("cat /run/asked")
    said = host.run(f"dpkg -i {package('1.2.3')}")
    assert "still are of the old version or flavour" in said or "still are of the other flavour" in said
    assert "FIPS" not in said.replace("example-fips", "")
    host.run("touch /etc/weed/restart-on-upgrade; : > /run/asked")
    said = host.run(f"dpkg -i {package('1.2.3', 'example-fips')}")
    assert "still are" not in said
    assert "try-restart weed-s3@*.service" in host.run("cat /run/asked")


def test_deb_an_installation_says_nothing_of_instances_that_did_not_run(host: Machine) -> None:
    with_systemd(host)
    assert "still are" not in host.run(f"dpkg -i {package('1.2.3')} && dpkg --remove example")
    host.run("mkdir -p /etc/weed; touch /etc/weed/restart-on-upgrade")
    host.run(f"dpkg -i {package('1.2.3')}")
    assert "try-restart" not in host.run("cat /run/asked"), "what was removed did not run any more"


def test_deb_a_host_whose_policy_forbids_it_gets_enabled_instances_and_nothing_is_started(host: Machine) -> None:
    with_systemd(host)
    host.run("printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod 0755 /usr/sbin/policy-rc.d")
    host.run("mkdir -p /etc/weed; touch /etc/weed/restart-on-upgrade")
    said = host.run(f"dpkg -i {package('1.2.3')}")
    assert "policy-rc.d lets nothing start or restart here" in said
    asked = host.run("cat /run/asked")
    assert any("enable" in line.split() and "weed-master@2.service" in line for line in asked.splitlines())
    assert not [line for line in asked.splitlines() if "start" in line.split()]
    assert "try-restart" not in asked
    host.run("printf '#!/bin/sh\\nexit 104\\n' > /usr/sbin/policy-rc.d")
    host.run(f"dpkg -i {package('1.2.3')}")
    assert [line for line in host.run("cat /run/asked").splitlines() if "start" in line.split()]


def test_deb_removal_keeps_configuration_and_data_and_a_purge_leaves_nothing(host: Machine) -> None:
    before = dict(host.listing(*PLACES))
    host.run(f"dpkg -i {package('1.2.3')}")
    host.run("mkdir -p /etc/haproxy/conf.d /etc/systemd/system/weed-volume@.service.d")
    host.run("touch /etc/haproxy/conf.d/weed-s3.cfg /etc/systemd/system/weed-volume@.service.d/50-paths.conf")
    host.run("touch /etc/weed/s3.json /var/log/weed/master-1.log; chown weed:weed /var/log/weed/master-1.log")
    host.run("dpkg --remove example")
    kept = set(left(host, before))
    assert {"/etc/default/weed/weed.conf", "/etc/weed/s3.json", "/var/log/weed/master-1.log"} <= kept
    assert not [path for path in kept if path.startswith(("/opt", "/usr", "/etc/systemd", "/etc/haproxy"))]
    assert host.run("getent passwd weed")
    host.run("dpkg --purge example")
    assert left(host, before) == []
    assert host.attempt("getent passwd weed || getent group weed")[0] != 0


def test_deb_purge_keeps_data_for_nobody_but_root_unless_asked(host: Machine) -> None:
    write = "install -d -o weed -g weed /var/lib/weed/volume-1; touch /var/lib/weed/volume-1/1.dat"
    host.run(f"dpkg -i {package('1.2.3')}; {write}; chown weed:weed /var/lib/weed/volume-1/1.dat")
    assert "the data in /var/lib/weed is kept" in host.run("dpkg --purge example")
    found = host.listing("/var/lib/weed")
    assert found["/var/lib/weed"] == "d 0700 root:root"
    assert found["/var/lib/weed/volume-1/1.dat"].endswith("root:root")
    host.run(f"dpkg -i {package('1.2.3')}; touch /etc/weed/purge-data; dpkg --purge example")
    assert host.attempt("ls /var/lib/weed")[0] != 0


def archive(version: str, name: str = "example") -> str:
    return f"/packages/{name}-{version}-1.el9.x86_64.rpm"


RPM = "rpm --nodeps"
"""This machine's database knows no RPM, so nothing is there that a package could depend on."""


def test_rpm_installs_upgrades_and_is_erased(host: Machine) -> None:
    host.run(f"umask 077; {RPM} --install {archive('1.2.3')}")
    assert host.run("getent passwd weed").split(":")[5:] == ["/", "/sbin/nologin"]
    found = host.listing("/opt/weed", "/etc/weed", "/etc/default/weed", "/var/lib/weed", "/var/log/weed")
    assert {path: found[path] for path in OWNED} == OWNED
    assert host.run("rpm --verify --nodeps example") == ""
    assert LINK in host.listing("/etc/systemd/system")
    host.run("echo MASTER_INSTANCES=3 >> /etc/default/weed/weed.conf")
    host.run(f"{RPM} --upgrade {archive('2.0.0')}")
    assert "MASTER_INSTANCES=3" in host.run("cat /etc/default/weed/weed.conf")
    assert LINK.replace("@2", "@3") in host.listing("/etc/systemd/system")
    code, said = host.attempt(f"{RPM} --upgrade --oldpackage {archive('1.3.0')}")
    assert code != 0
    assert "may not be able to read its data" in said
    assert "VERSION=2.0.0" in host.run("cat /opt/weed/release")
    host.run("mkdir -p /etc/haproxy/conf.d; touch /etc/haproxy/conf.d/weed-s3.cfg /var/log/weed/master-1.log")
    host.run(f"{RPM} --erase example")
    found = host.listing("/etc", "/var/log/weed")
    assert {"/etc/default/weed/weed.conf.rpmsave", "/var/log/weed/master-1.log"} <= set(found)
    assert not [path for path in found if path.startswith(("/etc/systemd/system/weed", "/etc/haproxy"))]
    assert not [path for path in found if "target.wants/weed" in path]
    assert host.attempt("ls /opt/weed")[0] != 0
    assert host.run("getent passwd weed"), "rpm has no purge: the user stays, and so do data and logs"


SWAP = """
import os, rpm
done = rpm.TransactionSet()
done.setVSFlags(rpm._RPMVSF_NOSIGNATURES)
path = "{new}"
with open(path) as file:
    done.addInstall(done.hdrFromFdno(file.fileno()), path, "u")
done.addErase("{old}")
opened = {{}}
def callback(what, amount, total, key, data):
    if what == rpm.RPMCALLBACK_INST_OPEN_FILE:
        opened[key] = os.open(key, os.O_RDONLY)
        return opened[key]
    if what == rpm.RPMCALLBACK_INST_CLOSE_FILE:
        os.close(opened[key])
done.order()
print(done.run(callback, ""))
"""


def test_rpm_flavours_swap_in_one_transaction_without_losing_instances(host: Machine) -> None:
    host.run(f"{RPM} --install {archive('1.2.3')}; echo S3_INSTANCES=1 >> /etc/default/weed/weed.conf")
    host.run("weed-instances apply")
    before = host.listing("/etc/systemd/system", "/etc/weed", "/var/log/weed")
    script = SWAP.format(new=archive("1.2.3", "example-fips"), old="example")
    assert host.run(f"python3 -c '{script}'").splitlines()[-1] == "None"
    assert host.run("rpm -qa 'example*'") == "example-fips-1.2.3-1.el9.x86_64"
    assert "VARIANT=fips" in host.run("cat /opt/weed/release")
    assert host.listing("/etc/systemd/system", "/etc/weed", "/var/log/weed") == before
    assert "S3_INSTANCES=1" in host.run("cat /etc/default/weed/weed.conf*")


def test_rpm_a_swap_of_flavours_says_which_one_still_runs_and_restarts_when_asked_to(host: Machine) -> None:
    host.run(f"{RPM} --install {archive('1.2.3')}")
    with_systemd(host, "weed-master@1.service")
    swap = SWAP.format(new=archive("1.2.3", "example-fips"), old="example")
    said = host.run(f"python3 -c '{swap}'")
    assert "the running instances still are of the other flavour: run 'weed-rolling-restart' when it suits" in said
    assert "until then FIPS does not hold for them" in said
    assert "stop weed-" not in host.run("cat /run/asked")
    host.run("touch /etc/weed/restart-on-upgrade; : > /run/asked")
    swap = SWAP.format(new=archive("1.2.3"), old="example-fips")
    assert "still are" not in host.run(f"python3 -c '{swap}'")
    assert "try-restart weed-s3@*.service" in host.run("cat /run/asked")


def test_rpm_settings_that_an_erasure_put_aside_are_restored_before_anything_starts(host: Machine) -> None:
    host.run(f"{RPM} --install {archive('1.2.3')}; echo MASTER_INSTANCES=3 >> /etc/default/weed/weed.conf")
    host.run(f"echo '# ours' >> /etc/default/weed/security.toml; {RPM} --erase example")
    said = host.run(f"{RPM} --install {archive('1.2.3')}")
    back = [f"mv /etc/default/weed/{name}.rpmsave /etc/default/weed/{name}" for name in ("weed.conf", "security.toml")]
    for command in back:
        assert f"run '{command}', or remove it" in said
    assert "so no instance was started: then run 'weed doctor --before start' and 'weed-instances apply'" in said
    assert LINK not in host.listing("/etc/systemd/system")
    host.run("; ".join([*back, "weed-instances apply"]))
    assert LINK.replace("@2", "@3") in host.listing("/etc/systemd/system")
    assert "rpmsave" not in host.run(f"{RPM} --upgrade {archive('2.0.0')}")
    assert "MASTER_INSTANCES=3" in host.run("cat /etc/default/weed/weed.conf")


def test_rpm_an_erasure_of_what_nobody_edited_leaves_nothing_to_restore(host: Machine) -> None:
    host.run(f"{RPM} --install {archive('1.2.3')}; {RPM} --erase example")
    assert not [path for path in host.listing("/etc/default") if "weed" in path]
    assert "rpmsave" not in host.run(f"{RPM} --install {archive('1.2.3')}")
    assert LINK in host.listing("/etc/systemd/system")


ORACLE_LINUX = (
    *("/bin/sh", "/usr/libexec/platform-python", "coreutils", "findutils", "gawk", "grep", "policycoreutils"),
    *("python3", "sed", "shadow-utils", "systemd", "util-linux"),
)
"""What a minimal Oracle Linux 8 or 9 has, in its repository BaseOS, of what the packages ask for."""

STAND_IN = """
Name: {name}
Version: 1
Release: 1
Summary: Stands for packages of the distribution
License: none
BuildArch: noarch
Provides: {provides}
%description
%files
"""


def distribution(host: Machine, name: str, *provides: str) -> None:
    """Let rpm's database have a package that provides these names."""
    spec = STAND_IN.format(name=name, provides=", ".join(provides))
    host.run(f"cat > /tmp/{name}.spec <<'END'{spec}END\nrpmbuild -bb --define '_rpmdir /tmp' /tmp/{name}.spec")
    host.run(f"rpm --install /tmp/noarch/{name}-1-1.noarch.rpm")


def module(version: str, release: str = "el9") -> str:
    return f"/packages/example-selinux-{version}-1.{release}.noarch.rpm"


@pytest.mark.parametrize("release", ["el8", "el9"])
def test_rpm_all_that_is_needed_is_in_oracle_linux_or_in_the_other_package(host: Machine, release: str) -> None:
    main = f"/packages/example-1.2.3-1.{release}.x86_64.rpm"
    assert host.attempt(f"rpm --test --install {main}")[0] != 0
    distribution(host, "oracle-linux", *ORACLE_LINUX)
    host.run(f"rpm --test --install {main}")
    host.run(f"rpm --test --install {main.replace('example-', 'example-fips-')}")
    distribution(host, "policy", "selinux-policy-targeted")
    code, said = host.attempt(f"rpm --test --install {main}")
    assert code != 0
    assert f"(example-selinux = 1.2.3-1.{release} if selinux-policy-targeted) is needed" in said
    host.run(f"rpm --test --install {main} {module('1.2.3', release)}")


def test_rpm_upgrades_and_downgrades_resolve_with_both_packages_and_not_with_one(host: Machine) -> None:
    distribution(host, "oracle-linux", *ORACLE_LINUX, "selinux-policy-targeted")
    host.run(f"rpm --install {archive('1.2.3')} {module('1.2.3')}")
    assert "example-selinux = 1.3.0-1.el9" in host.attempt(f"rpm --upgrade {archive('1.3.0')}")[1]
    host.run(f"rpm --upgrade {archive('1.3.0')} {module('1.3.0')}")
    assert "example-selinux = 1.2.3-1.el9" in host.attempt(f"rpm --upgrade --oldpackage {archive('1.2.3')}")[1]
    host.run(f"rpm --upgrade --oldpackage {archive('1.2.3')} {module('1.2.3')}")
    assert "conflicts with" in host.attempt(f"rpm --install {archive('1.2.3', 'example-fips')}")[1]
    script = SWAP.format(new=archive("1.2.3", "example-fips"), old="example")
    checked = script.replace("done.order()", "assert not done.check()\ndone.order()")
    assert host.run(f"python3 -c '{checked}'").splitlines()[-1] == "None"
    assert host.run("rpm --query --all 'example*' | sort").split() == [
        "example-fips-1.2.3-1.el9.x86_64", "example-selinux-1.2.3-1.el9.noarch",
    ]  # fmt: skip
