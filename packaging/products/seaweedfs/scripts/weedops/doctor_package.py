"""The doctor on the package: the binary, its release, FIPS, confinement, units, and the way to another release."""

import os
import re
import stat
from typing import Iterator

from weedops import units
from weedops.findings import ERROR, INSTALL, NOTE, OK, UPGRADE, WARNING, Finding, Host, read
from weedops.ports import unit_of
from weedops.programs import find_program, is_active, run

OLDEST_SYSTEMD = 239
"""Oracle Linux 8. From 247 on every line of the units is understood."""
WHOLE_SYSTEMD = 247


def binary(host: Host) -> Iterator[Finding]:
    """The server: there, immutable for everybody but root, and what its release says."""
    path = host.paths.binary
    if host.before == INSTALL:
        return
    try:
        status = os.stat(path)
    except OSError as error:
        yield Finding("binary-missing", ERROR, f"it cannot be read: {error.strerror}", path, "reinstall the package")
        return
    mode = stat.S_IMODE(status.st_mode)
    if host.root and ((status.st_uid, status.st_gid) != (0, 0) or mode != 0o755):
        what = f"it is {mode:04o} of {status.st_uid}:{status.st_gid} instead of 0755 of root:root"
        yield Finding("binary-permissions", ERROR, what, path, f"chown root:root {path}; chmod 0755 {path}")
    words = run([path, "version"]).out.split()
    if host.installed and words[2:4] != [host.installed.version, host.installed.commit]:
        what = (
            f"it says {' '.join(words[2:4]) or 'nothing'}, its package {host.installed.version} {host.installed.commit}"
        )
        yield Finding("binary-replaced", ERROR, what, path, "somebody replaced it: reinstall the package")
    elif host.installed:
        flavour = "FIPS" if host.installed.fips else "standard"
        yield Finding("binary", OK, f"{host.installed.product} {host.installed.version}, {flavour}", path)


def shadows(host: Host) -> Iterator[Finding]:
    """Another weed that comes first on the PATH."""
    for folder in ("/usr/local/sbin", "/usr/local/bin"):
        place = host.paths.at(os.path.join(folder, "weed"))
        if os.path.exists(place):
            yield Finding(
                "path-shadowed", WARNING, "another weed comes before the packaged one on the PATH", place, f"rm {place}"
            )


def fips(host: Host) -> Iterator[Finding]:
    """FIPS_ENABLED against the kernel and the package."""
    kernel = read(host.paths.at("/proc/sys/crypto/fips_enabled")).strip() == "1"
    release = host.candidate or host.installed
    if host.settings.fips and release and not release.fips:
        what = f"FIPS_ENABLED=true, and this is the standard build of {release.product}"
        yield Finding("fips-variant", ERROR, what, host.paths.conf, f"install {release.product}-fips")
    elif host.settings.fips and not kernel:
        what = "FIPS_ENABLED=true, and the kernel is not in FIPS mode: only weed itself is"
        yield Finding("fips-kernel", NOTE, what, "/proc/sys/crypto/fips_enabled", "fips-mode-setup --enable, or fips=1")
    elif kernel and not host.settings.fips:
        what = "the kernel is in FIPS mode, and FIPS_ENABLED=false would start a binary that is not"
        fix = "install the package whose name ends in -fips and set FIPS_ENABLED=true"
        yield Finding("fips-off", WARNING, what, host.paths.conf, fix)
    else:
        yield Finding("fips", OK, "FIPS is on" if kernel else "FIPS is off, in the kernel and in weed.conf")


def upgrade(host: Host) -> Iterator[Finding]:
    """The way from the release that is installed to the candidate."""
    old, new = host.installed, host.candidate
    if host.before != UPGRADE or old is None:
        return
    if new is None:
        what = "the next release is not known"
        yield Finding(
            "upgrade-unknown", NOTE, what, "", "name it: --to 4.44; or run the doctor of the unpacked package"
        )
    elif new.number < old.number:
        severity = ERROR if new.number[0] < old.number[0] else WARNING
        what = f"{old.version} to {new.version} is a downgrade: it may not read what {old.version} has written"
        yield Finding("upgrade-back", severity, what, host.paths.release, "back up the data; see the operator's guide")
    elif new.number[0] > old.number[0]:
        what = f"{old.version} to {new.version} is a new major release; you cannot go back without a backup"
        yield Finding("upgrade-major", WARNING, what, host.paths.release, "back up filers and masters; read its notes")
    else:
        yield Finding("upgrade", OK, f"{old.version} to {new.version}", host.paths.release)


def systemd(host: Host) -> Iterator[Finding]:
    """Its version, and whether it runs."""
    program = find_program(host.paths, "systemctl")
    found = re.search(r"systemd (\d+)", run([program, "--version"]).out) if program else None
    if not found:
        yield Finding("systemd-missing", ERROR, "systemd is missing", "", "install systemd 239 or newer")
        return
    version = int(found.group(1))
    if version < OLDEST_SYSTEMD:
        what = f"systemd {version} is older than {OLDEST_SYSTEMD}"
        yield Finding("systemd-old", ERROR, what, "", "Oracle Linux 8, Ubuntu 22.04 or newer is needed")
    elif version < WHOLE_SYSTEMD:
        what = f"systemd {version} ignores some hardening of the units, which came up to {WHOLE_SYSTEMD}"
        yield Finding("systemd", NOTE, what, "", "nothing: SELinux still confines the servers")
    else:
        yield Finding("systemd", OK, f"systemd {version}")
    if not units.booted(host.paths):
        yield Finding("systemd-not-running", NOTE, "systemd does not run here", "", "in a chroot nothing is started")


