"""What watches over the instances: AppArmor, logrotate, fail2ban and auditd, each of them the real one."""

from __future__ import annotations

import pytest

from tests.vm.host import BUCKET, PROXY, ROLES, aws, pid, status_of
from tests.vm.machine import Machine
from tests.waiting import shell_pause

pytestmark = pytest.mark.heavy

OUTSIDE = """
ip netns add outside
ip link add inner type veth peer name outer netns outside
ip address add 10.77.0.1/24 dev inner
ip link set inner up
ip -n outside address add 10.77.0.2/24 dev outer
ip -n outside link set outer up
"""
"""Another host: a network namespace with an address of its own."""


@pytest.mark.parametrize("role", ROLES)
def test_apparmor_confines_launcher_and_server_in_enforce_mode(serving: Machine, role: str) -> None:
    for number in (1, 2):
        main = serving.run(f"systemctl show --value --property MainPID weed-{role}@{number}").text
        assert serving.read(f"/proc/{main}/attr/current").strip("\0\n") == "weed-launch (enforce)"
        server = pid(serving, f"{role}-{number}")
        assert serving.read(f"/proc/{server}/attr/current").strip("\0\n") == "weed//&weed-launch (enforce)"


def test_apparmor_refuses_what_a_server_has_no_business_with(serving: Machine) -> None:
    """The profile does hold: a weed under it cannot read a file that its user may read."""
    serving.run("echo secret > /srv/other; chmod 644 /srv/other")
    read = "open('/srv/other').read()"
    done = serving.run(f'aa-exec -p weed-launch -- /usr/bin/python3 -IBc "{read}"', check=False)
    assert done.code != 0
    assert "Permission denied" in done.stderr
    serving.run("rm /srv/other")


def test_apparmor_admits_data_elsewhere_once_the_instances_are_applied(serving: Machine) -> None:
    probe = "setpriv --reuid=weed --regid=weed --clear-groups aa-exec -p weed-launch -- "
    probe += """/usr/bin/python3 -IBc "open('/srv/volume-2/probe', 'w')" """
    serving.run("cp /etc/default/weed/weed.conf /root/weed.conf; install -d -o weed -g weed /srv/volume-2")
    assert "Permission denied" in serving.run(probe, check=False).stderr
    more = "VOLUME_DATA_DIRS=/var/lib/weed/volume-%i,/srv/volume-%i\n"
    serving.run("cat >> /etc/default/weed/weed.conf", given=more.encode())
    assert "load the AppArmor profile again" in serving.run("weed-instances apply").stdout
    serving.run(probe)
    serving.run("systemctl restart weed-volume@2; mv /root/weed.conf /etc/default/weed/weed.conf", timeout=300)
    serving.run("weed-instances apply; systemctl restart weed-volume@2; rm -r /srv/volume-1 /srv/volume-2", timeout=300)
    assert serving.run("test -e /etc/apparmor.d/tunables/weed.d", check=False).code == 1


def test_logs_are_rotated_and_go_on_in_the_same_file(serving: Machine) -> None:
    serving.run("logrotate --force /etc/logrotate.d/weed")
    names = serving.run("cd /var/log/weed; stat --format '%n %U:%G %a' *").text.splitlines()
    for role in ROLES:
        assert f"{role}-1.log weed:weed 640" in names
        assert f"{role}-1.log.1.gz weed:weed 640" in names
    serving.run("systemctl restart weed-s3@1", timeout=300)
    assert "ready" in serving.read("/var/log/weed/s3-1.log")
    assert "ready" in serving.run("zcat /var/log/weed/s3-1.log.1.gz").stdout


def test_a_guesser_of_keys_is_banned_and_others_are_not(serving: Machine) -> None:
    serving.run(OUTSIDE)
    serving.run("sed -i 's/^S3_PROXY_ADDRESS=.*/S3_PROXY_ADDRESS=0.0.0.0/' /etc/default/weed/weed.conf")
    serving.run("weed-instances apply")
    serving.write("/etc/fail2ban/jail.d/weed-s3.local", "[weed-s3]\nenabled = true\n")
    serving.write("/etc/fail2ban/jail.d/defaults-debian.conf", "[DEFAULT]\nbanaction = nftables\n")
    serving.run("systemctl start fail2ban")
    serving.wait("fail2ban-client status weed-s3", timeout=120)
    guess = "ip netns exec outside curl -s -m 5 -o /dev/null -w '%{http_code}\\n' --aws-sigv4 aws:amz:us-east-1:s3"
    guess += f" --user guessed:guessed http://10.77.0.1:8300/{BUCKET}/large"
    pause = shell_pause(5, "fail2ban has read of them, and lets a thirtieth through")
    said = serving.run(f"for i in $(seq 29); do {guess}; done; {pause}; {guess}").text.split()
    assert said == ["403"] * 30, "29 are not too many"
    serving.wait("fail2ban-client get weed-s3 banip | grep -w 10.77.0.2", timeout=120)
    # fail2ban lists an address before it has closed the port to it.
    serving.wait(f"code=0; {guess} || code=$?; test $code = 7 -o $code = 28", timeout=60)
    assert status_of(serving, f"{PROXY}/") == 403, "asked from this host, S3 still answers"
    serving.run("fail2ban-client unban 10.77.0.2; systemctl stop fail2ban; ip link del inner; ip netns del outside")
    serving.run("rm /etc/fail2ban/jail.d/weed-s3.local /etc/fail2ban/jail.d/defaults-debian.conf")


def test_audit_sees_changes_reads_of_keys_and_runs(serving: Machine) -> None:
    """As a person who has logged in: `auid` 1000. What services do is not what an auditor looks for."""
    person = "echo 1000 > /proc/self/loginuid;"
    serving.run(f"{person} touch /etc/weed/note; cat /etc/weed/s3.json; weed version; rm /etc/weed/note")
    serving.run(f"{person} touch /etc/systemd/system/note; rm /etc/systemd/system/note")
    for key in ("weed-config", "weed-secrets", "weed-run", "weed-units"):
        found = serving.wait(f"ausearch --input-logs --key {key} --loginuid 1000 --interpret", timeout=30).stdout
        assert f"key={key}" in found
    assert "name=/etc/weed/s3.json" in serving.run("ausearch --input-logs --key weed-secrets --interpret").stdout


def test_alerts_and_scrapes_are_there_for_prometheus(serving: Machine) -> None:
    for name in ("prometheus-scrape.yml", "prometheus-alerts.yml"):
        assert serving.read(f"/usr/share/weed/{name}")


def test_s3_still_works(serving: Machine) -> None:
    listed, _ = aws(serving, "s3 ls", f"s3 ls s3://{BUCKET}/")
    assert BUCKET in listed
