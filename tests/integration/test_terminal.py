"""What people see on a real terminal of 80 columns, and what a pipe and a CI log get instead."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

PROJECT = Path(__file__).parents[2]
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7][0-9;]*m")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

LIVE = """
import logging, sys
import anyio
from pipeline.cli import verbose
from pipeline.cli.terminal import progress_on
from pipeline.engine.base import Event, What
from pipeline.model.image import Base, Image
from pipeline.model.step import Step

verbose.configure(1)
progress = progress_on(sys.stderr)
image = Image("base", Base("base", "sha256:1"))
one, two = (Step(title=title, image=image, argv=(title,)) for title in ("one", "two " + "x" * 90))

async def work():
    async with anyio.create_task_group() as group:
        group.start_soon(progress.live)
        progress.note("begins")
        progress(Event(what=What.STARTED, step=one))
        progress(Event(what=What.STARTED, step=two))
        progress(Event(what=What.OUTPUT, step=one, text="\\x1b]0;title\\x07 [red]"))
        await anyio.wait_all_tasks_blocked()
        logging.getLogger("pipeline.host.process").info("a process")
        print("a result")
        progress(Event(what=What.FINISHED, step=one, seconds=1.5))
        progress(Event(what=What.FAILED, step=two, seconds=2.5))
        await anyio.wait_all_tasks_blocked()
        if sys.argv[1:]:
            raise KeyboardInterrupt
        group.cancel_scope.cancel()
    progress.note(progress.summary())

anyio.run(work)
"""


def on_terminal(*argv: str, stdout: int | None = None, **variables: str) -> str:
    """Run Python on a terminal of 80 columns, with `stdout` elsewhere if it is given, and return what that shows."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = {"PATH": os.environ["PATH"], "TERM": "xterm", "PYTHONPATH": str(PROJECT), **variables}
    with subprocess.Popen(
        [sys.executable, *argv], stdin=writer, stdout=stdout or writer, stderr=writer, env=env, cwd=PROJECT
    ) as process:
        os.close(writer)
        shown = bytearray()
        try:
            while chunk := os.read(reader, 4096):
                shown += chunk
        except OSError:  # the last one who had the terminal open has closed it
            pass
        process.wait()
    os.close(reader)
    return shown.decode().replace("\r\n", "\n")


def piped(*argv: str) -> str:
    return subprocess.run(
        [sys.executable, *argv],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    ).stdout


def test_a_table_fits_on_the_terminal_and_has_every_word() -> None:
    words = " ".join(f"word{number}" for number in range(30))
    code = f"from pipeline.cli.terminal import show_table\nshow_table(('a', '>b'), [('ok', {words!r})], ['ok  plain'])"
    assert piped("-c", code) == "ok  plain\n"
    shown = on_terminal("-c", code)
    lines = ESCAPE.sub("", shown).splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(lines).split() == ["a", "b", "ok", *words.split()]
    assert COLOUR.search(shown)


def test_without_colour_nothing_is_coloured_and_a_dumb_terminal_gets_what_a_pipe_gets() -> None:
    argv = ("-m", "pipeline", "toolchains", "list")
    assert on_terminal(*argv, TERM="dumb") == piped(*argv)
    assert COLOUR.search(on_terminal("-c", LIVE))
    assert not COLOUR.search(on_terminal("-c", LIVE, NO_COLOR="1"))
    assert not ESCAPE.search(on_terminal("-c", LIVE, TERM="dumb"))


def test_progress_logs_and_results_share_a_terminal() -> None:
    shown = on_terminal("-c", LIVE)
    lines = ESCAPE.sub("", shown.replace("\r", "\n")).splitlines()
    assert any(line.endswith("· begins") for line in lines)
    assert any(re.fullmatch(r"[⠀-⣿] one  \]0;title \[red\] +0\.\d s", line) for line in lines)
    assert any(re.fullmatch(r"[⠀-⣿] two x+… 0\.\d s", line) for line in lines)
    assert "a result" in lines
    assert any(line.endswith("host.process: a process") for line in lines)
    assert any(line.endswith("✓ one  1.5 s") for line in lines)
    assert any("✗ two" in line for line in lines)
    assert any("ran, 0 were cached, " in line for line in lines)
    assert max(map(len, lines)) <= 80
    assert "\x1b]" not in shown  # what a program prints for the terminal to obey
    assert shown.rstrip("\n").rfind("\x1b[?25h") > shown.rfind("\x1b[?25l") >= 0  # the cursor is there again


def test_a_run_that_is_interrupted_leaves_the_cursor_there() -> None:
    shown = on_terminal("-c", LIVE, "interrupted")
    assert "KeyboardInterrupt" in shown
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l") >= 0


def test_results_go_into_a_pipe_though_the_progress_is_on_a_terminal(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        shown = on_terminal("-c", LIVE, stdout=file.fileno())
    assert (tmp_path / "out").read_text() == "a result\n"
    assert "a result" not in shown


def test_help_needs_nothing_that_takes_long_to_import() -> None:
    heavy = "rich", "anyio", "pydantic", "logging", "pipeline.cli.verbose", "pipeline.cli.terminal"
    code = (
        "import sys\nfrom pipeline.cli.parser import run\n"
        "try:\n run(['--help'])\nexcept SystemExit:\n pass\n"
        f"sys.stderr.write(' '.join(name for name in {heavy!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "exit codes:" in done.stdout