def instances(host: Host) -> Iterator[Finding]:
    """Whether what is enabled and running is what weed.conf asks for, and is the installed program."""
    if host.before == INSTALL or host.installed is None:
        return
    wanted, enabled = set(units.wanted(host.settings)), units.enabled(host.paths) - {units.TARGET}
    for unit in sorted(wanted ^ enabled):
        what = f"{unit} is {'in weed.conf and not' if unit in wanted else 'not in weed.conf and'} enabled"
        yield Finding("instances", WARNING, what, host.paths.conf, "weed-instances apply")
    failed = [unit for unit, state in units.states(host.paths).items() if state == "failed"]
    for unit in failed:
        yield Finding("instance-failed", ERROR, f"{unit} has failed", "", f"journalctl -u {unit}")
    if not failed and wanted == enabled:
        yield Finding("instances", OK, f"{len(wanted)} instances are enabled, as weed.conf asks")
    yield from _outdated(host)


def _outdated(host: Host) -> Iterator[Finding]:
    """Whether a running instance has a program that has been replaced: nobody has looked whether that one is FIPS."""
    proc = host.paths.at("/proc")
    pids = filter(str.isdigit, os.listdir(proc)) if os.path.isdir(proc) else ()
    old = [int(pid) for pid in pids if _replaced(os.path.join(proc, pid))]
    if not old:
        return
    names = ", ".join(sorted({unit_of(pid, proc) or f"process {pid}" for pid in old}))
    if host.settings.fips:
        what = f"FIPS is demanded, and the replaced binary still runs as {names}"
        yield Finding("instances-old", ERROR, what, host.paths.binary, "weed-rolling-restart")
    else:
        what = f"a program that has been replaced since still runs as {names}"
        yield Finding("instances-old", NOTE, what, host.paths.binary, "weed-rolling-restart")


def _replaced(process: str) -> bool:
    try:
        return os.readlink(os.path.join(process, "exe")) == "/opt/weed/weed (deleted)"
    except OSError:
        return False


def selinux(host: Host) -> Iterator[Finding]:
    """SELinux: whether the module of the package labels the program."""
    mode = read(host.paths.at("/sys/fs/selinux/enforce")).strip()
    if not mode:
        yield Finding("selinux", OK, "SELinux is not in use")
        return
    state = "enforcing" if mode == "1" else "permissive"
    if host.before != INSTALL and os.path.exists(host.paths.binary):
        try:
            label = os.getxattr(host.paths.binary, "security.selinux").decode().rstrip("\0")
        except OSError:
            label = ""
        if ":weed_exec_t:" not in label:
            name = re.sub("-fips$", "", host.installed.product) if host.installed else "seaweedfs"
            fix = f"dnf install {name}-selinux; restorecon -R /opt/weed /etc/weed /var/lib/weed /var/log/weed"
            what = f"SELinux is {state}, and the servers are not confined ({label or 'no label'})"
            yield Finding("selinux-label", WARNING, what, host.paths.binary, fix)
            return
    yield Finding("selinux", OK, f"SELinux is {state}")


def apparmor(host: Host) -> Iterator[Finding]:
    """AppArmor: whether the profile of the package is loaded and enforced."""
    if read(host.paths.at("/sys/module/apparmor/parameters/enabled")).strip() != "Y":
        yield Finding("apparmor", OK, "AppArmor is not in use")
        return
    if not os.path.exists(host.paths.at("/etc/apparmor.d/opt.weed.weed")):
        return
    where = host.paths.at("/sys/kernel/security/apparmor/profiles")
    try:
        loaded = dict(line.rsplit(" ", 1) for line in read(where).splitlines() if " " in line)
    except PermissionError:
        yield Finding("unseen", NOTE, "which AppArmor profiles are loaded cannot be seen", where, "run as root")
        return
    mode = loaded.get("weed-launch", "")
    if mode == "(enforce)":
        yield Finding("apparmor", OK, "the AppArmor profile is enforced")
    else:
        what = f"the AppArmor profile is {'in mode ' + mode if mode else 'not loaded'}: the servers are not confined"
        fix = "apparmor_parser --replace /etc/apparmor.d/opt.weed.weed; aa-enforce weed-launch"
        yield Finding("apparmor-off", WARNING, what, "/etc/apparmor.d/opt.weed.weed", fix)


def fapolicyd(host: Host) -> Iterator[Finding]:
    """fapolicyd, which lets run only what it trusts."""
    if not is_active(host.paths, "fapolicyd.service"):
        return
    program = find_program(host.paths, "fapolicyd-cli")
    if not host.root or not program:
        yield Finding("unseen", NOTE, "whether fapolicyd trusts the program cannot be seen", "", "run as root")
    elif " /opt/weed/weed " in run([program, "--dump-db"], 120).out:
        yield Finding("fapolicyd", OK, "fapolicyd trusts the program")
    elif host.before != INSTALL:
        fix = "fapolicyd-cli --file add /opt/weed/; fapolicyd-cli --update"
        yield Finding("fapolicyd", ERROR, "fapolicyd runs and does not trust the program", host.paths.binary, fix)
