"""A host below a folder: the packaged files, a real weed in every role, and a real HAProxy in front of S3.

Ports are free ones, so several such hosts live side by side. What needs systemd itself is tried in virtual machines.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from weedops.paths import Paths
from weedops.settings import ROLES, Settings, read_settings

from tests import ports
from tests.integration.released import PROJECT
from tests.waiting import until

PRODUCT = PROJECT / "packaging/products/seaweedfs"
FOLDERS: tuple[str, ...] = (
    "opt/weed/libexec",
    "opt/weed/lib",
    "etc/default/weed",
    "etc/weed",
    "etc/haproxy/conf.d",
    "run/weed",
)
FOLDERS += ("usr/sbin", "usr/bin", "usr/lib/systemd/system", "run/systemd/system", "run/haproxy", "var/log/weed")

HAPROXY_CFG = """global
    stats socket {root}/run/haproxy/admin.sock mode 600 level admin
    log {root}/run/log local0

defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
"""
HAPROXY_UNIT = """[Service]
Environment="CONFIG=/etc/haproxy/haproxy.cfg" "CFGDIR=/etc/haproxy/conf.d"
ExecStart=/usr/sbin/haproxy -Ws -f $CONFIG -f $CFGDIR
"""


def ports_from(base: int) -> dict[str, str]:
    """Return the settings of weed.conf for a block of ports: ten for each role, then HAProxy's, then for metrics."""
    first = {"MASTER_PORT": 0, "VOLUME_PORT": 10, "FILER_PORT": 20, "S3_PORT": 30, "S3_PROXY_PORT": 40}
    return {key: str(base + at) for key, at in first.items()}


def metrics_ports(made: Host) -> dict[str, str]:
    """Return the settings of weed.conf for metrics of the first instance of each role."""
    return {f"{role.upper()}_METRICS_PORT": str(made.base + 41 + at) for at, role in enumerate(ROLES)}


