"""images.toml: what is accepted, and what the errors say."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.images import ImageSpecs, load_images
from pipeline.errors import ConfigError
from pipeline.images.lock import load_lock
from pipeline.images.tools import go_program
from pipeline.model.image import Base, Image
from pipeline.oci.reference import Reference

PACKAGING = Path(__file__).parents[2] / "packaging"

GOOD = """
[roots.small]
suite = "trixie"
packages = ["python3"]

[toolchains.go]
mount = "/usr/local/go"
path = ["/usr/local/go/bin"]
version = "1.26.8"
sum = "h1:ZOmGe1OnfREDMIdb1Qi4G9JSuDPBLGExZMQ4nis1RXM="

[programs.tool]
mount = "/opt/tool"
path = ["/opt/tool"]
module = "mine"
package = "example.org/tool/cmd/tool"

[images.go]
reference = "golang:1.26"
tools = ["go"]
bootstrap = { root = "small" }

[images.tool]
reference = "example.org/tool:v1"
manager = "apt"
packages = ["git"]
tools = ["tool"]
bootstrap = { root = "small", stands_in_for = "example.org/tool:v1", note = "built here" }
"""


def write(folder: Path, text: str = GOOD) -> Path:
    """Make a packaging folder with `text` as images.toml and the module it names."""
    module = folder / "tools" / "mine"
    module.mkdir(parents=True)
    (module / "go.mod").write_text("module mine\n\ngo 1.26\n\nrequire (\n\texample.org/tool v1.2.3 // indirect\n)\n")
    (module / "go.sum").write_text("example.org/tool v1.2.3 h1:x=\n")
    (folder / "images.toml").write_text(text)
    return folder


def problem(folder: Path, old: str, new: str, more: str = "") -> str:
    """Return what is said of GOOD with `old` replaced by `new`, and `more` after it."""
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        load_images(write(folder, GOOD.replace(old, new) + more))
    assert caught.value.resolution
    return str(caught.value)


@pytest.fixture(scope="module")
def real() -> ImageSpecs:
    return load_images(PACKAGING)


def test_a_good_file_is_read_whole(tmp_path: Path) -> None:
    specs = load_images(write(tmp_path))
    assert sorted(specs.images) == ["go", "tool"]
    assert specs.image("tool").bootstrap.note == "built here"
    assert specs.mount_points("small") == ("/opt/tool", "/usr/local/go")
    assert [name for name, _ in specs.modules["mine"].entries] == ["mine/go.mod", "mine/go.sum"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('suite = "trixie"', 'suit = "trixie"', ["roots.small.suit", "suite"]),
        ('suite = "trixie"', "", ["roots.small.suite"]),
        ('version = "1.26.8"', 'version = "latest"', ["toolchains.go.version", "'latest'"]),
        ('sum = "h1:', 'sum = "h2:', ["toolchains.go.sum"]),
        ('manager = "apt"', 'manager = "apk"', ["images.tool.manager", "apt", "dnf"]),
        ('manager = "apt"', "", ["images.tool.manager", '"apt" or "dnf"']),
        ('path = ["/opt/tool"]', 'path = ["opt/tool"]', ["programs.tool.path", "absolute"]),
        ('path = ["/opt/tool"]', 'path = ["/opt/../tool"]', ["programs.tool.path", "absolute"]),
        ('tools = ["go"]', 'tools = ["gone"]', ["images.go.tools", "'gone'", "go, tool"]),
        ('root = "small" }', 'root = "large" }', ["images.go.bootstrap.root", "'large'", "small"]),
        ('tools = ["go"]', 'tools = ["tool"]', ["images.go.tools", "the image that builds it"]),
        ('reference = "golang:1.26"', 'reference = "Golang:1.26"', ["images.go.reference", "'Golang'"]),
        ('packages = ["git"]', 'packages = ["git; rm -rf /"]', ["images.tool.packages"]),
        ("[images.go]", "[images.golang]", ["images.go", "required"]),
        ("[programs.tool]", "[programs.go]", ["programs.go", "toolchain of that name"]),
        ("[roots.small]", "[roots.small", ["TOML"]),
        ('package = "example.org/tool/cmd/tool"', 'package = "a b"', ["programs.tool.package"]),
    ],
)
def test_an_error_names_the_key_and_what_is_allowed(tmp_path: Path, old: str, new: str, said: list[str]) -> None:
    text = problem(tmp_path, old, new)
    assert "images.toml" in text
    for words in said:
        assert words in text


def test_trees_that_would_lie_over_each_other_are_refused(tmp_path: Path) -> None:
    text = GOOD.replace('mount = "/opt/tool"', 'mount = "/usr/local/go/tool"').replace('["tool"]', '["go", "tool"]')
    with pytest.raises(ConfigError, match="cover each other"):
        load_images(write(tmp_path, text))


def test_a_missing_file_is_an_error_for_people(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_images(tmp_path)


def test_a_module_without_go_sum_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "tools/mine/go.sum").unlink()
    with pytest.raises(ConfigError, match=r"no go\.sum"):
        load_images(folder)


def test_a_program_that_go_mod_does_not_require_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "tools/mine/go.mod").write_text("module mine\n\nrequire example.org/toolbox v1.0.0\n")
    with pytest.raises(ConfigError, match="does not require"):
        go_program(load_images(folder), "tool", Image("go", Base("go", "sha256:" + "a" * 64)))


def test_sources_of_a_module_follow_its_replaced_siblings_and_leave_tests_out(tmp_path: Path) -> None:
    folder = write(tmp_path)
    with (folder / "tools/mine/go.mod").open("a") as file:
        file.write("\nreplace mine/shared => ../shared\n")
    for name in (
        "shared/go.mod",
        "shared/shared.go",
        "shared/shared_test.go",
        "shared/testdata/x.json",
        "mine/main.go",
    ):
        path = folder / "tools" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    names = [name for name, _ in load_images(folder).modules["mine"].entries]
    assert names == ["mine/go.mod", "mine/go.sum", "mine/main.go", "shared/go.mod", "shared/shared.go"]


def test_an_unknown_image_is_answered_with_the_names_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'rust'") as caught:
        load_images(write(tmp_path)).image("rust")
    assert "go, tool" in caught.value.resolution


def test_the_projects_own_file_names_every_environment(real: ImageSpecs) -> None:
    wanted = {"debian", "go", "syft", "grype", "trivy", "squashfs", "deb-ubuntu22.04", "rpm-ol8", "rpm-ol9"}
    assert wanted <= set(real.images)
    for spec in real.images.values():
        assert "latest" not in spec.reference


def test_the_projects_own_references_are_locked_and_nothing_else_is() -> None:
    specs = load_images(PACKAGING)
    lock = load_lock(PACKAGING / "images.lock")
    wanted = {str(Reference.parse(spec.reference)) for spec in specs.images.values()}
    assert {entry.reference for entry in lock.entries} == wanted
    for entry in lock.entries:
        assert entry.resolved or "not checked against a registry" in entry.recorded, entry.reference


def test_without_packages_of_its_own_an_image_gets_those_of_its_root(tmp_path: Path) -> None:
    assert load_images(write(tmp_path / "a")).image("tool").packages == ("git",)
    assert load_images(write(tmp_path / "a2")).image("go").packages == ()
    specs = load_images(write(tmp_path / "b", GOOD.replace('packages = ["git"]\n', "")))
    assert specs.image("tool").packages == specs.roots["small"].packages == ("python3",)


def test_a_stand_in_says_what_differs(real: ImageSpecs) -> None:
    for image in real.images.values():
        if image.bootstrap.stands_in_for:
            assert image.bootstrap.stands_in_for == image.reference
            assert "instead of" in image.bootstrap.note
