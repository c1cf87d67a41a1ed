"""The catalog: images as values, with roots that are there and roots that are not."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import anyio
import pytest

from pipeline.config.images import ImageSpecs, load_images
from pipeline.errors import ImageError, StoreError, UsageError
from pipeline.host import content
from pipeline.images.catalog import Catalog
from pipeline.images.lock import Lock, Locked
from pipeline.model.graph import steps_of
from pipeline.oci.reference import NoSuchImageError, Reference
from pipeline.roots.bootstrap import recipe_of
from pipeline.roots.root import Facts, Root, Roots, inside, make_mount_points, missing_mount_points
from tests.unit.test_images_spec import write

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
LOCK = Lock(
    (
        Locked(
            reference="docker.io/library/golang:1.26",
            digest=DIGEST,
            resolved="2026-01-01T00:00:00Z",
        ),
    )
)


@pytest.fixture
def specs(tmp_path: Path) -> ImageSpecs:
    return load_images(write(tmp_path / "packaging"))


def silent(_: str) -> None:
    """Say nothing."""


async def fill(rootfs: Path, *, text: str = "x", mounts: tuple[str, ...] = ()) -> Facts:
    """Make a root of one file."""
    (rootfs / "usr").mkdir()
    (rootfs / "usr/file").write_text(text)
    make_mount_points(rootfs, mounts)
    return Facts(origin="test", packages=("a=1",), snapshot=("now",))


def make(home: Path, specs: ImageSpecs, text: str = "x") -> Root:
    """Put a root where the bootstrapped one of `specs` would be."""
    recipe = recipe_of(specs, "small")
    build = partial(fill, text=text, mounts=recipe.mounts)
    return anyio.run(partial(Roots(home).make, recipe.key, build, progress=silent))


def test_an_image_without_its_root_is_a_value_that_does_not_know_its_content(tmp_path: Path, specs: ImageSpecs) -> None:
    catalog = Catalog(specs, home=tmp_path / "home")
    assert not catalog.base("go").known
    assert catalog.roots() == {}
    assert not (tmp_path / "home").exists()
    row = next(row for row in catalog.describe() if row.name == "tool")
    assert (row.ready, row.size, row.used, row.stands_in_for) == (
        False,
        0,
        "bootstrap small + tool",
        "example.org/tool:v1",
    )


def test_a_root_that_is_there_is_used(tmp_path: Path, specs: ImageSpecs) -> None:
    before = Catalog(specs, home=tmp_path).image("tool")
    root = make(tmp_path, specs)
    catalog = Catalog(specs, home=tmp_path)
    assert catalog.base("go").content == root.content == content.digest_of(root.path)
    assert catalog.roots() == {root.content: root.path}
    assert catalog.image("tool").digest != before.digest
    assert catalog.base("tool").stands_in_for == "example.org/tool:v1"
    assert next(row for row in catalog.describe() if row.name == "go").ready


def test_tools_are_steps_in_the_image_that_builds_them(tmp_path: Path, specs: ImageSpecs) -> None:
    make(tmp_path, specs)
    catalog = Catalog(specs, home=tmp_path)
    image = catalog.image("tool")
    assert [mount for mount, _ in image.layers] == ["/opt/tool"]
    assert image.path[0] == "/opt/tool"
    steps = list(steps_of(image.layers[0][1]))
    assert [step.title for step in steps] == ["fetch Go 1.26.8", "fetch the modules of tool", "build tool"]
    assert [step.network for step in steps] == [True, True, False]
    assert steps[0].image.layers == ()
    assert steps[1].image == steps[2].image == catalog.image("go")
    assert steps[2].outputs == ("tool/tool",)


def test_the_graph_of_a_tool_changes_with_its_version_and_not_with_its_tests(tmp_path: Path, specs: ImageSpecs) -> None:
    def digest() -> str:
        return Catalog(load_images(tmp_path / "packaging"), home=tmp_path).tool("tool").digest

    before = digest()
    module = tmp_path / "packaging/tools/mine"
    (module / "x_test.go").write_text("package x")
    assert digest() == before
    (module / "go.sum").write_text("example.org/tool v1.2.3 h1:y=\n")
    assert digest() != before


def test_one_step_builds_all_programs_of_a_module(tmp_path: Path) -> None:
    folder = write(tmp_path / "packaging")
    second = (
        '\n[programs.second]\nmount = "/opt/second"\npath = ["/opt/second"]\nmodule = "mine"\npackage = "./second"\n'
    )
    (folder / "images.toml").write_text((folder / "images.toml").read_text() + second)
    catalog = Catalog(load_images(folder), home=tmp_path)
    one, two = list(steps_of(catalog.tool("tool"))), list(steps_of(catalog.tool("second")))
    assert one == two
    assert one[-1].outputs == ("second/second", "tool/tool")
    assert one[-1].title == "build second and tool"


async def unasked(reference: Reference) -> str:
    """Fail: no registry is to be asked."""
    raise AssertionError(f"asked for {reference}")


async def another(_: Reference) -> str:
    """Answer every question with one digest."""
    return OTHER


def test_what_is_not_locked_is_refused_where_that_is_forbidden(tmp_path: Path, specs: ImageSpecs) -> None:
    for local in (True, False):
        catalog = Catalog(specs, home=tmp_path, lock=Lock(), pull=True, local=local, locked=True, ask=unasked)
        assert not catalog.base("go").known
        assert not any(row.ready for row in catalog.describe())
        with pytest.raises(ImageError, match=r"no digest for docker\.io/library/golang:1\.26, and --locked") as caught:
            anyio.run(catalog.prepare, ["go"], silent)
        assert "pipeline images lock" in caught.value.resolution
        assert "--image NAME=docker.io/library/golang:1.26@sha256:" in caught.value.resolution


def test_what_is_not_locked_is_resolved_with_one_warning(tmp_path: Path, specs: ImageSpecs) -> None:
    said: list[str] = []
    overrides = {"tool": "golang:1.26"}
    catalog = Catalog(specs, home=tmp_path, lock=Lock(), overrides=overrides, pull=True, local=False, ask=another)
    anyio.run(catalog.prepare, ["go", "tool"], said.append)
    assert said == [
        f"warning: images.lock has no digest for docker.io/library/golang:1.26; it is resolved to {OTHER} for this run"
    ]
    for name in ("go", "tool"):
        base = catalog.base(name)
        assert (base.content, base.resolved) == (OTHER, True)
        assert base.reference == f"docker.io/library/golang:1.26@{OTHER}"
    anyio.run(catalog.prepare, ["go"], said.append)
    assert len(said) == 1


def test_a_bootstrapped_root_is_pinned_otherwise(tmp_path: Path, specs: ImageSpecs) -> None:
    make(tmp_path, specs)
    catalog = Catalog(specs, home=tmp_path, lock=Lock(), locked=True, ask=unasked)
    anyio.run(catalog.prepare, ["go"], silent)
    assert catalog.base("go").known


@pytest.mark.parametrize("locked", [True, False])
def test_a_digest_that_the_registry_has_is_used_and_nothing_is_said(
    tmp_path: Path, specs: ImageSpecs, locked: bool
) -> None:
    asked: list[str] = []

    async def has(reference: Reference) -> str:
        asked.append(str(reference))
        return reference.digest

    said: list[str] = []
    catalog = Catalog(specs, home=tmp_path, lock=LOCK, pull=True, local=False, locked=locked, ask=has)
    anyio.run(catalog.prepare, ["go"], said.append)
    assert asked == [f"docker.io/library/golang:1.26@{DIGEST}"]
    assert said == []
    assert (catalog.base("go").content, catalog.base("go").resolved) == (DIGEST, False)


def test_a_digest_that_is_gone_is_resolved_and_every_other_failure_is_an_error(
    tmp_path: Path, specs: ImageSpecs
) -> None:
    async def gone(reference: Reference) -> str:
        if reference.digest:
            raise NoSuchImageError("there is no such image")
        return OTHER

    async def down(_: Reference) -> str:
        raise ImageError("the registry answers 503")

    said: list[str] = []
    catalog = Catalog(specs, home=tmp_path, lock=LOCK, pull=True, local=False, ask=gone)
    anyio.run(catalog.prepare, ["go"], said.append)
    assert (catalog.base("go").content, catalog.base("go").resolved) == (OTHER, True)
    (warning,) = said
    assert f"no longer has docker.io/library/golang:1.26@{DIGEST}, which images.lock names" in warning
    for ask, locked, problem in ((gone, True, "no longer has .* --locked"), (down, False, "503")):
        catalog = Catalog(specs, home=tmp_path, lock=LOCK, pull=True, local=False, locked=locked, ask=ask)
        with pytest.raises(ImageError, match=problem):
            anyio.run(catalog.prepare, ["go"], silent)


def test_a_digest_that_somebody_wrote_is_not_replaced(tmp_path: Path, specs: ImageSpecs) -> None:
    overrides = {"go": f"golang:1.26@{OTHER}"}
    catalog = Catalog(specs, home=tmp_path, lock=LOCK, overrides=overrides, local=False, locked=True, ask=unasked)
    anyio.run(catalog.prepare, ["go"], silent)
    assert catalog.base("go").content == OTHER


def test_a_locked_reference_is_left_to_an_engine_that_pulls(tmp_path: Path, specs: ImageSpecs) -> None:
    catalog = Catalog(specs, home=tmp_path, lock=LOCK, pull=True, local=False)
    base = catalog.base("go")
    assert base.content == DIGEST
    assert base.reference == f"docker.io/library/golang:1.26@{DIGEST}"
    assert [mount for mount, _ in catalog.image("go").layers] == ["/usr/local/go"]
    mirrored = Catalog(specs, home=tmp_path, lock=LOCK, pull=True, local=False, overrides={"*": "m.example.com"})
    assert mirrored.base("go").reference == f"m.example.com/library/golang:1.26@{DIGEST}"
    assert mirrored.base("go") == base


def test_a_folder_can_stand_in_for_an_image(tmp_path: Path, specs: ImageSpecs) -> None:
    folder = tmp_path / "my-root"
    folder.mkdir()
    catalog = Catalog(specs, home=tmp_path / "home", overrides={"go": f"root-dir:{folder}"})
    with pytest.raises(ImageError, match="no usr folder"):
        anyio.run(catalog.prepare, ["go"], silent)
    (folder / "usr").mkdir()
    with pytest.raises(ImageError, match="lacks what a sandbox mounts on") as caught:
        anyio.run(catalog.prepare, ["go"], silent)
    assert "/usr/local/go" in caught.value.details
    make_mount_points(folder, specs.mounts)
    anyio.run(catalog.prepare, ["go"], silent)
    assert catalog.roots() == {content.digest_of(folder): folder}
    assert [mount for mount, _ in catalog.image("go").layers] == ["/usr/local/go"]
    assert next(row for row in catalog.describe() if row.name == "go").used == f"root-dir:{folder} + go"


def test_preparing_a_scanner_prepares_what_it_is_built_in(tmp_path: Path, specs: ImageSpecs) -> None:
    make(tmp_path, specs)
    overrides = {"go": f"root-dir:{tmp_path / 'missing'}"}
    with pytest.raises(ImageError, match="missing"):
        anyio.run(Catalog(specs, home=tmp_path, overrides=overrides).prepare, ["tool"], silent)


def test_an_unknown_override_is_a_usage_error(tmp_path: Path, specs: ImageSpecs) -> None:
    with pytest.raises(UsageError, match="rust"):
        Catalog(specs, home=tmp_path, overrides={"rust": "rust:1"})


def test_a_root_that_failed_leaves_nothing(tmp_path: Path) -> None:
    roots = Roots(tmp_path)

    async def fail(rootfs: Path) -> Facts:
        (rootfs / "half").write_text("x")
        raise ImageError("no network")

    with pytest.raises(ImageError, match="no network"):
        anyio.run(partial(roots.make, "sha256:00", fail, progress=silent))
    assert [path.name for path in roots.folder.iterdir()] == ["00.lock"]
    assert roots.find("sha256:00") is None
    assert anyio.run(partial(roots.make, "sha256:00", fill, progress=silent)).facts.origin == "test"


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    roots = Roots(tmp_path)
    leftover = roots.folder / ".00.abc/rootfs"
    leftover.mkdir(parents=True)
    anyio.run(partial(roots.make, "sha256:00", fill, progress=silent))
    assert sorted(path.name for path in roots.folder.iterdir()) == ["00", "00.lock"]


def test_of_two_that_want_a_root_one_makes_it(tmp_path: Path) -> None:
    made: list[Path] = []
    said: list[str] = []

    async def slowly(rootfs: Path) -> Facts:
        made.append(rootfs)
        while not said:  # the other one says that it waits
            await anyio.lowlevel.checkpoint()
        return await fill(rootfs)

    async def both() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(partial(Roots(tmp_path).make, "sha256:00", slowly, progress=said.append))

    anyio.run(both)
    assert len(made) == 1
    assert any("another process" in line for line in said)


def test_a_damaged_record_is_no_root(tmp_path: Path) -> None:
    roots = Roots(tmp_path)
    root = anyio.run(partial(roots.make, "sha256:00", fill, progress=silent))
    record = root.path.parent / "root.json"
    whole = json.loads(record.read_text())
    for damaged in ("", "[]", json.dumps({**whole, "format": 0}), json.dumps({**whole, "facts": {"x": 1}})):
        record.write_text(damaged)
        assert roots.find("sha256:00") is None
    assert anyio.run(partial(roots.make, "sha256:00", fill, progress=silent)).content == root.content


def test_a_home_that_cannot_be_written_to_is_an_error_for_people(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written") as caught:
        anyio.run(partial(Roots(tmp_path).make, "sha256:00", fill, progress=silent))
    assert "PIPELINE_HOME" in caught.value.resolution


def test_mount_points_never_leave_the_root(tmp_path: Path) -> None:
    rootfs = tmp_path / "rootfs"
    (rootfs / "etc").mkdir(parents=True)
    (rootfs / "run").symlink_to("/outside")
    (rootfs / "var").symlink_to("../../up")
    (rootfs / "etc/hosts").symlink_to(tmp_path / "victim")
    (tmp_path / "victim").write_text("untouched")
    make_mount_points(rootfs, ("/opt/tool",))
    assert (rootfs / "outside/secrets").is_dir()
    assert (rootfs / "up/tmp").is_dir()
    assert (tmp_path / "victim").read_text() == "untouched"
    assert missing_mount_points(rootfs, ("/opt/tool",)) == []
    assert missing_mount_points(rootfs, ("/opt/other",)) == ["/opt/other"]


def test_links_that_never_end_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ImageError, match="symbolic links"):
        inside(tmp_path, "loop/x")
