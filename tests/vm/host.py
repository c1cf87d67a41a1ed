"""What an administrator does on a host with the packages, and what a client sees of it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.vm.system import System
from tests.waiting import shell_pause

ROLES = ("master", "volume", "filer", "s3")
UNITS = tuple(f"weed-{role}@{number}.service" for role in ROLES for number in (1, 2))
ACCESS, SECRET = "test-access-key", "test-secret-key"
PROXY = "http://127.0.0.1:8300"
S3 = {
    "identities": [
        {
            "name": "tester",
            "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
    ]
}

VARIABLES = {
    "AWS_ACCESS_KEY_ID": ACCESS,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ENDPOINT": PROXY,
    "AWS_PAGER": "",
}
EXPORT = " ".join(f"{name}={shlex.quote(value)}" for name, value in VARIABLES.items())

SHOW_STAT = (
    "python3 -c \"import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/haproxy/admin.sock'); "
    "s.sendall(b'show stat\\n'); print(s.makefile().read())\""
)
"""What HAProxy says of its servers, as CSV."""

HEALTHY = 420
"""Seconds that all instances may take to start, one after the other, on a busy host."""

BUCKET = "machines"
LARGE = 20_000_000
"""Bytes of an object that the AWS CLI uploads in three parts."""


SYSTEM_FOLDERS = ("/etc", "/opt", "/usr", "/var", "/run/weed", "/run/systemd/system", "/srv", "/home", "/root")
"""Where a package may leave something."""


def apt_install(machine: System, pattern: str, *options: str) -> str:
    """Install the package that `pattern` names below /payload/packages, with apt, and return what was said."""
    words = " ".join(("apt-get install --yes --no-install-recommends", *options))
    done = machine.run(f"{words} /payload/packages/{pattern} 2>&1", timeout=600)
    return done.stdout


def status_of(machine: System, url: str, *options: str) -> int:
    """Return the HTTP status that curl gets, 0 for none."""
    return int(machine.run(f"curl -s -o /dev/null -w '%{{http_code}}' {' '.join(options)} {url}", check=False).text)


def with_keys(machine: System) -> None:
    """Give S3 its one identity, as an administrator does, and wait until both servers ask for it."""
    machine.write("/etc/weed/s3.json", json.dumps(S3), mode="0640")
    machine.run("chgrp weed /etc/weed/s3.json; systemctl restart weed-s3@1 weed-s3@2", timeout=300)
    for port in (8333, 8334):
        machine.wait(f"test $(curl -s -o /dev/null -w '%{{http_code}}' http://127.0.0.1:{port}/) = 403", timeout=120)
    machine.wait(f"test $(curl -s -o /dev/null -w '%{{http_code}}' {PROXY}/) = 403", timeout=60)


def healthy(machine: System, timeout: float = HEALTHY) -> None:
    """Wait until every instance runs and says that it is well."""
    machine.wait(f"systemctl --quiet is-active {' '.join(UNITS)} && /opt/weed/healthcheck.sh", timeout=timeout, pause=3)


def with_room(machine: System) -> None:
    """Let the volume servers have many volumes: a small disk makes room for so few that writes need both servers."""
    machine.run("echo VOLUME_MAX=50 >> /etc/default/weed/weed.conf")
    machine.run("systemctl restart weed-volume@1 weed-volume@2", timeout=300)


def pid(machine: System, name: str) -> str:
    """Return the process id of weed of an instance: the child of the unit's main process."""
    role, number = name.rsplit("-", 1)
    return machine.run(
        f"main=$(systemctl show --value --property MainPID weed-{role}@{number}); pgrep --parent $main --exact weed"
    ).text


def aws(machine: System, *commands: str) -> list[str]:
    """Run commands of the AWS CLI through HAProxy, as after the word `aws`, and return what they said."""
    lists = [[*shlex.split(command), "--endpoint-url", PROXY] for command in commands]
    done = machine.run(f"{EXPORT} python3 /payload/aws_session.py", given=json.dumps(lists).encode(), timeout=300)
    results = json.loads(done.stdout)
    for command, (code, said) in zip(commands, results, strict=True):
        assert code == 0, f"aws {command}\nended with {code}: {said}\n{machine.evidence()}"
    return [said for _, said in results]


def digest(machine: System, key: str, bucket: str = BUCKET) -> str:
    """Return the SHA-256 of an object, read through HAProxy.

    The example must give it at once. With SeaweedFS it tries again, as any S3 client does: when everything has just
    been started and the masters change their leader, a volume server is unknown until its next heartbeat, and SeaweedFS
    breaks off what it has begun to send.
    """
    command = f"{EXPORT} python3 /payload/load.py --digest {PROXY} {bucket} {key}"
    if is_example(machine):
        return machine.run(command, timeout=180).text
    return machine.wait(command, timeout=60).text


def is_example(machine: System) -> bool:
    """Return whether the machine has the example and not a real SeaweedFS."""
    return "PRODUCT=example\n" in machine.read("/opt/weed/release")


def upload_large(machine: System) -> None:
    """Upload an object in parts, read it back, and note its SHA-256 for `large_is_whole`."""
    machine.run(f"head -c {LARGE} /dev/urandom > /tmp/large; sha256sum < /tmp/large > /var/tmp/large.sha256")
    aws(machine, f"s3 cp /tmp/large s3://{BUCKET}/large", f"s3 cp s3://{BUCKET}/large /tmp/large.back")
    machine.run("cmp /tmp/large /tmp/large.back; rm /tmp/large /tmp/large.back")


def large_is_whole(machine: System) -> None:
    """Check that the object of `upload_large` is what it was."""
    assert digest(machine, "large") == machine.read("/var/tmp/large.sha256").split()[0]


@contextmanager
def load(machine: System, *, least: int, bucket: str = BUCKET) -> Iterator[None]:
    """Keep S3 busy meanwhile, and check that no request failed and that at least `least` were made."""
    settings = " ".join(f"--setenv={name}={value}" for name, value in VARIABLES.items())
    machine.run(
        "rm -f /tmp/load.json*; systemd-run --quiet --unit=load --service-type=exec "
        f"{settings} python3 /payload/load.py {PROXY} {bucket} /tmp/load.json"
    )
    machine.wait("test -e /tmp/load.json.started", timeout=60)
    try:
        yield
        machine.run(shell_pause(3, "requests are made after the change as well"))
    finally:
        machine.run("systemctl stop load", timeout=180)
    result = json.loads(machine.read("/tmp/load.json"))
    assert result["failures"] == [], "\n".join([*result["failures"][:20], machine.evidence()])
    assert result["requests"] >= least
    # Both filers of the example have one store; those of SeaweedFS learn of a write a little later.
    assert result["stale"] <= (0 if is_example(machine) else result["requests"] // 100)


def files_of(machine: System, *folders: str) -> set[str]:
    """Return every path below those of `folders` that are there."""
    find = f"for folder in {' '.join(folders)}; do test ! -e $folder || find $folder -xdev; done"
    return set(machine.run(find, timeout=300).stdout.splitlines())


def version(machine: System) -> str:
    """Return the version that the installed binary says it is."""
    return machine.run("weed version").text.split()[2]


def running_versions(machine: System, units: Sequence[str] = UNITS) -> set[str]:
    """Return whether each running weed is the file that is installed: `current`, or `replaced` since it started."""
    names = [unit.removeprefix("weed-").removesuffix(".service").replace("@", "-") for unit in units]
    links = {machine.run(f"readlink /proc/{pid(machine, name)}/exe").text for name in names}
    return {"replaced" if "deleted" in link else "current" for link in links}
