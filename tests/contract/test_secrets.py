"""A secret reaches the program that needs it and nothing else: no log, store, artifact, argument or error."""

from __future__ import annotations

import base64
import contextlib
import threading
from pathlib import Path

import pytest

from pipeline.errors import EngineError, StepFailedError
from pipeline.model.step import Caching
from tests.contract.adapters import Adapter
from tests.contract.conftest import MakeStep
from tests.waiting import shell_pause

VALUE = b"-----BEGIN KEY-----\nq8Xv1ZrT4mLw\nshort\nPz7NcY2kDh5Q\n-----END KEY-----\n"
LINES = ("q8Xv1ZrT4mLw", "Pz7NcY2kDh5Q")


def assert_nowhere(engine: Adapter, *texts: str) -> None:
    """Fail if anything that the engine kept or said contains one of `texts`."""
    for text in texts:
        assert text not in engine.said()
        for place in engine.kept():
            for path in place.rglob("*"):
                assert text not in path.name
                if path.is_file() and not path.is_symlink():
                    assert text.encode() not in path.read_bytes(), path


def test_the_program_reads_the_value(engine: Adapter, step: MakeStep) -> None:
    script = "wc=$(stat -c '%s %a' /run/secrets/key); echo $wc > /out/seen; sha256sum < /run/secrets/key >> /out/seen"
    out = engine.run(step(script, secrets=("key",), caching=Caching.NEVER).out, secrets={"key": VALUE})
    assert (out / "seen").read_text().startswith(f"{len(VALUE)} 400\n")


def test_a_program_that_prints_it_leaves_no_trace(engine: Adapter, step: MakeStep) -> None:
    script = """
    cat /run/secrets/key; base64 /run/secrets/key; base64 -w0 /run/secrets/key; echo
    while read -r line; do echo "with $line around" >&2; done < /run/secrets/key
    s=$(sed -n 2p /run/secrets/key 2>/dev/null || { read -r a; read -r b; echo "$b"; } < /run/secrets/key)
    printf %s "${s%????}"; PAUSE; printf '%s\\n' "${s#????????}"
    cp /run/secrets/key /tmp/copy; cp /run/secrets/key copy; echo the-end; exit 4
    """
    script = script.replace("PAUSE", shell_pause(0.2, "its two halves are read apart"))
    failing = step(script, secrets=("key",), caching=Caching.NEVER)
    with pytest.raises(StepFailedError) as caught:
        engine.run(failing.out, secrets={"key": VALUE})
    encoded = base64.b64encode(VALUE).decode()
    assert "the-end" in str(caught.value)
    for text in (*LINES, encoded, encoded[:76]):
        assert text not in str(caught.value)
    assert_nowhere(engine, *LINES, encoded, encoded[:76])


def test_it_is_in_no_command_line_and_no_environment_while_the_program_runs(engine: Adapter, step: MakeStep) -> None:
    found: list[str] = []
    looked = 0
    stop = threading.Event()

    def look() -> None:
        nonlocal looked
        while not stop.wait(0.05):
            for name in ("cmdline", "environ"):
                for path in Path("/proc").glob(f"[0-9]*/{name}"):
                    with contextlib.suppress(OSError):
                        data = path.read_bytes()
                        found.extend(str(path) for line in LINES if line.encode() in data)
            looked += 1

    thread = threading.Thread(target=look)
    thread.start()
    try:
        script = f"cat /run/secrets/key > /dev/null; {shell_pause(0.5, 'others look at it')}"
        engine.run(step(script, secrets=("key",), caching=Caching.NEVER).out, secrets={"key": VALUE})
    finally:
        stop.set()
        thread.join()
    assert looked
    assert found == []


def test_it_is_gone_from_the_store_after_a_program_copied_it_around(engine: Adapter, step: MakeStep) -> None:
    script = "cp /run/secrets/key /tmp/; cp /run/secrets/key .; cp /run/secrets/key /var/tmp/; echo ok > /out/ok"
    engine.run(step(script, secrets=("key",), caching=Caching.NEVER).out, secrets={"key": VALUE})
    assert_nowhere(engine, *LINES)


def test_a_program_that_puts_it_into_its_result_fails(engine: Adapter, step: MakeStep) -> None:
    leaking = step("mkdir /out/d; cat /run/secrets/key > /out/d/leak", secrets=("key",), caching=Caching.NEVER)
    with pytest.raises(StepFailedError, match=r"secret 'key' in /out/d/leak") as caught:
        engine.run(leaking.out, secrets={"key": VALUE})
    assert not any(line in str(caught.value) for line in LINES)
    assert_nowhere(engine, *LINES)


def test_a_step_with_the_value_in_its_arguments_is_refused(engine: Adapter, step: MakeStep) -> None:
    exposed = step("echo token-9f8e7d6c5b", secrets=("token",), caching=Caching.NEVER)
    with pytest.raises(EngineError, match="secret 'token'") as caught:
        engine.run(exposed.out, secrets={"token": b"token-9f8e7d6c5b"})
    assert "token-9f8e7d6c5b" not in str(caught.value)
    if not engine.shows_commands:
        assert_nowhere(engine, "token-9f8e7d6c5b")


def test_a_secret_that_is_not_given_is_named(engine: Adapter, step: MakeStep) -> None:
    with pytest.raises(EngineError, match="key"):
        engine.run(step("true", secrets=("key",), caching=Caching.NEVER).out)


def test_a_step_without_secrets_sees_none(engine: Adapter, step: MakeStep) -> None:
    out = engine.run(step("ls -A /run/secrets > /out/ls 2>/dev/null || true").out, secrets={"key": VALUE})
    assert (out / "ls").read_text() == ""
