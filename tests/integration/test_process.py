"""The one door for processes: real ones."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import anyio
import pytest

from pipeline.errors import EngineError, SourceError
from pipeline.host import process
from tests.waiting import until


def python(code: str, **options: object) -> process.Completed:
    return process.run_sync([sys.executable, "-c", code], **options)


def test_streams_are_captured_apart_and_the_code_is_kept() -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    done = python(code, check=False)
    assert (done.code, done.text, done.stderr) == (3, "out", b"err\n")


def test_a_sink_gets_both_streams_as_they_come() -> None:
    seen: list[bytes] = []
    done = python("import os; os.write(2, b'one'); os.write(1, b'two')", sink=seen.append)
    assert b"".join(seen) == done.output == b"onetwo"


def test_a_failure_is_the_error_that_was_asked_for() -> None:
    with pytest.raises(SourceError, match="failed with exit code 4") as caught:
        python("import sys; sys.exit('why' and 4)", error=SourceError)
    assert "sys.exit" in caught.value.details


def test_a_signal_is_named() -> None:
    with pytest.raises(EngineError, match="killed by SIGSEGV"):
        python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")


def test_the_environment_comes_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "canary")
    monkeypatch.setenv("HTTPS_PROXY", "proxy")
    env = process.environment("HTTPS_PROXY", "NOT_SET", EXTRA="1")
    assert set(env) == {"PATH", "LANG", "HTTPS_PROXY", "EXTRA"}
    assert python("import os; print('CANARY' in os.environ)").text == "False"


def test_standard_input_is_empty_or_what_is_given() -> None:
    code = "import sys; print(len(sys.stdin.buffer.read()))"
    assert python(code).text == "0"
    assert python(code, stdin=b"x" * 3_000_000).text == "3000000"
    assert python("pass", stdin=b"x" * 3_000_000).code == 0


def test_a_missing_program_says_what_to_install() -> None:
    with pytest.raises(SourceError, match="gpg-that-is-not-there") as caught:
        process.run_sync(["gpg-that-is-not-there"], error=SourceError)
    assert "apt-get install" in caught.value.resolution


def test_a_timeout_kills_the_group_even_if_it_will_not_listen(tmp_path: Path) -> None:
    code = f"""
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.signal(15, 1); signal.pause()'])
open({str(tmp_path / "pids")!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')
signal.pause()
"""
    for seconds in (1.5, 15, 120):  # a busy machine may take long until both have begun
        with pytest.raises(EngineError, match=f"ran longer than {seconds:g} seconds"):
            python(code, timeout=seconds)
        if (tmp_path / "pids").exists():
            break
    for pid in (tmp_path / "pids").read_text().split():
        until(partial(_ended, int(pid)), f"{pid} still runs")


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_cancellation_ends_the_process() -> None:
    async def work() -> bool:
        with anyio.move_on_after(0.3) as scope:
            await process.run([sys.executable, "-c", "import signal; signal.pause()"])
        return scope.cancelled_caught

    assert anyio.run(work)


def test_an_error_in_the_sink_ends_the_process_and_is_raised() -> None:
    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        python("import signal; print('x', flush=True); signal.pause()", sink=full)


def _descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_no_process_and_no_descriptor_is_left() -> None:
    before = _descriptors()
    for _ in range(5):
        python("print(1)")
    assert _descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
