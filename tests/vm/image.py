"""The disk that every test machine starts from: Debian 12 with the services that SeaweedFS meets on a server.

Made with mmdebstrap, without root where user namespaces allow it, and kept under the pipeline's home by the digest of
its recipe. It carries SELinux labels, so the same disk boots with AppArmor or with SELinux.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.host.folders import home_folder
from pipeline.host.process import environment
from pipeline.roots.bootstrap import INHERITED, choose_mode, debian_mirrors
from tests.conftest import require_tool

LAYOUT = 2
"""Of the folder of a base: what lies in it under which name."""

SUITE = "bookworm"
SIZE = "4G"
"""Of the root file system. The file is sparse: it takes what is in it."""

TIMEOUT = 1800.0
"""Seconds that mmdebstrap may take."""

PACKAGES = (
    *("linux-image-cloud-amd64", "systemd-sysv", "udev", "dbus", "kmod", "login", "passwd", "adduser", "procps"),
    *("iproute2", "iptables", "nftables", "curl", "openssl", "python3", "python3-systemd", "awscli", "make"),
    *("haproxy", "fail2ban", "auditd", "apparmor", "apparmor-utils", "logrotate", "rpm"),
    *("selinux-basics", "selinux-policy-default", "policycoreutils", "policycoreutils-python-utils"),
)

TOOLS = ("mmdebstrap", "qemu-system-x86_64", "mke2fs", "debugfs", "tar", "cp")

SKIPPED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/lib/udev/hwdb.d/*")

MASKED = (
    *(
        "apt-daily.timer",
        "apt-daily-upgrade.timer",
        "dpkg-db-backup.timer",
        "e2scrub_all.timer",
        "e2scrub_reap.service",
    ),
    *("fstrim.timer", "logrotate.timer", "getty@tty1.service", "serial-getty@ttyS0.service", "console-getty.service"),
    *("systemd-hwdb-update.service", "systemd-udev-settle.service", "selinux-autorelabel-mark.service"),
    *("modprobe@.service", "systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount", "dev-hugepages.mount"),
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount", "systemd-pstore.service", "systemd-timesyncd.service"),
)
"""What costs time at each start and proves nothing."""

POLICY = (
    *("base", "cgroup", "clock", "cron", "devicekit", "fail2ban", "getty", "hostname", "iptables", "logrotate", "lvm"),
    *("mta", "netutils", "policykit", "postfix", "rpc", "shutdown", "ssh", "staff", "su", "sudo", "unconfined"),
    *("unprivuser", "watchdog", "xdg", "xserver"),
)
"""The modules of SELinux's policy that stay. With all 331 of Debian's, adding one takes an emulated machine minutes."""

UNIT = """\
[Unit]
Description=Agent of the test machine
RequiresMountsFor=/payload
After=dbus.service
# A test that is slow to stop weed must still be told so.
DefaultDependencies=no
After=sysinit.target
Conflicts=shutdown.target
Before=shutdown.target

[Service]
ExecStart=/usr/bin/python3 -u /payload/agent.py
Restart=on-failure
SELinuxContext=-unconfined_u:unconfined_r:unconfined_t:s0

[Install]
WantedBy=multi-user.target
"""

FILES = {
    "etc/hostname": "machine\n",
    "etc/hosts": "127.0.0.1 localhost machine\n::1 localhost\n",
    "etc/fstab": "/dev/vdb /payload ext4 ro 0 0\n",
    "etc/systemd/system/vm-agent.service": UNIT,
    "etc/systemd/journald.conf.d/vm.conf": "[Journal]\nStorage=persistent\nRateLimitBurst=0\n",
    "etc/initramfs-tools/conf.d/vm.conf": "MODULES=list\nCOMPRESS=zstd\nBUSYBOX=n\n",
    "etc/initramfs-tools/modules": "virtio_pci\nvirtio_blk\n",
}

# The labels of all files, for debugfs to set: no user namespace may write them.
CUSTOMIZE = """\
set -eu
mkdir -p "$1/payload"
chroot "$1" systemctl --quiet enable vm-agent.service
chroot "$1" systemctl --quiet disable fail2ban.service
chroot "$1" systemctl --quiet mask {masked}
for profile in lsb_release nvidia_modprobe; do ln -s "/etc/apparmor.d/$profile" "$1/etc/apparmor.d/disable/"; done
rm -rf "$1/var/lib/apt/lists" "$1/var/cache/apt"
sed -i 's/^SELINUX=.*/SELINUX=enforcing/' "$1/etc/selinux/config"
kept=" {policy} "
chroot "$1" ls /var/lib/selinux/default/active/modules/100 | while read -r module; do
  case "$kept" in *" $module "*) ;; *) printf -- '--disable=%s\n' "$module" ;; esac
