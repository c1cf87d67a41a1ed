"""`seal` by itself, in a sandbox with every capability, as an engine gives it: what it promises without any engine."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine.dagger import step as dagger_step
from pipeline.model.image import DEFAULT_PATH
from pipeline.model.step import WORK
from tests import tiny_root
from tests.conftest import require_tool, running
from tests.waiting import lasting

EPOCH = 1_234_567_890
SECRET = b"-----BEGIN KEY-----\nq8Xv1ZrT4mLw\nPz7NcY2kDh5Q\n-----END KEY-----\n"


@pytest.fixture(scope="module")
def seal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, compiled from its source with no network."""
    require_tool("go")
    folder = tmp_path_factory.mktemp("seal")
    for name, file in dagger_step.source().entries:
        (folder / name).write_bytes(file.content)
    env = {**os.environ, "CGO_ENABLED": "0", "GOPROXY": "off", "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
    subprocess.run(["go", "vet", "."], cwd=folder, env=env, check=True)
    subprocess.run(["go", "build", "-trimpath", "-o", folder / "seal", "."], cwd=folder, env=env, check=True)
    return folder / "seal"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_tool("bwrap")
    found = tiny_root.build(tmp_path_factory.mktemp("tiny") / "root")
    (found / "run/pipeline").mkdir()
    for name in ("seal", "step.json"):
        (found / "run/pipeline" / name).touch()
    return found


@dataclass
class Container:
    """A container with all capabilities in its own namespaces, and noise in its environment."""

    seal: Path
    root: Path
    folder: Path
    secrets: dict[str, bytes] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def run(self, *argv: str, **spec: Any) -> subprocess.CompletedProcess[str]:
        self.out.mkdir(exist_ok=True)
        binds = []
        for name, value in self.secrets.items():
            (self.folder / name).write_bytes(value)
            binds += ["--ro-bind", str(self.folder / name), f"/run/secrets/{name}"]
        own = {
            "env": {"PATH": ":".join(DEFAULT_PATH), **spec.pop("env", {})},
            "isolate": True, "secrets": list(self.secrets), "epoch": EPOCH, "timeout": 60, **spec,
        }  # fmt: skip
        (self.folder / "step.json").write_text(json.dumps(own))
        command = [
            *("bwrap", "--unshare-user", "--unshare-pid", "--uid", "0", "--gid", "0", "--cap-add", "ALL"),
            *("--bind", str(self.root), "/", "--proc", "/proc", "--dev", "/dev", "--bind", str(self.out), "/out"),
            *("--tmpfs", "/tmp", "--tmpfs", "/var/tmp", "--tmpfs", "/work", "--tmpfs", "/run/secrets", *binds),
            *self.mounts,
            *("--ro-bind", str(self.seal), dagger_step.SEAL),
            *("--ro-bind", str(self.folder / "step.json"), dagger_step.SPECIFICATION),
            *("--die-with-parent", *self.dropped, dagger_step.SEAL, *argv),
        ]
        env = {"PATH": os.environ["PATH"], "NOISE": "1", "HTTPS_PROXY": "http://proxy.invalid", "HOME": "/root"}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)

    def shell(self, script: str, **spec: Any) -> subprocess.CompletedProcess[str]:
        return self.run("sh", "-euc", script, **spec)


@pytest.fixture
def container(seal: Path, root: Path, tmp_path: Path) -> Container:
    return Container(seal, root, tmp_path)


