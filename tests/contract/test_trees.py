"""What comes out of a step, and how trees are laid out and put together."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pipeline.errors import EngineError, StepFailedError
from pipeline.host.content import digest_of
from pipeline.model.image import Image
from pipeline.model.step import WORK, Cache, Step
from pipeline.model.tree import BASE_EPOCH, File, Files, Given, Merge, Pick
from tests.contract.adapters import Adapter
from tests.contract.conftest import MakeStep

UNIQUE = "cat /proc/sys/kernel/random/uuid > /out/id"
EPOCH = 1_234_567_890


def everything(root: Path) -> list[Path]:
    """Return what is below `root`. The top itself is for the engine to hand over: see how steps see it below."""
    return sorted(root.rglob("*"))


def test_outputs_keep_permission_bits_links_and_empty_directories(engine: Adapter, step: MakeStep) -> None:
    script = """
    cd /out; mkdir -p d/empty; echo x > d/run; chmod 755 d/run; echo y > secret; chmod 600 secret; chmod 700 d
    ln -s run d/link; ln -s /nowhere/else dangling; echo 'with space' > 'a b'
    """
    out = engine.run(step(script).out)
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in everything(out) if not path.is_symlink()}
    assert (modes["run"], modes["secret"], modes["d"], modes["empty"]) == (0o755, 0o600, 0o700, 0o755)
    assert (out / "d/link").readlink() == Path("run")
    assert (out / "dangling").readlink() == Path("/nowhere/else")
    assert (out / "a b").read_text() == "with space\n"


def test_all_modification_times_are_the_epoch(engine: Adapter, step: MakeStep) -> None:
    script = "cd /out; mkdir d; echo x > d/f; ln -s f d/l; touch -d @1999999999 d/future"
    out = engine.run(step(script, epoch=EPOCH).out)
    assert {int(path.lstat().st_mtime) for path in everything(out)} == {EPOCH}


def test_inputs_have_the_times_that_their_trees_state(engine: Adapter, step: MakeStep, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given/g").write_text("g")
    made = step("echo m > /out/m", epoch=EPOCH)
    both = Merge.of(made.out, Files.of({"sub/f": "f"}))
    script = "stat -c %Y /in/both/m /in/both/sub/f /in/given/g /in/made /in/made/m /in/given > /out/times"
    inputs = (("both", both), ("given", Given("outside", "test:1")), ("made", made.out))
    out = engine.run(step(script, inputs=inputs).out, given={"outside": tmp_path / "given"})
    times = [int(line) for line in (out / "times").read_text().splitlines()]
    assert times == [EPOCH, BASE_EPOCH, BASE_EPOCH, EPOCH, EPOCH, BASE_EPOCH]


def test_a_missing_output_is_named(engine: Adapter, step: MakeStep) -> None:
    with pytest.raises(StepFailedError) as caught:
        engine.run(step("echo x > /out/here", title="forgets", outputs=("here", "lost/file", "other")).out)
    assert caught.value.brief == 'step "forgets" did not make /out/lost/file, /out/other'


def test_a_special_file_is_refused_by_name(engine: Adapter, step: MakeStep) -> None:
    with pytest.raises(StepFailedError, match=r"named pipe in its output: /out/d/pipe"):
        engine.run(step("mkdir /out/d; mkfifo /out/d/pipe").out)


def test_literal_files(engine: Adapter) -> None:
    out = engine.run(Files.of({"a/b/c.sh": File(b"#!/bin/sh\n", 0o755), "z": "text"}))
    assert (out / "a/b/c.sh").read_bytes() == b"#!/bin/sh\n"
    assert stat.S_IMODE((out / "a/b/c.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((out / "a/b").stat().st_mode) == 0o755
    assert {int(path.stat().st_mtime) for path in everything(out)} == {BASE_EPOCH}


def test_a_given_directory_is_copied_as_it_is(engine: Adapter, tmp_path: Path) -> None:
    source = tmp_path / "given"
    (source / "d").mkdir(parents=True)
    (source / "d/run").write_text("x")
    (source / "d/run").chmod(0o755)
    (source / "link").symlink_to("d/run")
    out = engine.run(Given("source", digest_of(source)), given={"source": source})
    assert digest_of(out) == digest_of(source)
    assert (source / "d/run").stat().st_mtime > BASE_EPOCH


def test_what_is_not_given_is_named(engine: Adapter, step: MakeStep) -> None:
    with pytest.raises(EngineError, match="database"):
        engine.run(step("true", inputs=(("db", Given("database", "test:none")),)).out)


def test_trees_unite_below_their_prefixes(engine: Adapter, step: MakeStep) -> None:
    made = step("mkdir -p /out/d; echo 1 > /out/d/one")
    out = engine.run(Merge.of(made.out, Files.of({"d/two": "2"}), ("x/y", made.out)))
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert files == {"d/one", "d/two", "x/y/d/one"}


def test_two_trees_with_the_same_file_are_an_error_that_names_it(engine: Adapter) -> None:
    with pytest.raises(EngineError, match="both have d/same"):
        engine.run(Merge.of(Files.of({"d/same": "1"}), ("d", Files.of({"same": "1"}))))


def test_picking_files_folders_and_optional_ones(engine: Adapter) -> None:
    tree = Files.of({"top/a/one": "1", "top/a/two": "2", "top/b": "b", "other": "o"})
    out = engine.run(Pick(tree, paths=("a", "b"), root="top", optional=("nowhere",)))
    assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} == {"a/one", "a/two", "b"}
    whole = engine.run(Pick(tree, root="top/a"))
    assert {path.name for path in whole.iterdir()} == {"one", "two"}


def test_picking_what_is_not_there_is_an_error_that_names_it(engine: Adapter, step: MakeStep) -> None:
    made = step("echo 1 > /out/one", title="maker")
    with pytest.raises(EngineError, match=r"maker.* has no two"):
        engine.run(Pick(made.out, paths=("one", "two")))
    with pytest.raises(EngineError, match="no directory d"):
        engine.run(Pick(made.out, root="d"))


def test_a_layer_of_an_image_is_mounted_where_the_root_has_no_such_place(engine: Adapter) -> None:
    tool = Files.of({"bin/tool": File.text("#!/bin/sh\necho from the layer\n", mode=0o755)})
    image = Image("tooled", engine.image.base, (("/usr/local/tool", tool),), ("/usr/local/tool/bin", "/usr/bin"))
    script = "tool > /out/said; ls /usr/bin/sh >> /out/said; touch /usr/local/tool/x 2>/dev/null && exit 5; true"
    out = engine.run(Step(title="tooled", image=image, argv=("sh", "-euc", script)).out)
    assert (out / "said").read_text() == "from the layer\n/usr/bin/sh\n"


@pytest.mark.parametrize("place", ["/cache/go", f"{WORK}/.cache/go", "/tmp/go"])
def test_a_cache_directory_survives_from_step_to_step(engine: Adapter, step: MakeStep, place: str) -> None:
    caches = (Cache(place, f"test{place.replace('/', '-')}"),)
    engine.run(step(f"echo kept > {place}/file; echo scratch > scratch", caches=caches).out)
    engine.again()
    out = engine.run(step(f"cp {place}/file /out/; test ! -e scratch", caches=caches).out)
    assert (out / "file").read_text() == "kept\n"
