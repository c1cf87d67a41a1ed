"""The doctor on configuration: can every instance start with it, and is all of it used?"""

import difflib
import os
import stat
from typing import Dict, Iterator, List, Set

from weedops.errors import AccessError, OpsError
from weedops.files import find, toml_names
from weedops.findings import ERROR, INSTALL, NOTE, OK, UPGRADE, WARNING, Finding, Host, account, read
from weedops.launch import plan
from weedops.options import options_file
from weedops.secret import secrets
from weedops.settings import read_settings
from weedops.toml import TOMLDecodeError, loads

MARKERS = ("allow-downgrade", "purge-data", "restart-on-upgrade")
"""Files of /etc/weed that the package's own scripts look for."""
ENDINGS = (".toml", ".options", ".json")
SECRETS = ("security.toml", "s3.json")


def conf(host: Host) -> Iterator[Finding]:
    """weed.conf itself."""
    try:
        read_settings(host.paths)
    except OpsError as error:
        if host.before == INSTALL and not os.path.exists(host.paths.conf):
            yield Finding("conf", OK, "does not exist yet: the package installs it", host.paths.conf)
        else:
            yield Finding("conf", ERROR, error.brief, host.paths.conf, error.resolution)
        return
    counts = ", ".join(f"{host.settings.count(role)} {role}" for role in ("master", "volume", "filer", "s3"))
    yield Finding("conf", OK, f"asks for {counts}", host.paths.conf)


def masters(host: Host) -> Iterator[Finding]:
    """How many masters there are, and what that survives."""
    settings, live = host.settings, len(host.settings.masters)
    if live and live % 2 == 0:
        fix = "run three masters; then you can lose one: MASTER_INSTANCES or MASTER_PEERS in weed.conf, over all hosts"
        what = (
            f"{live} masters: weed wants an odd number, so {settings.seats[-1]} is an empty seat. A leader"
            f" needs {len(settings.seats) // 2 + 1} of {len(settings.seats)} seats"
        )
        lost = live - len(settings.seats) // 2 - 1
        what += f", so you can lose {lost}" if lost else ", so all of them: you can lose none"
        yield Finding("masters-even", WARNING, what, host.paths.conf, fix)
    elif live == 1:
        fix = "run three, on three hosts if you can"
        yield Finding("masters-one", NOTE, "one master: while it is down, nothing can be written", host.paths.conf, fix)
    elif live:
        yield Finding("masters", OK, f"{live} masters: you can lose {(live - 1) // 2}", host.paths.conf)
    else:
        fix = "name the masters in MASTER_PEERS"
        yield Finding("masters-none", ERROR, "no master, here or in MASTER_PEERS", host.paths.conf, fix)


def starts(host: Host) -> Iterator[Finding]:
    """Whether each instance would pass the checks of its start: TOML, certificates, options, FIPS."""
    if host.installed is None or host.before == INSTALL:
        return
    failures: Dict[str, List[str]] = {}
    seen: Dict[str, OpsError] = {}
    good = []
    for instance in host.settings.instances():
        try:
            plan(host.paths, instance.role, str(instance.number), {})
            good.append(instance.name)
        except OpsError as error:
            failures.setdefault(str(error), []).append(instance.name)
            seen[str(error)] = error
    for text, names in failures.items():
        failure, who = seen[text], ", ".join(names)
        if isinstance(failure, AccessError) and not host.root:
            what = f"{who}: this user cannot see the whole configuration"
            yield Finding("unseen", NOTE, what, failure.brief, "run as root")
        else:
            yield Finding("configuration", ERROR, f"{who} would not start: {failure.brief}", "", failure.resolution)
    if good:
        yield Finding("configuration", OK, f"{len(good)} instances would start with it", host.paths.overrides)


def overrides(host: Host) -> Iterator[Finding]:
    """Files of /etc/weed that nothing reads."""
    try:
        present = sorted(os.listdir(host.paths.overrides))
    except FileNotFoundError:
        return
    except PermissionError:
        yield Finding("unseen", NOTE, "the overrides cannot be seen", host.paths.overrides, "run as root")
        return
    used = _names(host)
    unused = [name for name in present if name.endswith(ENDINGS) and name not in used and name not in MARKERS]
    for name in unused:
        near = difflib.get_close_matches(name, sorted(used), n=1)
        hint = f"rename it to {near[0]}" if near else "remove it"
        where = os.path.join(host.paths.overrides, name)
        yield Finding("override-unused", WARNING, f"no instance of this host reads {name}", where, hint)


def _names(host: Host) -> Set[str]:
    names = {"s3.json"}
    for instance in host.settings.instances():
        names.update(name + ".toml" for name in toml_names(instance.role))
        names.update(instance.name + ending for ending in (".toml", ".options"))
        names.update([instance.role + ".options"])
        names.update([instance.name + ".json"] if instance.role == "s3" else [])
    return names


def readable(host: Host) -> Iterator[Finding]:
    """Whether the service user can read what it needs, and nobody else what is secret."""
    user = account(host.paths)
    if user is None or host.before in (INSTALL, UPGRADE):
        return
    for path in sorted(_used(host)):
        try:
            status, folder = os.stat(path), os.stat(os.path.dirname(path))
        except PermissionError:
            continue  # `overrides` says so
        fix = f"chown root:weed {path}; chmod 0640 {path}"
        if not user.may(folder, 1):
            fix = f"chown root:weed {os.path.dirname(path)}; chmod 0750 {os.path.dirname(path)}"
            yield Finding("unreadable", ERROR, "the user weed may not enter its folder", path, fix)
        elif not user.may(status, 4):
            yield Finding(
                "unreadable", ERROR, "the user weed may not read it: weed would continue without it", path, fix
            )
        elif status.st_mode & stat.S_IROTH:
            held = "secrets" if os.path.basename(path) in SECRETS else _secrets(path)
            if held:
                yield Finding("secret-readable", WARNING, f"it may hold {held} and everybody may read it", path, fix)


def _secrets(path: str) -> str:
    """Return the names of what is secret in a toml file, "" for nothing or for one that `starts` complains of."""
    try:
        return ", ".join(secrets(loads(read(path)))) if path.endswith(".toml") else ""
    except TOMLDecodeError:
        return ""


def _used(host: Host) -> Set[str]:
    paths: Set[str] = set()
    for instance in host.settings.instances():
        names = [name + ".toml" for name in toml_names(instance.role)] + (["s3.json"] if instance.role == "s3" else [])
        try:
            paths.update(find(host.paths, instance, name) for name in names)
            paths.add(options_file(host.paths, instance))
        except AccessError:
            continue
    return paths - {""}


def anonymous(host: Host) -> Iterator[Finding]:
    """Whether S3 asks for identities."""
    servers = host.settings.instances("s3")
    try:
        if servers and host.before != INSTALL and not find(host.paths, servers[0], "s3.json"):
            fix = "see the example s3.json of the package's documentation; then: systemctl reload 'weed-s3@*'"
            what = "there are no S3 identities: everyone who reaches the port may read and write everything"
            yield Finding("s3-anonymous", WARNING, what, os.path.join(host.paths.overrides, "s3.json"), fix)
    except AccessError:
        return
