"""What is logged goes to standard error, as much of it as was asked for, and without any secret."""

from __future__ import annotations

import base64
import logging
import shlex
from collections.abc import Iterator

import pytest

from pipeline.cli import verbose
from pipeline.cli.parser import run
from pipeline.engine.base import Secret
from pipeline.host.process import _log_start

SECRET = "correct-horse/battery+staple"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("pipeline")
    handlers, levels = root.handlers[:], (root.level, own.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])


@pytest.mark.parametrize(("verbosity", "shown"), [(0, "w"), (1, "wi"), (2, "wid"), (7, "wid")])
def test_each_v_shows_more(verbosity: int, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    verbose.configure(verbosity)
    logger = logging.getLogger("pipeline.host.process")
    logger.warning("w")
    logger.info("i")
    logger.debug("d")
    logging.getLogger("another.library").info("not ours")
    out, err = capsys.readouterr()
    assert out == ""
    assert "".join(line[-1] for line in err.splitlines()) == shown
    assert all("] host.process: " in line for line in err.splitlines())


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(b"x" + SECRET.encode()).decode()[2:-2],
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_secret_in_a_command_line_is_masked_in_every_form(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    Secret(SECRET.encode() + b"\n")
    verbose.configure(2)
    _log_start(1, ["/usr/bin/tool", "login", f"--password={form}"], {"TOKEN": SECRET}, None)
    err = capsys.readouterr().err
    assert "tool login runs as process 1" in err
    assert "/usr/bin/tool login --password=***" in shlex.join(err.split()).replace("'", "")
    assert form[3:-3] not in err
    assert "environment: TOKEN" in err


def test_a_password_in_a_url_is_masked_though_nobody_said_that_it_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    verbose.configure(1)
    logging.getLogger("pipeline").info("fetched from %s", "https://me:hunter2@example.org/a@b")
    assert "fetched from https://***@example.org/a@b" in capsys.readouterr().err


def test_results_and_logs_are_never_mixed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version", "show", "--tag", "v1.2.3", "--product", "example"]) == 0
    quiet = capsys.readouterr()
    assert run(["version", "show", "--tag", "v1.2.3", "--product", "example", "-vv"]) == 0
    assert capsys.readouterr().out == quiet.out
    assert quiet.err == ""
