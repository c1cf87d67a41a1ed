"""What is particular to the embedded engine's sandbox: its root, its network settings, its shell, its refusals."""

from __future__ import annotations

import os
import pty
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipeline.engine.base import Event, Secret, What
from pipeline.engine.local import LocalEngine, NetworkSettings
from pipeline.errors import EngineError, ImageError, StepFailedError
from pipeline.host.content import digest_of
from pipeline.model.image import Base, Image
from pipeline.model.step import Caching, Step
from pipeline.model.tree import Files
from tests import tiny_root
from tests.conftest import require_tool
from tests.waiting import shell_pause

Run = Callable[..., Path]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_tool("bwrap")
    return tiny_root.build(tmp_path_factory.mktemp("tiny") / "root")


@pytest.fixture
def image(root: Path) -> Image:
    return tiny_root.image(root)


def step(image: Image, script: str, **fields: Any) -> Step:
    return Step(**{"title": "test", "image": image, "argv": ("sh", "-euc", script), **fields})


def run(home: Path, root: Path, wanted: Step, **options: Any) -> Path:
    options = {"network": NetworkSettings(), "roots": {wanted.image.base.content: root}, **options}
    with LocalEngine(home, **options) as engine:
        return anyio.run(engine.evaluate, wanted.out)


def test_the_root_is_read_only(tmp_path: Path, root: Path, image: Image) -> None:
    before = digest_of(root)
    script = "for p in / /usr /etc /usr/bin /in /proc/sys/kernel; do touch $p/new 2>/dev/null && echo $p; done; true"
    out = run(tmp_path, root, step(image, f"({script}) > /out/worked"))
    assert (out / "worked").read_text() == ""
    assert digest_of(root) == before


