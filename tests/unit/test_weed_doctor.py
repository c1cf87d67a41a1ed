"""The doctor on disks: space, inodes and mount options, of file systems that the test describes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from weedops import doctor_host
from weedops.findings import Account, Host
from weedops.paths import Paths
from weedops.settings import check_settings

GB = 10**9


class Disk:
    """What statvfs(3) says, in blocks of 1 byte."""

    f_frsize = 1

    def __init__(self, size: int, free: int, files: int = 1000, free_files: int = 900) -> None:
        self.f_blocks, self.f_bavail, self.f_files, self.f_favail = size, free, files, free_files


def found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, disk: Disk, mount: str = "ext4 rw") -> dict[str, str]:
    """Return the severity of each finding on a host whose only file system is `disk`, by id."""
    kind, options = mount.split()
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    monkeypatch.setattr(doctor_host, "_mount", lambda _: ("/", kind, options.split(",")))
    settings = check_settings({"MASTER_INSTANCES": "1"}, "weed.conf")
    host = Host(Paths(str(tmp_path)), "", settings, True, None, None)
    return {one.id: one.severity for one in doctor_host.disks(host)}


@pytest.mark.parametrize(
    ("disk", "expected"),
    [
        (Disk(100 * GB, 50 * GB), {"disk": "ok"}),
        (Disk(100 * GB, 9 * GB), {"disk-low": "warning"}),
        (Disk(100 * GB, GB), {"disk-full": "error"}),
        (Disk(2 * GB, GB), {"disk-full": "error"}),
        (Disk(100 * GB, 50 * GB, free_files=49), {"disk": "ok", "inodes-low": "warning"}),
        (Disk(100 * GB, 50 * GB, files=0, free_files=0), {"disk": "ok"}),
    ],
)
def test_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, disk: Disk, expected: dict[str, str]) -> None:
    assert found(monkeypatch, tmp_path, disk) == expected


@pytest.mark.parametrize(
    ("mount", "name"), [("ext4 rw,noexec", "noexec"), ("xfs ro", "read-only"), ("tmpfs rw", "data-volatile")]
)
def test_mount_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mount: str, name: str) -> None:
    assert name in found(monkeypatch, tmp_path, Disk(100 * GB, 50 * GB), mount)


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "wanted", "may"),
    [
        (0o640, 0, 990, 4, True),
        (0o640, 0, 0, 4, False),
        (0o604, 0, 0, 4, True),
        (0o640, 0, 990, 6, False),
        (0o040, 990, 990, 4, False),
        (0o700, 990, 0, 7, True),
    ],
)
def test_what_the_service_user_may(mode: int, uid: int, gid: int, wanted: int, may: bool) -> None:
    status = os.stat_result((mode, 0, 0, 1, uid, gid, 0, 0, 0, 0))
    assert Account(990, [990]).may(status, wanted) is may
