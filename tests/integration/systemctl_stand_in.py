"""systemctl for a host below a folder, where no systemd can run: it starts and stops the real programs.

Called as `systemctl VERB UNIT`, from <root>/usr/bin. Speaks sd_notify(3) as systemd does for Type=notify units: a start
is over when the unit says READY=1. The virtual machines of the tests have the real one.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(sys.argv[0]).absolute().parents[2]
STATE = ROOT / "run/units"
START_SECONDS = 180


def alive(unit: str) -> int:
    try:
        pid = int((STATE / unit).read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if state == "Z" else pid


def command(unit: str) -> list[str]:
    if unit == "haproxy.service":
        config = str(ROOT / "etc/haproxy")
        return [str(ROOT / "usr/sbin/haproxy"), "-db", "-f", f"{config}/haproxy.cfg", "-f", f"{config}/conf.d"]
    role, number = re.fullmatch(r"weed-([a-z0-9]+)@(\d+)\.service", unit).groups()  # type: ignore[union-attr]
    return [sys.executable, str(ROOT / "opt/weed/libexec/weed-launch"), "--root", str(ROOT), role, number]


def start(unit: str) -> int:
    if alive(unit):
        return 0
    address = STATE / f"{unit}.notify"
    address.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, (STATE / f"{unit}.log").open("ab") as log:
        notify.bind(str(address))
        env = {"PATH": "/usr/bin:/bin", "NOTIFY_SOCKET": str(address)}
        argv = command(unit)
        if unit == "haproxy.service":
            env.pop("NOTIFY_SOCKET")
        process = subprocess.Popen(
            argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        (STATE / unit).write_text(str(process.pid))
        if unit == "haproxy.service":
            return 0
        notify.settimeout(0.2)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if b"READY=1" in notify.recv(4096).split(b"\n"):
                    return 0
            except TimeoutError:
                pass
    sys.stderr.write(f"Job for {unit} failed. See: journalctl -xeu {unit}" + "\n")
    return 1


def stop(unit: str) -> int:
    if pid := alive(unit):
        try:
            ends = os.pidfd_open(pid)
        except ProcessLookupError:
            return 0
        os.kill(pid, signal.SIGTERM)
        if not select.select([ends], [], [], START_SECONDS)[0]:
            os.kill(pid, signal.SIGKILL)
            select.select([ends], [], [])
        os.close(ends)
    return 0


def main(verb: str, unit: str) -> int:
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / "calls").open("a") as calls:
        calls.write(f"{verb} {unit}\n")
    if verb == "restart":
        return stop(unit) or start(unit)
    if verb == "is-active":
        return 0 if alive(unit) else 3
    if verb in ("start", "stop"):
        return {"start": start, "stop": stop}[verb](unit)
    if verb == "reload" and unit == "haproxy.service":
        return stop(unit) or start(unit)
    if verb == "show":
        sys.stdout.write("TimeoutStartUSec=5min\nTimeoutStopUSec=1min 30s\n")
        return 0
    sys.stderr.write(f"{verb}: this stand-in has no such verb" + "\n")
    return 1


if __name__ == "__main__":
    if sys.argv[1:] == ["--version"]:
        os.execv("/usr/bin/systemctl", ["systemctl", "--version"])
    sys.exit(main(sys.argv[1], next(word for word in sys.argv[2:] if not word.startswith("-"))))