done | chroot "$1" xargs semodule --noreload
touch "$1/labels"
chroot "$1" sh -c 'find / -xdev -print0 | xargs -0 matchpathcon' > "$1/labels"
"""


@dataclass(frozen=True, slots=True)
class Base:
    """A disk, what boots it, and what is on it. None of the files may be written to."""

    root: Path
    disk: Path
    kernel: Path
    initrd: Path


def base_image() -> Base:
    """Return the base, made now if this machine has none. Skips or fails the test when a tool is missing."""
    for tool in (*TOOLS, *(() if os.geteuid() == 0 else ("fakeroot",))):
        require_tool(tool)
    home = home_folder(None) / "vm-tests"
    home.mkdir(parents=True, exist_ok=True)
    folder = home / recipe()
    with _locked(home / "lock"):
        if not folder.is_dir():
            _build(folder)
            for other in home.iterdir():  # disks of older recipes
                if other.is_dir() and other != folder:
                    shutil.rmtree(other)
    return Base(folder / "root", folder / "disk", folder / "vmlinuz", folder / "initrd")


def recipe() -> str:
    """Return the digest of all that decides what is on the disk."""
    text = repr((LAYOUT, SUITE, SIZE, PACKAGES, SKIPPED, MASKED, POLICY, sorted(FILES.items()), CUSTOMIZE))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(folder: Path) -> None:
    work = folder.with_suffix(".part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    result = folder.with_suffix(".done")
    shutil.rmtree(result, ignore_errors=True)
    result.mkdir()
    try:
        _bootstrap(work)
        _unpack(work, result)
        _label(work, result / "disk")
        result.rename(folder)
    finally:
        _run("rm", "-rf", str(work))


def _bootstrap(work: Path) -> None:
    """Make `root.tar`. The given files are there before the kernel's package makes its initrd."""
    for name, text in FILES.items():
        path = work / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    files, customize = work / "files.tar", work / "customize.sh"
    _run("tar", "--create", "--owner=0", "--group=0", "--mode=go=rX,u+rw", f"--file={files}", f"-C{work}/files", ".")
    customize.write_text(CUSTOMIZE.format(masked=" ".join(MASKED), policy=" ".join(POLICY)))
    mode = choose_mode()
    options = [f"--dpkgopt=path-exclude={glob}" for glob in SKIPPED]
    if mode == "root":
        options.append('--aptopt=APT::Sandbox::User "root"')
    # The hooks run as another user in a user namespace, who may not enter these folders: the shell opens the files.
    hooks = (
        '--essential-hook=tar --extract --no-same-owner --directory="$1" <&3',
        '--customize-hook=sh -s "$1" <&4',
    )
    argv = (
        *("mmdebstrap", f"--mode={mode}", "--variant=minbase", "--architectures=amd64", "--format=tar"),
        *('--aptopt=Acquire::Languages "none"', "--aptopt=Acquire::Retries 3", "--dpkgopt=force-unsafe-io", *options),
        *(*hooks, f"--include={','.join(PACKAGES)}", SUITE, "-", *debian_mirrors(os.environ)),
    )
    _shell(f"{shlex.join(argv)} 3<files.tar 4<customize.sh >root.tar", work)


def _unpack(work: Path, result: Path) -> None:
    """Make `disk`, `vmlinuz` and `initrd` in `result` from `root.tar`, and `labels` in `work`."""
    script = f"""\
set -eu
mkdir root
tar --extract --numeric-owner --same-permissions --file=root.tar --directory=root
cp --dereference root/vmlinuz root/initrd.img .
mv root/labels .
mke2fs -q -t ext4 -E root_owner=0:0 -O ^has_journal -d root disk {SIZE}
"""
    _shell(shlex.join((*(() if os.geteuid() == 0 else ("fakeroot",)), "sh", "-c", script)), work)
    for name, target in (("root", "root"), ("disk", "disk"), ("vmlinuz", "vmlinuz"), ("initrd.img", "initrd")):
        (work / name).rename(result / target)


def _label(work: Path, disk: Path) -> None:
    """Write the SELinux labels that `labels` lists (path, tab, label) into the file system `disk`."""
    commands = [
        f'ea_set "{path}" security.selinux {label}\n'
        for path, _, label in (line.partition("\t") for line in (work / "labels").read_text().splitlines())
        if label and label != "<<none>>"
    ]
    assert len(commands) > 10_000, "matchpathcon knew no labels"
    (work / "commands").write_text("".join(commands))
    said = _shell(f"debugfs -w -f commands {shlex.quote(str(disk))} 2>&1", work)
    said_wrong = [line for line in said.splitlines() if not line.startswith("debugfs")]
    # mmdebstrap removes some files after its last hook.
    wrong = [line for line in said_wrong if "File not found" not in line]
    assert not wrong, wrong[:10]
    assert len(said_wrong) < 100, said_wrong[:10]


def _shell(script: str, folder: Path) -> str:
    return _run("sh", "-c", script, folder=folder)


def _run(*argv: str, folder: Path | None = None) -> str:
    env = environment(*INHERITED, "TMPDIR", "HOME", DEBIAN_FRONTEND="noninteractive")
    done = subprocess.run(argv, capture_output=True, text=True, cwd=folder, env=env, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, (
        f"{argv[:3]} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    )
    return done.stdout
