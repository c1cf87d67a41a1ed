"""The doctor on rules of the STIG that touch the package but bind the host: signed packages, user namespaces."""

from typing import Iterator, List

from weedops import units
from weedops.findings import ERROR, INSTALL, NOTE, OK, Finding, Host, read
from weedops.programs import find_program, run

CHECKED = {"gpgcheck": "OL08-00-010370", "localpkg_gpgcheck": "OL08-00-010371"}
"""What has to be on in dnf.conf, and the rule that says so. Neither is on where it is not written (dnf.conf(5))."""
ON = ("1", "on", "true", "yes")


def signatures(host: Host) -> Iterator[Finding]:
    """Whether dnf installs only what is signed, packages that are files included."""
    conf = host.paths.at("/etc/dnf/dnf.conf")
    text = read(conf)
    if not text:
        return
    missing = [key for key in CHECKED if _main(text, key) not in ON]
    if missing:
        rules = ", ".join(CHECKED[key] for key in missing)
        what = f"dnf installs unsigned packages: {' and '.join(missing)} not set (STIG: {rules})"
        lines = ", ".join(f"{key}=1" for key in missing)
        fix = f"rpm --import the key of the releases, then {lines} in its section [main]"
        yield Finding("package-signatures", NOTE, what, conf, fix)
    else:
        yield Finding("package-signatures", OK, "dnf installs signed packages only, files included", conf)


def _main(text: str, key: str) -> str:
    """Return the last value of `key` in the section [main] of dnf.conf, in small letters; "" when there is none."""
    section = value = ""
    for line in map(str.strip, text.splitlines()):
        name, equals, found = line.partition("=")
        if line.startswith("["):
            section = line.partition("]")[0][1:].strip()
        elif section == "main" and equals and name.strip() == key:
            value = found.strip().lower()
    return value


def namespaces(host: Host) -> Iterator[Finding]:
    """Whether the host has user namespaces, and whether a unit asks for one: ours do not, but a drop-in might."""
    sysctl = "/proc/sys/user/max_user_namespaces"
    none = read(host.paths.at(sysctl)).strip() == "0"
    root_only = read(host.paths.at("/proc/sys/kernel/unprivileged_userns_clone")).strip() == "0"
    asking = _asking(host)
    fix = "take PrivateUsers out of what `systemctl cat` shows, then: systemctl daemon-reload"
    for unit in asking:
        if none:
            what = f"{unit} asks for a user namespace (PrivateUsers), and this host has none: it ends with 217/USER"
            yield Finding("user-namespaces", ERROR, what, sysctl, fix)
        else:
            what = f"{unit} asks for a user namespace (PrivateUsers); under a STIG (OL08-00-040284) it would not start"
            yield Finding("user-namespaces", NOTE, what, sysctl, fix)
    if not asking:
        state = "off" if none else "for root only" if root_only else "on"
        what = f"user namespaces are {state}; no unit needs one, so PrivateUsers is left off"
        yield Finding("user-namespaces", OK, what, sysctl)


def _asking(host: Host) -> List[str]:
    """Return the units of this host's instances that systemd would start in a user namespace, drop-ins included."""
    program = find_program(host.paths, "systemctl")
    if not program or not host.valid or host.before == INSTALL or not units.booted(host.paths):
        return []
    wanted = units.wanted(host.settings)
    output = run([program, "show", "--property=Id,PrivateUsers", *wanted]).out if wanted else ""
    blocks = (dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in output.split("\n\n"))
    return [block["Id"] for block in blocks if "Id" in block and block.get("PrivateUsers", "no") not in ("", "no")]
