"""A Debian machine under qemu, emulated (never KVM: the same everywhere), without any network to the outside.

    with Machine(base_image(), {"packages": folder}, folder=tmp_path) as machine:
        machine.run("systemctl is-active weed.target")
        machine.reboot()

A machine that is left without an error proves that it carried out every step: see `Machine.finish`.
"""

from __future__ import annotations

import base64
import re
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.vm import console
from tests.vm.channel import Channel, LostError
from tests.vm.guest.agent import seal_of
from tests.vm.image import Base
from tests.vm.system import REPLY, Done, MachineError, System

GUEST = Path(__file__).with_name("guest")
"""Programs that run inside, as /payload/<name>."""

BOOT = 240.0
"""Seconds that a start may take: 15 on two idle cores, several times that on busy ones."""

MEMORY = 2048
KERNEL = (
    *("root=/dev/vda", "rw", "console=ttyS0", "panic=-1", "oops=panic", "net.ifnames=0", "mitigations=off"),
    *(
        "audit=1",
        "audit_backlog_limit=8192",
        "modprobe.blacklist=kvm_amd",
        "systemd.show_status=false",
        "quiet",
        "loglevel=4",
    ),
)

SECURITY = {
    "apparmor": ("security=apparmor",),
    "selinux": ("security=selinux", "selinux=1", "enforcing=1"),
    "permissive": ("security=selinux", "selinux=1", "enforcing=0"),
}

AUDIT = re.compile(r"^\w+ +\d+ [0-9:]+ \w+ audit(\[\d+\])?: ")