class Host:
    """One such host. `binary` is the server that it runs, `base` the first of the ports that it has leased."""

    def __init__(self, root: Path, binary: Path, base: int, **values: str) -> None:
        self.root = root
        self.base = base
        self.paths = Paths(str(root))
        for folder in FOLDERS:
            (root / folder).mkdir(parents=True, exist_ok=True)
        shutil.copytree(PRODUCT / "scripts/weedops", root / "opt/weed/lib/weedops", ignore=lambda *_: ["__pycache__"])
        (root / "opt/weed/libexec/weedops").symlink_to("../lib/weedops")  # /opt/weed/lib is the real host's
        for script in (PRODUCT / "scripts").glob("weed-*"):
            shutil.copy(script, root / "opt/weed/libexec")
        shutil.copy(PRODUCT / "scripts/healthcheck.sh", root / "opt/weed")
        (root / "opt/weed/weed").symlink_to(binary)
        self.release(binary)
        metrics = {f"{role}_METRICS_PORT": "0" for role in ("MASTER", "VOLUME", "FILER", "S3")}
        self.configure(**{**ports_from(base), **metrics, **values})
        (root / "usr/bin/systemctl").write_text(f'#!/bin/sh\nexec {sys.executable} {root}/usr/bin/systemctl.py "$@"\n')
        shutil.copy(PROJECT / "tests/integration/systemctl_stand_in.py", root / "usr/bin/systemctl.py")
        (root / "usr/bin/systemctl").chmod(0o755)
        (root / "tmp").symlink_to("/tmp")  # HAProxy opens the socket where this host's own paths lead back to
        (root / "etc/passwd").write_text(f"weed:x:{os.getuid()}:{os.getgid()}::/nonexistent:/usr/sbin/nologin\n")

    def release(self, binary: Path) -> None:
        """Write /opt/weed/release after what the binary says of itself."""
        said = subprocess.run([binary, "version"], capture_output=True, text=True, check=True).stdout.split()
        product = "example" if said[2].count(".") == 2 else "seaweedfs"
        lines = {"PRODUCT": product, "VERSION": said[2], "VARIANT": "standard", "COMMIT": said[3]}
        (self.root / "opt/weed/release").write_text("".join(f"{key}={value}\n" for key, value in lines.items()))

    def configure(self, **values: str) -> None:
        """Write weed.conf with `values`."""
        conf = self.root / "etc/default/weed/weed.conf"
        conf.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
        for instance in self.settings.instances():
            for path in instance.data:
                (self.root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
            (self.root / "run/weed" / instance.name).mkdir(exist_ok=True)

    @property
    def settings(self) -> Settings:
        """The settings as the scripts read them."""
        return read_settings(self.paths)

    @property
    def proxy(self) -> int:
        """The port of HAProxy."""
        return self.settings.proxy[1]

    def with_haproxy(self, program: str, text: str = HAPROXY_CFG) -> None:
        """Install HAProxy `program`, with its configuration and a unit that reads conf.d."""
        (self.root / "usr/sbin/haproxy").symlink_to(program)
        (self.root / "etc/haproxy/haproxy.cfg").write_text(text.format(root=self.root))
        (self.root / "usr/lib/systemd/system/haproxy.service").write_text(HAPROXY_UNIT)

    def script(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a packaged script on this host."""
        argv = [sys.executable, "-IB", f"{self.root}/opt/weed/libexec/{name}", "--root", str(self.root), *arguments]
        if name.endswith(".sh"):
            argv = ["/bin/sh", f"{self.root}/opt/weed/{name}", "--root", str(self.root), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=900)

    def systemctl(self, verb: str, *units: str) -> None:
        """Start, stop or restart units."""
        for unit in units:
            done = subprocess.run(
                [f"{self.root}/usr/bin/systemctl", verb, unit], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr + self.log(unit)

    def log(self, unit: str) -> str:
        """Return the end of what a unit wrote, in whole lines."""
        path = self.root / "run/units" / f"{unit}.log"
        text = path.read_text() if path.exists() else ""
        return text[: text.rfind("\n") + 1][-3000:]

    def calls(self) -> list[str]:
        """Return every call of systemctl so far."""
        return (self.root / "run/units/calls").read_text().splitlines()

    def start(self) -> None:
        """Start every instance, role after role as the units do; masters side by side, because one is not ready alone.

        Filers one by one: a SeaweedFS filer ends when the one that it copies from has just begun to start. Its unit
        starts it again then; here nothing does.
        """
        units = [one.unit for one in self.settings.instances("master")]
        starting = [subprocess.Popen([f"{self.root}/usr/bin/systemctl", "start", unit]) for unit in units]
        failed = [unit for unit, process in zip(units, starting, strict=True) if process.wait(200)]
        assert not failed, "\n".join(f"{unit}: {self.log(unit)}" for unit in failed)
        for role in ROLES[1:]:
            self.systemctl("start", *(one.unit for one in self.settings.instances(role)))

    def pid(self, unit: str) -> int:
        """Return the process of weed itself, which is the only child of the unit's main process."""
        main = int((self.root / "run/units" / unit).read_text())
        return int(Path(f"/proc/{main}/task/{main}/children").read_text().split()[0])

    def stop(self) -> None:
        """Kill what still runs, servers that have lost their launcher included, and wait until it is gone."""
        groups = [int(path.read_text()) for path in (self.root / "run/units").glob("*.service")]
        for group in groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        until(lambda: not any(map(lives, groups)), "what was killed still runs")

    def s3(
        self, method: str, path: str, body: bytes = b"", port: int = 0, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Ask S3, through HAProxy unless `port` is another one; return status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.proxy, timeout=60)
        try:
            connection.request(method, path, body=body or None, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@contextmanager
def host(binary: Path, **values: str) -> Iterator[Host]:
    """Make a host with `values` in weed.conf, in a folder whose name is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="weed-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        with ports.block() as base:
            made = Host(folder, binary, base, **values)
            try:
                yield made
            finally:
                made.stop()
    finally:
        shutil.rmtree(folder)


def lives(group: int) -> bool:
    """Return whether a process of a group is left that still runs."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of, *_ = path.read_text().rpartition(")")[2].split()
            if int(of) == group and state != "Z":
                return True
    return False


class Load:
    """Clients that write and read all the time, each on a connection of its own. `failed` is what went wrong."""

    def __init__(self, host: Host, clients: int = 4) -> None:
        self.host = host
        self.done = 0
        self.slowest = 0.0
        self.failed: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._client, args=(number,)) for number in range(clients)]

    def __enter__(self) -> Self:
        assert self.host.s3("PUT", "/load")[0] in (200, 409), "made now, or before"
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int) -> None:
        """Wait until `count` more requests have been answered."""
        wanted = self.done + count
        until(lambda: self.done >= wanted, lambda: f"{self.done} of {wanted} requests: {self.failed[:5]}")

    def _client(self, number: int) -> None:
        count = 0
        while not self._over.wait(0.01):
            count += 1
            body = f"{number} {count} ".encode() * 50
            path = f"/load/{number}-{count % 20}"
            self._ask("PUT", path, body)
            answer = self._ask("GET", path)
            if answer is not None and answer != body:
                self.failed.append(f"GET {path}: {len(answer)} bytes instead of {len(body)}")

    def _ask(self, method: str, path: str, body: bytes = b"") -> bytes | None:
        start = time.monotonic()
        try:
            status, answer = self.host.s3(method, path, body)
        except OSError as error:
            self.failed.append(f"{method} {path}: {error!r}")
            return None
        self.slowest = max(self.slowest, time.monotonic() - start)
        self.done += 1
        if status != 200:
            self.failed.append(f"{method} {path}: {status} {answer[:200]!r}")
            return None
        return answer
