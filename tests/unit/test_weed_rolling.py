"""The rolling restart: how long a restart may take, and which signals stop it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from weedops import rolling, units


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("TimeoutStartUSec=30min\nTimeoutStopUSec=3min\n", 33 * 60),
        ("TimeoutStopUSec=1min 30s\nTimeoutStartUSec=5min\n", 390),
        ("TimeoutStartUSec=infinity\nTimeoutStopUSec=3min\n", 86400),
        ("TimeoutStartUSec=2w\nTimeoutStopUSec=500ms\n", 86400),
        ("", 86400),
    ],
)
def test_a_restart_may_take_what_its_unit_allows(tmp_path: Path, said: str, seconds: float) -> None:
    program = tmp_path / "systemctl"
    program.write_text(
        "#!/bin/sh\n"
        '[ "$*" = "show --property=TimeoutStopUSec,TimeoutStartUSec weed-volume@1.service" ] || exit 1\n'
        f"cat <<'END'\n{said}END\n"
    )
    program.chmod(0o755)
    assert units.longest_restart(str(program), "weed-volume@1.service") == seconds


def test_a_signal_stops_the_run_once_and_one_that_is_ignored_never() -> None:
    before = {number: signal.getsignal(number) for number in rolling.SIGNALS}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        rolling.catch_signals()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, "as under nohup"
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        rolling.catch_signals()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGHUP)
        for number in rolling.SIGNALS:
            signal.raise_signal(number)  # what cleans up is not stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