def test_a_root_without_any_mount_point_works_as_well(tmp_path: Path, root: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(root, bare, symlinks=True)
    for name in ("in", "out", "work", "run", "tmp", "var", "proc", "dev"):
        shutil.rmtree(bare / name)
    (bare / "etc/hosts").unlink()
    (bare / "etc/resolv.conf").unlink()
    (bare / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    (bare / "etc/kept").write_text("kept\n")
    image = tiny_root.image(bare)
    script = "cat /in/f/f /etc/kept /etc/resolv.conf > /out/all; touch /new /etc/new 2>/dev/null && exit 9; ls /bin/sh"
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\n")
    (tmp_path / "hosts").write_text("192.0.2.2 name\n")
    network = NetworkSettings(resolv_conf=tmp_path / "resolv.conf", hosts=tmp_path / "hosts")
    wanted = step(image, script, inputs=(("f", Files.of({"f": "f\n"})),), network=True)
    out = run(tmp_path / "home", bare, wanted, network=network)
    assert (out / "all").read_text() == "f\nkept\nnameserver 192.0.2.1\n"
    assert not (bare / "in").exists()


def test_only_a_step_with_network_sees_the_way_out(tmp_path: Path, root: Path, image: Image) -> None:
    bundle = tmp_path / "corporate.crt"
    bundle.write_text("CERTIFICATE\n")
    environ = {"SSL_CERT_FILE": str(bundle), "HTTPS_PROXY": "http://proxy.invalid:3128", "HOME": "/root", "GOPROXY": ""}
    script = "env > /out/env; cat $SSL_CERT_FILE > /out/bundle; grep -c . /etc/resolv.conf || true"
    settings = NetworkSettings.of(environ)
    fetch = run(tmp_path / "a", root, step(image, script, network=True), network=settings)
    seen = dict(line.split("=", 1) for line in (fetch / "env").read_text().splitlines())
    assert (fetch / "bundle").read_text() == "CERTIFICATE\n"
    assert seen["HTTPS_PROXY"] == "http://proxy.invalid:3128"
    assert seen["CURL_CA_BUNDLE"] == seen["SSL_CERT_FILE"]
    assert "HOME" not in seen
    assert "GOPROXY" not in seen
    pure = run(tmp_path / "b", root, step(image, "env > /out/env; ls /run > /out/run"), network=settings)
    assert "proxy" not in (pure / "env").read_text().lower()
    assert (pure / "run").read_text() == ""


def test_what_the_step_says_wins_over_this_machine(tmp_path: Path, root: Path, image: Image) -> None:
    settings = NetworkSettings(variables=(("GOPROXY", "https://mirror.invalid"),))
    wanted = step(image, "echo $GOPROXY > /out/it", network=True, env=(("GOPROXY", "off"),))
    assert (run(tmp_path, root, wanted, network=settings) / "it").read_text() == "off\n"


def test_a_proxy_password_is_in_no_log(tmp_path: Path, root: Path, image: Image) -> None:
    settings = NetworkSettings(variables=(("HTTPS_PROXY", "http://me:s3cr%40tPass@proxy.invalid:3128"),))
    wanted = step(image, "echo $HTTPS_PROXY; echo 's3cr@tPass'", network=True)
    run(tmp_path, root, wanted, network=settings)
    text = next((tmp_path / "logs").iterdir()).read_text()
    assert "proxy.invalid" in text
    assert "tPass" not in text.split("\n\n", 1)[1]


def test_output_is_shown_line_by_line(tmp_path: Path, root: Path, image: Image) -> None:
    events: list[Event] = []
    script = f"echo one; printf 'tw'; {shell_pause(0.1, 'a line is read in two parts')}; echo o; printf three"
    run(tmp_path, root, step(image, script), observer=events.append)
    assert [event.text for event in events if event.what is What.OUTPUT] == ["one", "two", "three"]


def test_another_platform_is_refused(tmp_path: Path, root: Path, image: Image) -> None:
    with pytest.raises(EngineError, match="linux/s390x"):
        run(tmp_path, root, step(image, "true", platform="linux/s390x"))


@pytest.mark.parametrize("content", ["", "sha256:unheard-of"])
def test_an_image_that_is_not_here_is_named(tmp_path: Path, root: Path, content: str) -> None:
    with pytest.raises(ImageError, match="image go-fips,"):
        run(tmp_path, root, step(Image("go-fips", Base("go-fips", content)), "true"), roots={})


def test_without_bubblewrap_the_error_says_what_to_install(
    tmp_path: Path, root: Path, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError) as caught:
        run(tmp_path / "home", root, step(image, "true"))
    assert "apt-get install bubblewrap" in str(caught.value)


def test_a_sandbox_that_cannot_be_made_is_not_the_step_s_fault(tmp_path: Path, root: Path, image: Image) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "bwrap").write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    (tools / "bwrap").chmod(0o755)
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{tools}:{before}"
    try:
        with pytest.raises(EngineError, match="could not make a sandbox") as caught:
            run(tmp_path / "home", root, step(image, "true"))
    finally:
        os.environ["PATH"] = before
    assert "setting up uid map" in str(caught.value)
    assert "unprivileged_userns" in str(caught.value)


def test_without_caches_a_cache_directory_is_empty(tmp_path: Path, root: Path, image: Image) -> None:
    from pipeline.model.step import Cache

    caches = (Cache("/cache", "c"),)
    run(tmp_path, root, step(image, "echo x > /cache/x", caches=caches))
    out = run(tmp_path, root, step(image, "ls /cache > /out/ls", caches=caches), use_caches=False)
    assert (out / "ls").read_text() == ""


def test_read_only_results_are_cleaned_up_and_copied(tmp_path: Path, root: Path, image: Image) -> None:
    script = "mkdir w; chmod 0 w; cd /out; mkdir -p a/b; echo 1 > a/b/f; chmod 444 a/b/f; chmod 555 a/b a"
    first = step(image, script)
    out = run(tmp_path, root, step(image, "cp -rp /in/x/. /out/", inputs=(("x", first.out),)))
    assert (out / "a/b/f").read_text() == "1\n"
    assert list((tmp_path / "tmp").iterdir()) == []


def in_terminal(work: Callable[[], int]) -> tuple[str, int]:
    """Run `work` in a process of its own with a terminal; return what was shown there and the exit code."""
    pid, terminal = pty.fork()
    if not pid:
        sys.stderr = os.fdopen(2, "w", closefd=False)  # the terminal, not what pytest reads
        os._exit(work())
    shown = b""
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    return shown.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_shell_opens_in_exactly_that_sandbox_on_the_terminal(tmp_path: Path, root: Path, image: Image) -> None:
    made = step(image, "echo from-input > /out/f")
    failing = step(
        image,
        "exit 1",
        inputs=(("made", made.out),),
        env=(("MODE", "debug"),),
        secrets=("key",),
        caching=Caching.NEVER,
    )
    script = (
        "cat /in/made/f; echo mode=$MODE; pwd; test -t 0 && echo tty; test -e /run/secrets/key || echo none; exit 5"
    )

    def work() -> int:
        with LocalEngine(tmp_path, roots={image.base.content: root}, network=NetworkSettings()) as engine:

            async def shell() -> int:
                return await engine.shell(failing, argv=("sh", "-c", script))

            return anyio.run(shell)

    shown, code = in_terminal(work)
    assert code == 5
    assert "its command is:\r\nsh -euc 'exit 1'\r\n" in shown
    assert shown.split("exit 1'")[1].split() == ["from-input", "mode=debug", "/work", "tty", "none"]


def test_a_shell_has_a_secret_only_if_it_is_given(tmp_path: Path, root: Path, image: Image) -> None:
    failing = step(image, "exit 1", secrets=("key",), caching=Caching.NEVER)

    def work() -> int:
        with LocalEngine(tmp_path, roots={image.base.content: root}, network=NetworkSettings()) as engine:

            async def shell() -> int:
                secrets = {"key": Secret(b"value-of-the-key"), "other": Secret(b"no")}
                return await engine.shell(failing, secrets=secrets, argv=("sh", "-c", "ls /run/secrets"))

            return anyio.run(shell)

    shown, code = in_terminal(work)
    assert (shown.splitlines()[-1], code) == ("key", 0)


def test_the_title_is_not_identity(tmp_path: Path, root: Path, image: Image) -> None:
    one = step(image, "cat /proc/sys/kernel/random/uuid > /out/id", title="one")
    assert run(tmp_path, root, one) == run(tmp_path, root, replace(one, title="two", timeout=5.0))


def test_after_a_failure_nothing_that_was_waiting_for_its_turn_begins(tmp_path: Path, root: Path, image: Image) -> None:
    events: list[Event] = []
    pause = shell_pause(0.2, "the others have come to wait")
    parts = [step(image, f"{pause}; exit 3 # {number}", title=f"part {number}") for number in range(4)]
    whole = step(image, "true", title="whole", inputs=tuple((f"i{n}", part.out) for n, part in enumerate(parts)))
    with pytest.raises(StepFailedError, match="exit code 3"):
        run(tmp_path, root, whole, observer=events.append, jobs=1)
    assert [event.what for event in events if event.what is not What.OUTPUT] == [What.STARTED, What.FAILED]


def test_the_log_says_what_runs_and_why(
    tmp_path: Path, root: Path, image: Image, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="pipeline")
    first = step(image, "echo 1 > /out/a", title="first")
    second = step(image, "cat /in/a/a > /out/b", title="second", inputs=(("a", first.out),))
    run(tmp_path, root, second)
    assert 'step "first" runs: new step' in caplog.text
    assert f'miss, as the store does not have it: step "second", {second.digest}' in caplog.text
    assert "bwrap runs as process" in caplog.text
    caplog.clear()
    run(tmp_path, root, second)
    assert f'hit: step "second", {second.digest}' in caplog.text
    assert "runs" not in caplog.text
    caplog.clear()
    changed = step(image, "echo 1 > /out/a; true", title="first")
    run(tmp_path, root, step(image, "cat /in/a/a > /out/b", title="second", inputs=(("a", changed.out),)))
    assert 'step "first" runs: its command changed' in caplog.text
    assert 'hit: step "second" was made meanwhile, or of inputs with this content before' in caplog.text