class Machine(System):
    """One run of a machine. Its disk is as it was at the start for the next one."""

    def __init__(
        self, base: Base, payload: Mapping[str, Path], *, folder: Path, security: str = "apparmor", memory: int = MEMORY
    ) -> None:
        """Prepare a machine in the empty directory `folder`. `payload`: folders that it finds as /payload/<name>."""
        self.base, self.folder, self.memory = base, folder, memory
        self.options = (*KERNEL, *SECURITY[security])
        self.console = folder / "console.log"
        self.boots: list[str] = []
        self._payload = dict(payload)
        self._steps = 0
        self._seal = ""
        self._broken = ""
        self._finished = False

    def __enter__(self) -> Self:
        self._disk()
        self.channel = Channel(self.folder / "agent.sock")
        with (self.folder / "qemu.log").open("wb") as log:
            self.process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        try:
            self.channel.connect(self.process, 30)
            self._await_boot(BOOT)
            self._seal = secrets.token_hex(32)
            self._ask({"nonce": self._seal}, REPLY)
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        try:
            if kind is None and not self._finished:
                self.finish()
        finally:
            self.kill()

    def attempt(self, script: str, timeout: float, given: bytes) -> Done:
        given_text = base64.b64encode(given).decode()
        answer = self._ask({"script": script, "timeout": timeout, "input": given_text}, timeout + REPLY)
        self._seal = seal_of(self._seal, answer["id"], answer["code"])
        return Done(script, answer["code"], answer["stdout"], answer["stderr"])

    def reboot(self, timeout: float = BOOT) -> None:
        """Reboot in an orderly way and wait for the machine to come back as another boot."""
        self._leave("reboot")
        self._await_boot(timeout)

    def _leave(self, verb: str) -> None:
        """Have systemd end this boot in a moment: the agent, which it stops then, has answered by that time."""
        self.run(f"systemd-run --quiet --on-active=5 --timer-property=AccuracySec=100ms systemctl --no-block {verb}")

    def journal(self, lines: int = 60) -> str:
        """Return the end of the journal of this boot. Of auditd's records only refusals are in it."""
        said = self.run(f"journalctl --no-pager --boot --lines={lines * 10}", check=False).stdout.splitlines()
        return "\n".join([line for line in said if not AUDIT.search(line) or "denied" in line.lower()][-lines:])

    def evidence(self) -> str:
        """Return what a person needs to see why something failed: the ends of the console and of the journal."""
        said = f"the console's end:\n{console.tail(self.console, 15)}"
        if self._broken:
            return said
        try:
            return f"the journal's end:\n{self.journal()}\n{said}"
        except MachineError as error:
            return f"no journal: {str(error).splitlines()[0]}\n{said}"

    def attest(self) -> None:
        """Check that this machine carried out every step since its start. Raises MachineError.

        The seal begins with a random nonce of this run and takes in each step with its exit code; a machine that died,
        was replaced, or only printed what a test looks for cannot know it.
        """
        told = self._ask({"seal": True}, REPLY)["seal"]
        if told != self._seal:
            raise MachineError(f"the machine did not carry out all {self._steps} steps\n\n{self.evidence()}")

    def finish(self) -> None:
        """Check that the machine did everything, and that it powers off in an orderly way. Raises MachineError."""
        self._finished = True
        self.attest()
        self._leave("poweroff")
        try:
            code = self.process.wait(BOOT)
        except subprocess.TimeoutExpired:
            raise self._failure(f"the machine did not power off within {BOOT:.0f} s") from None
        if code != 0:
            raise self._failure(f"qemu ended with {code}")
        if line := console.fatal(self.console):
            raise self._failure(f"the console says {line!r}")

    def kill(self) -> None:
        """End the machine as a power cut does."""
        self.process.kill()
        self.process.wait()
        self.channel.close()

    def _ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        if self._broken:
            raise MachineError(f"an earlier step broke this machine: {self._broken}")
        self._steps += 1
        self.channel.send({"id": self._steps, **request})
        answer = self._receive(timeout)
        if "boot" in answer:
            raise self._failure(f"the machine rebooted unasked during step {self._steps}: {request.get('script')}")
        if answer["id"] != self._steps:
            raise self._failure(f"step {self._steps} was answered with {answer}")
        return answer

    def _await_boot(self, timeout: float) -> None:
        answer = self._receive(timeout)
        if "boot" not in answer or answer["boot"] in self.boots:
            raise self._failure(f"instead of a new boot came {answer}")
        self.boots.append(answer["boot"])

    def _receive(self, timeout: float) -> dict[str, Any]:
        try:
            return self.channel.receive(self.process, timeout, lambda: console.fatal(self.console))
        except LostError as error:
            raise self._failure(str(error)) from None

    def _failure(self, what: str) -> MachineError:
        self._broken = what
        log = (self.folder / "qemu.log").read_text("utf-8", "replace").strip()
        return MachineError(f"{self._broken}\n{log}\n\n{self.evidence()}")

    def _disk(self) -> None:
        """Make the second disk: our programs and what the test brings."""
        content = self.folder / "payload"
        content.mkdir()
        for program in GUEST.glob("*.py"):
            shutil.copy(program, content)
        for name, source in self._payload.items():
            shutil.copytree(source, content / name)
        size = sum(path.stat().st_size for path in content.rglob("*") if path.is_file())
        blocks = f"{(size >> 20) * 5 // 4 + 16}M"
        argv = ("mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-O", "^has_journal", "-d", str(content))
        subprocess.run([*argv, str(self.folder / "payload.img"), blocks], check=True, capture_output=True)
        shutil.rmtree(content)

    def _command(self) -> list[str]:
        # With the disk of the host full, an input/output error on the console, not a machine that waits for ever.
        drive = "format=raw,if=virtio,snapshot=on,cache=unsafe,werror=report"
        return [
            *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512"),
            *(
                "-cpu",
                "max",
                "-smp",
                "2",
                "-m",
                str(self.memory),
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
            ),
            *("-kernel", str(self.base.kernel), "-initrd", str(self.base.initrd), "-append", " ".join(self.options)),
            *("-drive", f"file={self.base.disk},{drive}", "-drive", f"file={self.folder / 'payload.img'},{drive}"),
            *(
                "-serial",
                f"file:{self.console}",
                "-nic",
                "none",
                "-device",
                "virtio-rng-pci",
                "-device",
                "virtio-serial",
            ),
            *("-chardev", "socket,id=agent,path=agent.sock,server=on,wait=off"),
            *("-device", "virtserialport,chardev=agent,name=org.pipeline.agent"),
        ]
