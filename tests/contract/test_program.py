"""What a program in a step sees, and what becomes of how it ends."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import PipelineError, StepFailedError
from pipeline.model.step import Caching, Effect, ExitCode, Step
from pipeline.model.tree import Files
from tests.conftest import running
from tests.contract.adapters import Adapter
from tests.contract.conftest import MakeStep
from tests.waiting import lasting


def test_a_failure_tells_title_digest_command_code_and_the_end_of_the_output(engine: Adapter, step: MakeStep) -> None:
    failing = step("echo to-stdout; echo to-stderr >&2; exit 3", title="break it")
    with pytest.raises(StepFailedError) as caught:
        engine.run(failing.out)
    assert caught.value.brief == 'step "break it" failed with exit code 3'
    text = str(caught.value)
    for part in (failing.digest, "exit 3'", "to-stdout", "to-stderr", f"pipeline shell {failing.digest[7:19]}"):
        assert part in text
    assert "to-stderr" in engine.said()


def test_the_error_shows_the_last_lines_only_and_the_log_has_all(engine: Adapter, step: MakeStep) -> None:
    with pytest.raises(StepFailedError) as caught:
        engine.run(step("seq -f line-%g 1 500; exit 1").out)
    shown = [line for line in caught.value.details.splitlines() if "line-" in line]
    assert "line-500" in shown[-1]
    assert len(shown) <= 25
    assert "line-1\n" in engine.said()


def test_an_exit_code_can_be_data(engine: Adapter, step: MakeStep) -> None:
    out = engine.run(step("echo found > /out/report; exit 42", exit_code=ExitCode.IS_DATA).out)
    assert (out / "exit-code").read_text() == "42\n"
    assert (out / "report").read_text() == "found\n"
    zero = engine.run(step("true", exit_code=ExitCode.IS_DATA).out)
    assert (zero / "exit-code").read_text() == "0\n"


def test_a_killed_program_is_never_data(engine: Adapter, step: MakeStep) -> None:
    with pytest.raises(StepFailedError, match="137"):
        engine.run(step("kill -9 $$", exit_code=ExitCode.IS_DATA).out)


def test_a_program_that_is_not_there_is_named(engine: Adapter) -> None:
    lost = Step(title="lost", image=engine.image, argv=("no-such-program", "--help"))
    with pytest.raises(PipelineError) as caught:
        engine.run(lost.out)
    assert "no-such-program" in str(caught.value)


def test_the_environment_is_what_the_step_says(
    engine: Adapter, step: MakeStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOST_CANARY", "canary")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:1")
    engine.again()
    out = engine.run(step("cat /proc/self/environ > /out/env", env=(("GREETING", "a b\nc"),), epoch=1_000_000_000).out)
    seen = dict(item.split("=", 1) for item in (out / "env").read_text().split("\0") if item)
    allowed = {"PWD", "OLDPWD", "_", "SHLVL"}  # a shell's own
    assert {name: value for name, value in seen.items() if name not in allowed} == {
        "GREETING": "a b\nc",
        "PATH": ":".join(engine.image.path),
        "SOURCE_DATE_EPOCH": "1000000000",
    }


def test_the_program_is_root_on_a_host_called_pipeline_with_a_fixed_umask(engine: Adapter, step: MakeStep) -> None:
    script = "{ id -u; id -g; uname -n; umask; pwd; ls -A | grep -c . || true; } > /out/seen; touch made"
    seen = (engine.run(step(script).out) / "seen").read_text().split()
    assert seen == ["0", "0", "pipeline", "0022", "/work", "0"]


def test_standard_input_is_empty(engine: Adapter, step: MakeStep) -> None:
    assert (engine.run(step("cat > /out/stdin", timeout=20).out) / "stdin").read_bytes() == b""


def test_inputs_are_read_only(engine: Adapter, step: MakeStep) -> None:
    attempts = "touch /in/data/new", "echo x > /in/data/file", "rm /in/data/file", "chmod 777 /in/data/file"
    script = "; ".join(f"if ({attempt}) 2>/dev/null; then echo '{attempt}' >> /out/worked; fi" for attempt in attempts)
    tree = Files.of({"file": "text"})
    out = engine.run(step(f"{script}; cp /in/data/file /out/", inputs=(("data", tree),)).out)
    assert not (out / "worked").exists()
    assert (out / "file").read_text() == "text"


def test_nothing_of_this_machine_is_visible(engine: Adapter, step: MakeStep, tmp_path: Path) -> None:
    canary = tmp_path / "canary-of-the-host"
    canary.write_text("canary")
    places = f"{canary} {Path.home()}/.ssh {Path.home()}/.config /etc/shadow /etc/hostname /sys/class"
    script = f"""
    for p in {places}; do if test -e $p; then echo $p >> /out/seen; fi; done
    find / -xdev -name 'canary-of*' >> /out/seen 2>/dev/null || true
    ls /proc | grep -c '^[0-9]' > /out/processes
    """
    out = engine.run(step(script).out)
    seen = out / "seen"
    assert not seen.exists() or seen.read_text() == ""
    assert int((out / "processes").read_text()) < 8


@contextlib.contextmanager
def listening() -> Iterator[int]:
    """A server on every address of this machine that greets whoever connects."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        server.settimeout(300)

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"hello\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        try:
            yield port
        finally:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
            thread.join(timeout=305)


def connecting(engine: Adapter, port: int, **fields: Any) -> Step:
    script = f"exec 3<>/dev/tcp/{engine.listener}/{port} || exit 9; head -n 1 <&3 > /out/greeting"
    return Step(title="connect", image=engine.image, argv=("bash", "-c", script), **fields)


@pytest.mark.parametrize("caching", Caching)
def test_there_is_no_network_unless_declared(engine: Adapter, step: MakeStep, caching: Caching) -> None:
    with listening() as port, pytest.raises(StepFailedError, match="exit code 9"):
        engine.run(connecting(engine, port, caching=caching).out)
    out = engine.run(step("cat /proc/net/dev > /out/dev", caching=caching).out)
    names = [line.split(":")[0].strip() for line in (out / "dev").read_text().splitlines()[2:]]
    assert names == ["lo"]


@pytest.mark.parametrize(
    "fields", [*({"caching": each} for each in Caching), {"caching": Caching.NEVER, "effect": Effect.PUBLISH}]
)
def test_there_is_network_where_declared(engine: Adapter, fields: dict[str, Any]) -> None:
    with listening() as port:
        assert (engine.run(connecting(engine, port, network=True, **fields).out) / "greeting").read_text() == "hello\n"


def test_a_timeout_kills_the_whole_process_tree(engine: Adapter, step: MakeStep) -> None:
    lasts = lasting("312.7421")
    script = f"""
    setsid sh -c 'setsid {lasts} >/dev/null 2>&1 </dev/null & exit 0'
    echo started; trap '' TERM INT HUP; {lasts} & wait; {lasts}
    """

    def said(seconds: int) -> str:
        with pytest.raises(StepFailedError, match=f"ran longer than {seconds} seconds") as caught:
            engine.run(step(script, title="hangs", timeout=seconds).out)
        assert running("312.7421") == []
        return str(caught.value)

    # A busy machine may take long until it has begun.
    assert any("started" in said(seconds) for seconds in (2, 60))


def test_what_a_program_leaves_running_ends_with_it(engine: Adapter, step: MakeStep) -> None:
    script = f"setsid sh -c 'setsid {lasting('313.7421')} & exit 0'; echo done > /out/it"
    engine.run(step(script).out)
    assert running("313.7421") == []
