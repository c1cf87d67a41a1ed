"""A Debian root with a real systemd as its first process, in namespaces of its own: a host that starts in a second.

It has what is on the machines' disk, with a layer of its own over it, its own devices, control group and loopback, and
this machine's kernel: what a kernel decides (AppArmor, SELinux, audit) cannot be seen in it. `machine.py` has that.

    with Container(base_image(), {"packages": folder}, folder=tmp_path) as host:
        host.run("systemctl is-active weed.target")
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.conftest import require_root, require_tool
from tests.vm.guest import agent
from tests.vm.image import Base
from tests.vm.system import Done, MachineError, System
from tests.waiting import until

GUEST = Path(__file__).with_name("guest")
CGROUPS = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")
MASKED = (
    *("auditd.service", "apparmor.service", "vm-agent.service"),
    *("systemd-udevd.service", "systemd-remount-fs.service"),
)
"""What needs a kernel of its own."""

# Arguments: the root below, a folder of this test's own, units to mask. What systemd expects of a container manager:
# https://systemd.io/CONTAINER_INTERFACE. /proc/sys and /sys are read-only: it sets nothing of this machine's kernel.
SETUP = """\
set -eu
base=$1 own=$2; shift 2
mount -t tmpfs -o mode=755 tmpfs "$own/layer"
mkdir "$own/layer/upper" "$own/layer/work"
root=$own/root
mount -t overlay overlay -o "lowerdir=$base,upperdir=$own/layer/upper,workdir=$own/layer/work" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for node in null:3 zero:5 full:7 random:8 urandom:9; do
  mknod -m 666 "$root/dev/${node%:*}" c 1 "${node#*:}"
done
mknod -m 666 "$root/dev/tty" c 5 0
ln -s /dev/null "$root/dev/console"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
mount --rbind "$own/payload" "$root/payload"
sed -i '/^[^#]/d' "$root/etc/fstab"
for unit; do ln -sf /dev/null "$root/etc/systemd/system/$unit"; done
ip link set lo up
hostname machine
echo $$ > "$own/pid"
cd "$root"
pivot_root . mnt
exec chroot . /bin/sh -c 'umount -l /mnt; exec env -i container=tests PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --unit=multi-user.target --show-status=no --log-target=journal' <>/dev/null >&0 2>&0
"""

READY = 180.0
"""Seconds that a start may take: one on an idle machine."""


class Container(System):
    """One run of such a host. What it writes is in memory and gone with it."""

    def __init__(self, base: Base, payload: Mapping[str, Path], *, folder: Path) -> None:
        """Prepare a host in the empty directory `folder`. `payload`: folders that it finds as /payload/<name>."""
        require_root("a root with a systemd of its own takes root")
        for tool in ("unshare", "nsenter", "pivot_root", "ip"):
            require_tool(tool)
        self.base, self.folder = base, folder
        self.group = _control_group(folder)
        self._payload = dict(payload)

    def __enter__(self) -> Self:
        for name in ("layer", "root", "payload"):
            (self.folder / name).mkdir()
        for program in GUEST.glob("*.py"):
            shutil.copy(program, self.folder / "payload")
        for name, source in self._payload.items():
            shutil.copytree(source, self.folder / "payload" / name)
        self.group.mkdir()
        argv = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup", "--fork", "--kill-child"]
        inside = ["sh", "-c", SETUP, "sh", str(self.base.root), str(self.folder), *MASKED]
        enter = f'echo $$ > "{self.group}/cgroup.procs"; exec "$@"'
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", enter, "sh", *argv, *inside], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            until(self._began, self.evidence, bound=READY)
            self.wait("systemctl is-system-running | grep -E 'running|degraded'", timeout=READY, pause=0.1)
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self.kill()

    def _began(self) -> bool:
        if self.process.poll() is not None:
            raise MachineError(f"the host ended with {self.process.returncode}:\n{self.evidence()}")
        return self.first() != 0 and self.attempt("test -S /run/systemd/private", 10, b"").code == 0

    def first(self) -> int:
        """Return this machine's number of the host's first process, 0 before there is one."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(children.read_text().split()[0])
        return 0

    def attempt(self, script: str, timeout: float, given: bytes) -> Done:
        spaces = ("--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup", "--root", "--wd")
        argv = ["nsenter", "--target", str(self.first()), *spaces, "--", "/bin/bash", "-c", script]
        code, stdout, stderr = agent.run(argv, given, timeout)
        return Done(script, code, stdout, stderr)

    def evidence(self) -> str:
        log = (self.folder / "log").read_text("utf-8", "replace")[-3000:]
        journal = self.attempt("journalctl --no-pager --boot --lines=60", 30, b"").stdout
        return f"the journal's end:\n{journal}\nthe host said:\n{log}"

    def kill(self) -> None:
        """End the host as a power cut does, with everything that runs in it."""
        if first := self.first():
            with contextlib.suppress(ProcessLookupError):
                os.kill(first, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()
        until(lambda: _removed(self.group), f"the control group {self.group} is still in use")


def _control_group(folder: Path) -> Path:
    (parent,) = [path for path in map(Path, CGROUPS) if (path / "cgroup.procs").exists()][:1]
    return parent / f"pipeline-test-{os.getpid()}-{folder.parent.name}-{folder.name}"


def _removed(group: Path) -> bool:
    """Remove a control group and those in it. Returns False while a process is in one."""
    try:
        for path in sorted(group.rglob("*"), reverse=True):
            if path.is_dir():
                path.rmdir()
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
