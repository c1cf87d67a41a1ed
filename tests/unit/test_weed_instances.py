"""weed-instances on the files of an image; the links are systemctl's where it is installed, ours where it is not."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from weedops import datadirs, units
from weedops.errors import ConfigError, OpsError
from weedops.instances import main
from weedops.settings import read_settings

from tests.unit.weed_host import PRODUCT, Host

PROGRAM = PRODUCT / "scripts/weed-instances"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def run(host: Host, *arguments: str) -> tuple[int, str, str]:
    """Run the program itself, as the package does."""
    argv = [str(PROGRAM), "--root", str(host.root), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
    return done.returncode, done.stdout, done.stderr


def applied(host: Host) -> str:
    code, out, err = run(host, "apply")
    assert (code, err) == (0, "")
    return out


def enabled(host: Host) -> set[str]:
    return units.enabled(host.paths)


EIGHT = {f"weed-{role}@{number}.service" for role in ("master", "volume", "filer", "s3") for number in (1, 2)}


def test_exactly_the_instances_asked_for_are_enabled(host: Host) -> None:
    said = applied(host)
    assert enabled(host) == EIGHT | {"weed.target"}
    link = host.root / "etc/systemd/system/weed-master.target.wants/weed-master@1.service"
    assert str(link.readlink()) == "/usr/lib/systemd/system/weed-master@.service"
    assert (
        "\nenable weed.target weed-master@1.service weed-master@2.service weed-volume@1.service weed-volume@2.service "
        "weed-filer@1.service weed-filer@2.service weed-s3@1.service weed-s3@2.service\n" in said
    )
    assert "the instances start when the machine does" in said


def test_a_second_time_changes_nothing(host: Host) -> None:
    applied(host)
    before = sorted((str(path), path.lstat().st_mtime_ns) for path in host.root.rglob("*"))
    assert applied(host).startswith("nothing to do: this host matches weed.conf\n")
    assert sorted((str(path), path.lstat().st_mtime_ns) for path in host.root.rglob("*")) == before


def test_fewer_instances_are_disabled_and_keep_their_data(host: Host) -> None:
    applied(host)
    host.conf(S3_INSTANCES="1", VOLUME_INSTANCES="0")
    said = applied(host)
    assert enabled(host) == {"weed.target"} | {
        unit for unit in EIGHT if "volume" not in unit and unit != "weed-s3@2.service"
    }
    assert said.startswith("disable weed-s3@2.service weed-volume@1.service weed-volume@2.service\n")
    assert (host.root / "var/lib/weed/volume-1").is_dir()


def test_no_instances_leave_nothing_enabled(host: Host) -> None:
    applied(host)
    host.conf(**{f"{role}_INSTANCES": "0" for role in ("MASTER", "VOLUME", "FILER", "S3")})
    applied(host)
    assert enabled(host) == set()


def test_a_dry_run_says_it_and_does_nothing(host: Host) -> None:
    before = sorted(map(str, host.root.rglob("*")))
    code, said, _ = run(host, "apply", "--dry-run")
    assert code == 0
    assert "\nwould enable weed.target weed-master@1.service" in said
    assert sorted(map(str, host.root.rglob("*"))) == before


def test_the_links_without_systemctl_are_the_same(
    host: Host, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def links(root: Path) -> dict[str, str]:
        base = root / "etc/systemd/system"
        return {str(path.relative_to(base)): str(path.readlink()) for path in base.rglob("*") if path.is_symlink()}

    applied(host)
    other = Host(tmp_path_factory.mktemp("without"))
    monkeypatch.setattr(units, "find_program", lambda _paths, _name: "")
    assert main(["--root", str(other.root), "apply"]) == 0
    assert links(other.root) == links(host.root)
    other.conf(S3_INSTANCES="0")
    assert main(["--root", str(other.root), "apply"]) == 0
    assert not any("s3" in name for name in links(other.root))


def test_data_elsewhere_gets_a_drop_in(host: Host) -> None:
    host.conf(VOLUME_DATA_DIRS="/srv/a/volume-%i,/srv/b/volume-%i,/var/lib/weed/volume-%i")
    applied(host)
    path = host.root / "etc/systemd/system/weed-volume@.service.d/50-paths.conf"
    assert path.read_text().splitlines()[1:] == [
        "[Unit]",
        "RequiresMountsFor=/srv/a/volume-%i",
        "RequiresMountsFor=/srv/b/volume-%i",
        "",
        "[Service]",
        "ReadWritePaths=-/srv/a/volume-%i",
        "ReadWritePaths=-/srv/b/volume-%i",
    ]
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o644, 0o755)
    host.conf()
    assert f"remove {path}\n" in applied(host)
    assert not path.parent.exists()


def test_data_elsewhere_is_told_to_apparmor_where_its_profile_is(host: Host) -> None:
    tunables = host.root / "etc/apparmor.d/tunables/weed.d/instances"
    host.conf(VOLUME_DATA_DIRS="/srv/a/volume-%i/,/var/lib/weed/volume-%i", FILER_DATA_DIR="/srv/filer-%i")
    applied(host)
    assert not tunables.exists(), "the RPM has no profile"
    host.write("etc/apparmor.d/opt.weed.weed", "")
    applied(host)
    assert tunables.read_text().splitlines()[1:] == [
        '@{WEED_DATA}+="/srv/a/volume-[0-9]*"',
        '@{WEED_DATA}+="/srv/filer-[0-9]*"',
    ]
    assert applied(host).startswith("nothing to do")
    host.conf()
    assert f"remove {tunables}\n" in applied(host)
    assert not tunables.parent.exists()


def test_a_drop_in_of_somebody_else_is_left_alone(host: Host) -> None:
    mine = host.write("etc/systemd/system/weed-volume@.service.d/60-local.conf", "[Service]\nNice=5\n")
    host.conf(VOLUME_DATA_DIRS="/srv/volume-%i")
    applied(host)
    host.conf()
    applied(host)
    assert mine.exists()
    host.write("etc/systemd/system/weed-volume@.service.d/50-paths.conf", "[Service]\n")
    code, _, said = run(host, "apply")
    assert code == 1
    assert "was not made by weed-instances" in said


def test_folders_are_made_with_their_owner_under_any_umask(host: Host) -> None:
    before = os.umask(0o077)
    try:
        applied(host)
    finally:
        os.umask(before)
    made = host.root / "var/lib/weed/master-1"
    assert made.stat().st_mode & 0o777 == 0o750
    assert made.parent.stat().st_mode & 0o777 == 0o755
    assert (made.stat().st_uid, made.stat().st_gid) == (os.geteuid(), os.getegid())
    wants = host.root / "etc/systemd/system/weed-s3.target.wants"
    assert wants.stat().st_mode & 0o777 == 0o755


def test_data_of_somebody_else_is_never_taken(host: Host) -> None:
    host.write("etc/passwd", "weed:x:4000000:4000000::/:/bin/false\n")
    host.write("var/lib/weed/master-1/m9333/log", "x")
    code, _, said = run(host, "apply")
    assert code == 78
    assert "has files in it and does not belong to weed" in said
    assert enabled(host) == set()


def test_a_disk_that_is_not_mounted_gets_no_data(host: Host) -> None:
    host.conf(VOLUME_DATA_DIRS="/srv/disk1/volume-%i")
    host.write("etc/fstab", "# disks\nUUID=1 / ext4 defaults 0 1\nUUID=2 /srv/disk1 xfs defaults 0 2\n")
    code, _, said = run(host, "apply")
    assert code == 78
    assert "/srv/disk1, which /etc/fstab names and which is not mounted" in said
    assert not (host.root / "srv").exists()
    host.write("proc/self/mounts", "/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /srv/disk1 xfs rw 0 0\n")
    applied(host)
    assert (host.root / "srv/disk1/volume-2").is_dir()


def test_a_file_where_data_should_be_is_refused(host: Host) -> None:
    host.write("var/lib/weed/filer-1", "x")
    code, _, said = run(host, "apply")
    assert code == 78
    assert "is not a folder" in said


def test_a_host_without_the_user_is_told_so(host: Host) -> None:
    host.write("etc/passwd", "root:x:0:0::/root:/bin/sh\n")
    with pytest.raises(ConfigError, match="the user weed does not exist"):
        datadirs.owner(host.paths)


def test_a_wrong_configuration_changes_nothing(host: Host) -> None:
    applied(host)
    host.conf(S3_INSTANCES="two")
    code, out, said = run(host, "apply")
    assert (code, out) == (78, "")
    assert "S3_INSTANCES=two is not a number from 0 to 99" in said
    assert enabled(host) == EIGHT | {"weed.target"}


def test_the_configuration_of_haproxy_follows(host: Host) -> None:
    applied(host)
    path = host.root / "etc/haproxy/conf.d/weed-s3.cfg"
    assert "8334" in path.read_text()
    host.conf(S3_INSTANCES="1")
    assert f"write {path}\n" in applied(host)
    assert "8334" not in path.read_text()
    host.conf(S3_INSTANCES="0")
    assert f"remove {path}\n" in applied(host)
    assert not path.exists()


SYSTEMCTL = '#!/bin/sh\n[ "$1" = list-units ] || echo "$@" >> {calls}\n'
REFUSING = '#!/bin/sh\ncase "$1" in -v) echo HAProxy version 2.4.22 ;; *) echo no such certificate; exit 1 ;; esac\n'


@pytest.mark.parametrize(
    ("program", "says"),
    [(REFUSING, "HAProxy refuses the configuration for S3: no such certificate"), ("", "cannot be run")],
)
def test_what_haproxy_complains_of_keeps_no_instance_from_starting(host: Host, program: str, says: str) -> None:
    calls = host.root / "calls"
    (host.root / "run/systemd/system").mkdir(parents=True)
    host.write("usr/bin/systemctl", SYSTEMCTL.format(calls=calls), 0o755)
    host.write("usr/sbin/haproxy", program or "#!/nonexistent\n", 0o755)
    code, _, said = run(host, "apply")
    assert code == 1
    assert says in said
    assert f"--no-block start weed.target {' '.join(units.wanted(read_settings(host.paths)))}\n" in calls.read_text()


def test_the_list_shows_what_is_and_what_should_be(host: Host) -> None:
    applied(host)
    host.conf(S3_INSTANCES="1")
    code, out, _ = run(host, "list")
    assert code == 0
    assert out.splitlines()[1].split() == [
        "weed-master@1.service", "yes", "unknown", "silent", "http=9333", "grpc=19333", "metrics=9324",
    ]  # fmt: skip
    assert "weed-s3@2.service is not in weed.conf: weed-instances apply stops it" in out
    listed = json.loads(run(host, "list", "--json")[1])
    assert listed["not in weed.conf"] == ["weed-s3@2.service"]
    assert listed["instances"][0]["ports"] == {"http": 9333, "grpc": 19333, "metrics": 9324}


def test_waiting_for_what_does_not_run_fails_and_says_why(host: Host) -> None:
    host.conf(**{f"{role}_INSTANCES": "0" for role in ("VOLUME", "FILER", "S3")}, MASTER_INSTANCES="1", MASTER_PORT="1")
    code, out, _ = run(host, "apply", "--wait", "0.1")
    assert code == 1
    assert "not good after 0.1 s: weed-master@1.service: silent: no answer from http://127.0.0.1:1" in out


def test_a_masked_unit_is_said_to_be_one(host: Host) -> None:
    (host.root / "etc/systemd/system/weed-s3@.service").symlink_to("/dev/null")
    settings = read_settings(host.paths)
    with pytest.raises(OpsError, match="masked"):
        units.enable(host.paths, units.wanted(settings))
