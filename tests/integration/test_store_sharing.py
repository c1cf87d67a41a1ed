"""The store between processes: shared, killed at any moment, out of room, and read by somebody who is not root."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.engine.local import Store
from pipeline.host import disk
from pipeline.host.content import digest_of
from tests import tiny_root
from tests.conftest import lacking, require_tool
from tests.waiting import elapse, until

PROJECT = Path(__file__).parents[2]
CHILD = "tests.integration.store_child"


@pytest.fixture(scope="module", autouse=True)
def bubblewrap() -> str:
    return require_tool("bwrap")


@pytest.fixture(scope="module")
def tiny() -> Iterator[Path]:
    """The root file system, where every user can read it."""
    folder = Path(tempfile.mkdtemp(prefix="tiny-"))
    folder.chmod(0o755)
    yield tiny_root.build(folder / "root")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def content(tiny: Path) -> str:
    return digest_of(tiny)


def command(home: Path, tiny: Path, content: str, graph: str, *then: str) -> list[str]:
    return [sys.executable, "-m", CHILD, str(home), str(tiny), graph, content, *then]


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(PROJECT), *(entry for entry in sys.path if entry)])
    return {"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def start(argv: list[str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, cwd=PROJECT, env=environment(), stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=120)
    assert out, err
    report: dict[str, Any] = json.loads(out)
    return report


def test_two_processes_share_the_work(tmp_path: Path, tiny: Path, content: str) -> None:
    both = [start(command(tmp_path, tiny, content, "slow")) for _ in range(2)]
    reports = [finish(process) for process in both]
    assert sorted(reports[0]["ran"] + reports[1]["ran"]) == ["a", "b", "c"]
    assert reports[0]["where"] == reports[1]["where"]
    assert len({path.read_text() for path in Path(reports[0]["where"]).rglob("id")}) == 3


def test_a_store_survives_sigkill_at_any_moment(tmp_path: Path, tiny: Path, content: str) -> None:
    moments = random.Random(7)
    home = tmp_path / "home"
    killed = 0
    for _ in range(12):
        process = start(command(home, tiny, content, "chain"))
        elapse(moments.uniform(0.15, 0.9), "the engine gets to some moment")
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=120)
        killed += process.returncode == -signal.SIGKILL
        if killed % 4 == 0:
            shutil.rmtree(home / "store", ignore_errors=True)
    assert killed
    with Store(home) as store:
        assert store.verify() == []
    report = finish(start(command(home, tiny, content, "chain")))
    fresh = finish(start(command(tmp_path / "other", tiny, content, "chain")))
    assert digest_of(Path(report["where"])) == digest_of(Path(fresh["where"]))
    assert list((home / "tmp").iterdir()) == list((home / "leases").iterdir()) == []
    assert not list(home.rglob(".*"))


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.01, 0.1])
def test_a_killed_engine_leaves_no_program_running(tmp_path: Path, tiny: Path, content: str, delay: float) -> None:
    process = start(command(tmp_path, tiny, content, "slow"))

    def begun() -> bool:
        assert process.poll() is None
        return any(tmp_path.glob("logs/*"))

    until(begun, "no step begins", pause=0.001)
    elapse(delay, "the program gets to some moment")
    process.kill()
    process.communicate(timeout=120)
    # What the engine has forked may be no program yet.
    until(lambda: not any(CHILD in _command_line(pid) for pid in _running(tmp_path)), "a fork of the engine stays")
    Store(tmp_path).close()
    assert _running(tmp_path) == []


def test_a_sandbox_that_outlived_its_engine_is_ended_with_the_next(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        mine = store.aside
    waiting = ["sh", "-c", "read -r line; :"]
    orphan = subprocess.Popen([*waiting, f"{tmp_path}/tmp/1-dead/scratch"], stdin=subprocess.PIPE)
    other = subprocess.Popen([*waiting, f"{tmp_path}/tmp/1-dead-not"], stdin=subprocess.PIPE)
    try:
        (tmp_path / "leases/1-dead").touch()
        (tmp_path / "tmp/1-dead/scratch").mkdir(parents=True)
        Store(tmp_path).close()
        assert orphan.wait(timeout=10) == -signal.SIGKILL
        assert other.poll() is None
        assert list((tmp_path / "tmp").iterdir()) == []
        assert not mine.exists()
    finally:
        for process in (orphan, other):
            process.kill()
            process.communicate()


def test_what_begins_while_the_dead_are_looked_for_is_found_as_well(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    script = f"n=0; while [ $n -lt 300 ]; do tail -f --pid=$$ {tmp_path}/file & n=$((n+1)); done; wait"
    for _ in range(5):
        with subprocess.Popen(["sh", "-c", script], stdout=subprocess.DEVNULL, start_new_session=True) as spawning:
            while len(_running(tmp_path)) < 3:
                assert spawning.poll() is None
            disk.kill_users(tmp_path)
        assert _running(tmp_path) == []


def _running(folder: Path) -> list[Path]:
    return [pid for pid in Path("/proc").glob("[0-9]*") if str(folder) in _command_line(pid)]


def _command_line(pid: Path) -> str:
    try:
        return (pid / "cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


@pytest.mark.parametrize("graph", ["large", "literal", "chatty"])
def test_a_full_disk_is_a_clear_error_and_leaves_no_half_output(
    tmp_path: Path, tiny: Path, content: str, graph: str
) -> None:
    require_tool("unshare")
    disk = tmp_path / "disk"
    disk.mkdir()
    inner = command(disk / "home", tiny, content, graph)
    # what is left over is counted inside, because the small disk is gone with its namespace
    script = f"""
    mount -t tmpfs -o size=24m tmpfs {disk} || exit 77
    "$@"; echo "code $?"; find {disk}/home/store {disk}/home/tmp -mindepth 1 -not -path '*/store/??' | wc -l
    """
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", *inner],
        cwd=PROJECT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode == 77:
        lacking("this machine does not let a user namespace mount a tmpfs")
    report, code, left = done.stdout.splitlines()
    said = json.loads(report)
    assert code == "code 11", done.stdout
    assert said["kind"] == "StoreError"
    assert f"the disk that holds {disk / 'home'} is full" in said["error"]
    assert "MiB are free" in said["error"]
    assert "pipeline cache prune" in said["error"]
    assert said["left"] == []
    assert left == "0"


def test_prune_leaves_what_another_process_uses(tmp_path: Path, tiny: Path, content: str) -> None:
    holder = start(command(tmp_path, tiny, content, "chain", "hold"))
    assert holder.stdout is not None
    report = json.loads(holder.stdout.readline())
    before = digest_of(Path(report["where"]))
    with Store(tmp_path) as store:
        store.prune()
        assert digest_of(Path(report["where"])) == before
        holder.communicate("", timeout=30)
        assert store.prune()
        assert not Path(report["where"]).exists()
        assert store.usage() == []


def test_an_ordinary_user_can_use_the_engine(tiny: Path, content: str) -> None:
    as_user: list[str] = []  # whoever runs this, unless that is root
    home = Path(tempfile.mkdtemp(prefix="user-"))
    try:
        if os.geteuid() == 0:
            as_user = [require_tool("setpriv"), "--reuid", "12345", "--regid", "12345", "--clear-groups"]
            usable = [*as_user, sys.executable, "-c", "import anyio, pipeline, tests.tiny_root"]
            if subprocess.run(usable, cwd="/", env=environment(), capture_output=True).returncode:
                lacking("another user cannot run this Python: it, or this project, is in a folder of root's own")
            os.chown(home, 12345, 12345)
        report = finish(start([*as_user, *command(home / "store", tiny, content, "chain")]))
        assert report["ran"] == [f"link {number}" for number in range(6)]
        again = finish(start([*as_user, *command(home / "store", tiny, content, "chain")]))
        assert (again["ran"], again["cached"]) == ([], ["link 5"])
    finally:
        shutil.rmtree(home)


def test_a_full_disk_can_be_pruned(tmp_path: Path, tiny: Path, content: str) -> None:
    require_tool("unshare")
    disk = tmp_path / "disk"
    disk.mkdir()
    inner = command(disk / "home", tiny, content, "chain")
    prune = "import sys; from pathlib import Path; from pipeline.engine.local import Store\n"
    prune += "with Store(Path(sys.argv[1])) as store: print('gone', len(store.prune()))"
    script = f"""
    mount -t tmpfs -o size=24m tmpfs {disk} || exit 77
    "$@" > /dev/null && dd if=/dev/zero of={disk}/filler bs=4096 2>/dev/null
    {sys.executable} -c "$PRUNE" {disk}/home && find {disk}/home/store -name manifest.json | wc -l
    """
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", *inner],
        cwd=PROJECT,
        env={**environment(), "PRUNE": prune},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode == 77:
        lacking("this machine does not let a user namespace mount a tmpfs")
    assert done.stdout.split() == ["gone", "7", "0"], done.stderr
