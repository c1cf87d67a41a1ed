"""Entries of the store: found, found again by content, damaged, explained, and pruned."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from pipeline.engine.base import Event, What
from pipeline.engine.local import LocalEngine, NetworkSettings, Store
from pipeline.engine.local.history import Reason
from pipeline.errors import StepFailedError, StoreError
from pipeline.model.image import Image
from pipeline.model.step import Cache, Caching, Step
from pipeline.model.tree import Files, Merge, Pick, Tree
from tests import tiny_root
from tests.conftest import require_tool, running
from tests.waiting import lasting, shell_pause, shell_until

UNIQUE = "mkdir -p /out/d; cat /proc/sys/kernel/random/uuid > /out/d/id; ln -s id /out/d/link"


class Heard(list[Event]):
    """Events, of each of which somebody is told at once."""

    def __init__(self, told: Callable[[Event], None]) -> None:
        super().__init__()
        self.told = told

    def append(self, event: Event) -> None:
        super().append(event)
        self.told(event)


class Bench:
    """An engine that can be started again over the same store, and what it reported."""

    def __init__(self, home: Path, root: Path, **options: Any) -> None:
        self.home = home
        self.image = tiny_root.image(root)
        self.events: list[Event] = []
        self.today = ""
        self._roots = {self.image.base.content: root}
        self._options = options

    def step(self, script: str, *, title: str = "test", **fields: Any) -> Step:
        return Step(title=title, image=self.image, argv=("sh", "-euc", script), **fields)

    def run(self, tree: Tree) -> Path:
        self.events.clear()
        with self.engine() as engine:
            return anyio.run(engine.evaluate, tree)

    def engine(self) -> LocalEngine:
        network = NetworkSettings()
        observer = self.events.append
        options = {"today": self.today, **self._options}
        return LocalEngine(self.home, roots=self._roots, observer=observer, network=network, **options)

    def titles(self, what: What) -> list[str]:
        return [event.step.title for event in self.events if event.what is what]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_tool("bwrap")
    return tiny_root.build(tmp_path_factory.mktemp("tiny") / "root")


@pytest.fixture
def bench(tmp_path: Path, root: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "home", root)
    yield bench
    assert list((bench.home / "tmp").iterdir()) == []
    assert list((bench.home / "leases").iterdir()) == []


def same_size_and_time(out: Path) -> None:
    path = out / "d/id"
    status = path.stat()
    while path.stat().st_ctime_ns == status.st_ctime_ns:  # its clock may have ticks of milliseconds
        path.write_text("x" * status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def another_link(out: Path) -> None:
    (out / "d/link").unlink()
    (out / "d/link").symlink_to("elsewhere")


def manifest_of(out: Path) -> Path:
    return out.parent / "manifest.json"


DAMAGE: dict[str, Callable[[Path], object]] = {
    "other bytes, same size and time": same_size_and_time,
    "a file cut short": lambda out: (out / "d/id").write_bytes(b""),
    "a file gone": lambda out: (out / "d/id").unlink(),
    "a file too many": lambda out: (out / "d/extra").touch(),
    "other permissions": lambda out: (out / "d/id").chmod(0o777),
    "another link": another_link,
    "the manifest cut short": lambda out: os.truncate(manifest_of(out), 40),
    "the manifest empty": lambda out: os.truncate(manifest_of(out), 0),
    "the manifest gone": lambda out: manifest_of(out).unlink(),
    "the manifest of nonsense": lambda out: manifest_of(out).write_text("[1, 2"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_noticed_and_made_again(bench: Bench, damage: str) -> None:
    step = bench.step(UNIQUE, title="made")
    out = bench.run(step.out)
    before = (out / "d/id").read_text()
    DAMAGE[damage](out)
    again = bench.run(step.out)
    assert (again / "d/id").read_text() not in ("", before)
    assert (again / "d/link").readlink() == Path("id")
    assert bench.titles(What.FINISHED) == ["made"]
    assert any("damaged" in event.text for event in bench.events)
    bench.run(step.out)
    assert bench.titles(What.CACHED) == ["made"]


def test_an_entry_that_was_only_touched_stays_with_its_times(bench: Bench) -> None:
    step = bench.step(UNIQUE, epoch=1_000_000_000)
    out = bench.run(step.out)
    before = (out / "d/id").read_text()
    os.utime(out / "d/id", (1, 1))
    again = bench.run(step.out)
    assert (again / "d/id").read_text() == before
    assert (again / "d/id").stat().st_mtime == 1_000_000_000
    assert bench.titles(What.CACHED) == ["test"]


def test_only_what_is_asked_for_is_looked_at(bench: Bench) -> None:
    first = bench.step(UNIQUE, title="first")
    last = bench.step("cat /in/first/d/id > /out/copy", title="last", inputs=(("first", first.out),))
    out = bench.run(last.out)
    shard = bench.home / "store" / first.digest[7:9]
    (shard / first.digest[7:]).rename(bench.home / "moved-away")
    assert bench.run(last.out) == out
    assert bench.titles(What.CACHED) == ["last"]


def test_an_input_that_comes_out_the_same_cuts_the_work_off(bench: Bench) -> None:
    def graph(comment: str) -> Step:
        first = bench.step(f"echo same > /out/file # {comment}", title="first")
        second = bench.step(UNIQUE, title="second", inputs=(("first", first.out),))
        return bench.step("cp -r /in/second/. /out", title="third", inputs=(("second", second.out),))

    out = bench.run(graph("one").out)
    assert bench.titles(What.FINISHED) == ["first", "second", "third"]
    again = bench.run(graph("two").out)
    assert bench.titles(What.FINISHED) == ["first"]
    assert (out / "d/id").read_text() == (again / "d/id").read_text()
    bench.run(graph("two").out)
    assert bench.titles(What.CACHED) == ["third"]


def test_an_input_with_other_times_does_not_count_as_the_same(bench: Bench) -> None:
    def graph(epoch: int) -> Step:
        first = bench.step("echo same > /out/file", title="first", epoch=epoch)
        picked = Pick(first.out, paths=("file",))
        script = "stat -c %Y /in/first/file > /out/time"
        return bench.step(script, title="second", inputs=(("first", picked),))

    assert (bench.run(graph(1_000_000_000).out) / "time").read_text() == "1000000000\n"
    assert (bench.run(graph(1_000_000_001).out) / "time").read_text() == "1000000001\n"


def test_what_depends_on_a_step_that_always_runs_is_found_by_content(bench: Bench) -> None:
    always = bench.step("echo same > /out/file", title="always", caching=Caching.NEVER)
    after = bench.step(UNIQUE, title="after", inputs=(("always", always.out),))
    first = bench.run(after.out)
    text = (first / "d/id").read_text()
    second = bench.run(after.out)
    assert bench.titles(What.FINISHED) == ["always"]
    assert bench.titles(What.CACHED) == ["after"]
    assert (second / "d/id").read_text() == text


def test_on_the_same_day_nothing_runs_or_is_laid_out_again_and_the_plan_says_so(bench: Bench) -> None:
    feed = bench.step("echo $TODAY > /out/day", title="feed", caching=Caching.DAILY)
    last = bench.step(UNIQUE, title="last", inputs=(("feed", Merge.of(("below", feed.out))),))
    tree = Merge.of(last.out, ("feed", feed.out))
    bench.today = "2026-01-01"
    first = bench.run(tree)
    entries = sorted(path for path in (bench.home / "store").rglob("manifest.json"))
    with bench.engine() as engine:
        assert engine.missing(tree) == set()
        assert engine.explain(last, set()).brief == "cached"
    assert bench.run(tree) == first
    assert sorted(bench.titles(What.CACHED)) == ["feed", "last"]
    assert bench.titles(What.STARTED) == []
    assert entries == sorted(path for path in (bench.home / "store").rglob("manifest.json"))
    bench.today = "2026-01-02"
    with bench.engine() as engine:
        assert engine.missing(tree) == {feed.digest, last.digest}
        assert why(engine, feed).brief == "it has not run today"
        assert why(engine, last).brief == "a step before it runs again"


def test_a_failure_lets_what_runs_end_and_begins_nothing_new(bench: Bench) -> None:
    turn = bench.home / "caches/turn"
    bench.events = Heard(lambda event: (turn / "failed").touch() if event.what is What.FAILED else None)
    more: dict[str, Any] = {"caches": (Cache("/cache", "turn"),), "timeout": 120}
    fails = bench.step(shell_until("test -e /cache/running") + "; exit 1", title="fails", **more)
    ok = "touch /cache/running; " + shell_until("test -e /cache/failed") + "; echo ok > /out/ok"
    runs = bench.step(ok, title="runs", **more)
    waits = bench.step("true", title="waits", inputs=(("runs", runs.out),))
    with pytest.raises(StepFailedError, match='"fails"'):
        bench.run(Merge.of(("a", fails.out), ("b", waits.out)))
    assert bench.titles(What.FAILED) == ["fails"]
    assert bench.titles(What.FINISHED) == ["runs"]
    bench.run(runs.out)
    assert bench.titles(What.CACHED) == ["runs"]


def test_steps_run_at_once_up_to_the_number_of_jobs(tmp_path: Path, root: Path) -> None:
    bench = Bench(tmp_path / "home", root, jobs=2)
    pause = shell_pause(0.2, "two of them run at once")
    steps = [bench.step(f"{pause}; echo {name} > /out/x", title=name) for name in "abcd"]
    bench.run(Merge.of(*((step.title, step.out) for step in steps)))
    running, most = 0, 0
    for event in bench.events:
        running += {What.STARTED: 1, What.FINISHED: -1}.get(event.what, 0)
        most = max(most, running)
    assert most == 2


def test_cancellation_kills_what_runs_and_leaves_nothing_aside(bench: Bench) -> None:
    step = bench.step(f"echo up; {lasting('315.7421')}", timeout=3000)

    async def work() -> None:
        with anyio.CancelScope() as scope:
            bench.events = Heard(lambda event: scope.cancel() if event.what is What.OUTPUT else None)
            with bench.engine() as engine:
                await engine.evaluate(step.out)

    anyio.run(work)
    assert running("315.7421") == []


def why(engine: LocalEngine, step: Step) -> Reason:
    return engine.explain(step, engine.missing(step.out))


def test_explain_says_what_changed(bench: Bench) -> None:
    source = Files.of({"f": "1"})
    step = bench.step("true", title="compile", inputs=(("source", source),), env=(("MODE", "a"),))
    with bench.engine() as engine:
        assert why(engine, step).brief == "new step"
    bench.run(step.out)
    edited = bench.step(
        "true 2", title="compile", inputs=(("source", Files.of({"f": "2"})),), env=(("MODE", "b"), ("NEW", ""))
    )
    unbuilt = Step(title="compile", image=Image("go", _unknown_base()), argv=("true",))
    signing = bench.step("true", title="sign", caching=Caching.NEVER)
    after = bench.step("true", title="index", inputs=(("sign", signing.out),))
    with bench.engine() as engine:
        assert why(engine, step).cached
        changes = ("input source changed", "variable MODE changed", "variable NEW is new", "its command changed")
        assert why(engine, edited).changes == changes
        assert why(engine, unbuilt).brief == "image go is not built"
        assert why(engine, signing).brief == "it is never cached"
        assert why(engine, after).brief == "a step before it runs again"
    with Store(bench.home) as store:
        store.prune()
    with bench.engine() as engine:
        assert "not in the store" in why(engine, step).brief


def _unknown_base() -> Any:
    from pipeline.model.image import Base

    return Base("go", "")


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(manifest_of(path), (then, then))


def test_the_longest_unused_goes_first(bench: Bench) -> None:
    outs = {}
    for number, name in enumerate("abc"):
        outs[name] = bench.run(bench.step(f"dd if=/dev/zero of=/out/{name} bs=1024 count=100", title=name).out)
        age(outs[name], 5000 - number)
    bench.run(bench.step("dd if=/dev/zero of=/out/a bs=1024 count=100", title="a").out)  # a use
    with Store(bench.home) as store:
        assert [each.title for each in store.usage()] == ["b", "c", "a"]
        assert all(102_400 < each.size < 104_000 for each in store.usage())
        gone = store.prune(limit=250_000)
        assert [each.title for each in gone] == ["b"]
        assert not (bench.home / "logs" / f"{gone[0].digest[7:]}.log").exists()
    assert outs["a"].exists()
    assert not outs["b"].exists()


def test_prune_by_age(bench: Bench) -> None:
    old = bench.run(bench.step("echo old > /out/x", title="old").out)
    young = bench.run(bench.step("echo young > /out/x", title="young").out)
    age(old, 10_000)
    with Store(bench.home) as store:
        assert [each.title for each in store.prune(older_than=5000)] == ["old"]
    assert young.exists()


def test_a_size_limit_is_kept_without_taking_what_is_in_use(tmp_path: Path, root: Path) -> None:
    bench = Bench(tmp_path / "home", root, size_limit=150_000)
    steps = [bench.step(f"dd if=/dev/zero of=/out/{name} bs=1024 count=100", title=name) for name in "abc"]
    bench.run(steps[0].out)
    with bench.engine() as engine:

        async def both() -> list[Path]:
            return [await engine.evaluate(step.out) for step in steps[1:]]

        assert all(path.exists() for path in anyio.run(both))
        assert sorted(each.title for each in engine.store.usage()) == ["b", "c"]


def test_prune_takes_names_keys_caches_and_locks_with_it(bench: Bench) -> None:
    step = bench.step("echo x > /cache/x; echo y > /out/y", caches=(Cache("/cache", "some/key"),))
    bench.run(step.out)
    with Store(bench.home) as store:
        assert sorted(each.kind for each in store.usage()) == ["cache", "step"]
        store.prune()
        assert store.usage() == []
    left = [path for path in bench.home.rglob("*/*") if not path.is_dir()]
    assert left == []


def test_verify_finds_damage_that_a_look_does_not(bench: Bench) -> None:
    out = bench.run(bench.step(UNIQUE, title="made").out)
    manifest = json.loads(manifest_of(out).read_text())
    names = ["", *(item[0] for item in manifest["items"])]
    same_size_and_time(out)
    for name, stats in zip(names, manifest["stats"], strict=True):
        stats[3] = (out / name).lstat().st_ctime_ns  # as if the clock had not moved
    manifest_of(out).write_text(json.dumps(manifest))
    with Store(bench.home) as store:
        assert store.verify() == [manifest["digest"]]
        assert store.verify() == []
    assert not out.exists()


def test_a_folder_that_cannot_be_used_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file"):
        Store(tmp_path / "file" / "home")
