"""Runs inside the test machine: carries out commands that the host asks for over a virtio port, one at a time.

One JSON object a line. The host sends `{"id", "script", "timeout", "input"}`; the answer is `{"id", "code", "stdout",
"stderr"}`, where `code` is negative for a signal and null for a command that had to be stopped. Each start begins with
`{"boot": <boot id>}`, so the host sees every reboot, also one that nobody asked for.

`/var/lib/vm-agent/seal` is a hash over the host's random nonce and every step that was carried out. It outlives
reboots; only a machine that ran all steps of this run, in order and with these exit codes, ends with the host's value.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Any

PORT = Path("/dev/virtio-ports/org.pipeline.agent")
SEAL = Path("/var/lib/vm-agent/seal")
LIMIT = 4 << 20
"""Bytes of each stream that go back, from its end."""

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "SYSTEMD_PAGER": "",
}


def seal_of(before: str, identity: int, code: int | None) -> str:
    """Return the seal after a step: `before` with what was asked and how it ended hashed into it."""
    return hashlib.sha256(f"{before} {identity} {code}".encode()).hexdigest()


def run(argv: list[str], given: bytes, timeout: float) -> tuple[int | None, str, str]:
    """Run a command in its own session and return its exit code and the ends of its output.

    Output goes to files: a daemon that the script leaves behind cannot keep us waiting by holding a pipe.
    """
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        source.write(given)
        source.seek(0)
        child = subprocess.Popen(argv, stdin=source, stdout=out, stderr=err, env=ENVIRONMENT, start_new_session=True)
        code: int | None
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            code = None
        return code, _end(out), _end(err)


def _end(stream: IO[bytes]) -> str:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - LIMIT))
    return stream.read().decode("utf-8", "replace")


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request. `nonce` begins the seal, `seal` asks for it, `script` is a step."""
    SEAL.parent.mkdir(parents=True, exist_ok=True)
    if "nonce" in request:
        SEAL.write_text(request["nonce"])
        return {"id": request["id"]}
    if "seal" in request:
        return {"id": request["id"], "seal": SEAL.read_text()}
    code, stdout, stderr = run(
        ["/bin/bash", "-c", request["script"]], base64.b64decode(request["input"]), request["timeout"]
    )
    SEAL.write_text(seal_of(SEAL.read_text(), request["id"], code))
    return {"id": request["id"], "code": code, "stdout": stdout, "stderr": stderr}


def serve(port: IO[bytes]) -> None:
    """Answer requests until the machine goes down."""

    def send(message: dict[str, Any]) -> None:
        left = memoryview(json.dumps(message).encode() + b"\n")
        while left:  # a port takes 32 KiB at once
            left = left[port.write(left) :]

    port.write(b"\n")
    send({"boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip()})
    buffer = b""
    while True:
        got = port.read(1 << 16)
        if not got:  # nobody has opened the other end yet
            time.sleep(0.2)
            continue
        buffer += got
        while b"\n" in buffer:
            line, buffer = buffer.split(b"\n", 1)
            send(answer(json.loads(line)))


def main() -> None:
    with PORT.open("r+b", buffering=0) as port:
        serve(port)


if __name__ == "__main__":
    main()