def verdict(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 1, done.stderr
    return dict(json.loads(done.stderr.splitlines()[-1]))


def test_the_environment_is_exactly_what_was_said(container: Container) -> None:
    done = container.run("env", env={"GREETING": "a b"})
    assert done.stderr == ""
    assert sorted(done.stdout.splitlines()) == ["GREETING=a b", f"PATH={':'.join(DEFAULT_PATH)}"]


def test_what_says_how_the_network_is_reached_is_passed_on_where_it_is_wanted(container: Container) -> None:
    done = container.run("env", isolate=False, env={}, **{"pass": ["HTTPS_PROXY", "GOPROXY"]})
    assert "HTTPS_PROXY=http://proxy.invalid" in done.stdout.splitlines()
    assert "NOISE" not in done.stdout


def test_there_is_nothing_but_a_loopback_device_and_few_capabilities(container: Container) -> None:
    script = """
    uname -n; umask; id -u; cat /proc/net/dev > /out/dev; grep -E '^(Cap|NoNewPrivs)' /proc/self/status
    ls /dev; (echo x > /proc/sys/kernel/hostname) 2>/dev/null && echo writable; touch /new 2>/dev/null && echo writable
    exec 3<>/dev/tcp/127.0.0.1/1 || echo refused
    """
    done = container.run("bash", "-c", script)
    lines = done.stdout.split()
    assert lines[:3] == ["pipeline", "0022", "0"]
    assert [line.split(":")[0].strip() for line in (container.out / "dev").read_text().splitlines()[2:]] == ["lo"]
    assert "Connection refused" in done.stdout  # and not "Network is unreachable": loopback is up
    capabilities = dict(line.split(":\t") for line in done.stdout.splitlines() if ":\t" in line)
    assert set(capabilities.values()) == {"0000000000000000", "00000000000000fb", "1"}
    assert (capabilities["CapEff"], capabilities["NoNewPrivs"]) == ("00000000000000fb", "1")
    assert "writable" not in lines


def test_an_exit_code_fails_or_is_data(container: Container) -> None:
    assert verdict(container.shell("echo said; exit 3")) == {"problem": "exit", "code": 3}
    assert container.shell("exit 42", exit_code_is_data=True).returncode == 0
    assert (container.out / "exit-code").read_text() == "42\n"
    assert verdict(container.shell("kill -9 $$", exit_code_is_data=True)) == {"problem": "exit", "code": 137}
    assert verdict(container.run("no-such-program"))["code"] == 127


def test_outputs_are_promised_plain_and_of_one_time(container: Container) -> None:
    assert verdict(container.shell("touch /out/a", outputs=["a", "b/c"])) == {"problem": "missing", "paths": ["b/c"]}
    done = container.shell("mkdir -p /out/d; echo x > /out/d/f; ln -s f /out/d/l; chmod 4711 /out/d/f", outputs=["d/f"])
    assert done.returncode == 0, done.stderr
    assert {int(path.lstat().st_mtime) for path in [container.out, *container.out.rglob("*")]} == {EPOCH}
    assert (container.out / "d/f").stat().st_mode & 0o7777 == 0o711
    found = verdict(container.shell("mkfifo /out/d/pipe"))
    assert (found["problem"], found["kind"], found["paths"]) == ("special", "named pipe", ["d/pipe"])


def test_a_time_limit_is_for_everything_that_was_started(container: Container) -> None:
    lasts = lasting("314.7421")
    script = f"setsid sh -c 'setsid {lasts} & exit 0'; echo started; {lasts}"
    done = container.shell(script, timeout=1)
    if not done.stdout:  # a busy machine may take longer until it has begun
        done = container.shell(script, timeout=60)
    assert verdict(done) == {"problem": "timeout"}
    assert done.stdout == "started\n"
    assert container.shell(f"setsid sh -c '{lasts} & exit 0'").returncode == 0
    assert running("314.7421") == []


def test_a_secret_is_in_no_output_and_in_no_result(container: Container) -> None:
    container.secrets = {"key": SECRET}
    done = container.shell("cat /run/secrets/key; base64 -w0 /run/secrets/key; echo; echo the end")
    assert done.stdout.endswith("the end\n")
    for text in ("q8Xv1ZrT4mLw", "Pz7NcY2kDh5Q", base64.b64encode(SECRET).decode()):
        assert text not in done.stdout
    found = verdict(container.shell("mkdir /out/d; cp /run/secrets/key /out/d/leak"))
    assert (found["problem"], found["secret"], found["paths"]) == ("leak", "key", ["d/leak"])
    assert verdict(container.shell(f"echo {SECRET.decode().strip()!r}", env={"X": SECRET.decode()})) == {
        "problem": "exposed",
        "secret": "key",
    }


def test_without_the_right_to_make_namespaces_it_says_so(container: Container) -> None:
    container.dropped = ("--cap-drop", "CAP_SYS_ADMIN")
    assert "insecure root capabilities" in verdict(container.run("true"))["text"]
    assert container.run("true", isolate=False).returncode == 0


def test_only_caches_stay_in_the_working_directory(container: Container) -> None:
    work, cache = container.folder / "work", container.folder / "cache"
    for folder in (work / "a/cache", cache):
        folder.mkdir(parents=True)
    container.mounts = ("--bind", str(work), WORK, "--bind", str(cache), f"{WORK}/a/cache")
    script = "mkdir -p x/y; touch x/y/z a/b .hidden a/cache/kept; ln -s / link; chmod 0 x/y"
    done = container.shell(script, caches=[f"{WORK}/a/cache"])
    assert done.returncode == 0, done.stderr
    assert sorted(str(path.relative_to(work)) for path in work.rglob("*")) == ["a", "a/cache"]
    assert [path.name for path in cache.iterdir()] == ["kept"]
