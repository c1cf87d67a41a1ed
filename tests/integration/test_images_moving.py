"""A registry whose tags move and whose images go while the commands are used: outdated, check, lock, build."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from pipeline.cli import parser as cli
from pipeline.config.images import load_images
from pipeline.errors import ImageError
from pipeline.images.catalog import Catalog
from pipeline.images.lock import load_lock
from pipeline.oci.export import export
from pipeline.oci.reference import Reference
from pipeline.stages.index import _image
from tests import tiny_root
from tests.conftest import require_tool
from tests.integration.test_images_registry import push_index, registry, resolve, skopeo

TOML = """
[roots.small]
suite = "trixie"
packages = ["python3"]

[images.one]
reference = "HOST/team/tiny:v1"
bootstrap = { root = "small" }
needs = { "*" = ["sh"], list = ["ls", "cat|tac"] }

[images.two]
reference = "HOST/team/tiny:v1"
bootstrap = { root = "small" }
needs = { sign = ["sha256sum"] }
"""

Run = Callable[..., str]

pytestmark = pytest.mark.usefixtures("hasty")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    with registry(tmp_path / "registry") as name:
        yield name


@pytest.fixture
def packaging(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose images are in that registry."""
    require_tool("bwrap")
    folder = tmp_path / "project/packaging"
    folder.mkdir(parents=True)
    (folder / "images.toml").write_text(TOML.replace("HOST", host))
    monkeypatch.setenv("PIPELINE_PROJECT", str(folder.parent))
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    return folder


@pytest.fixture
def images(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `pipeline images` and returns what it printed."""

    def run(*arguments: str) -> str:
        cli.run(["images", *arguments])
        said = capsys.readouterr()
        return said.out + said.err

    return run


def push(host: str, tmp_path: Path, mark: str) -> str:
    """Push a root file system with `mark` in it as team/tiny:v1; return the digest of its manifest."""
    root = tiny_root.build(tmp_path / mark)
    (root / "etc/mark").write_text(mark)
    export(tmp_path / f"{mark}.tar", [("/", root)], path=("/bin",), name=mark)
    target = f"docker://{host}/team/tiny:v1"
    skopeo("copy", "--dest-tls-verify=false", f"oci-archive:{tmp_path / f'{mark}.tar'}", target)
    return resolve(Reference.parse(f"{host}/team/tiny:v1"))


def delete(host: str, digest: str) -> None:
    request = urllib.request.Request(f"http://{host}/v2/team/tiny/manifests/{digest}", method="DELETE")
    urllib.request.urlopen(request, timeout=60).close()


def test_a_tag_that_moves_from_an_image_to_an_index(host: str, packaging: Path, images: Run, tmp_path: Path) -> None:
    first, name = push(host, tmp_path, "first"), f"{host}/team/tiny:v1"
    assert images("outdated") == (
        f"{name}  not locked; the registry has {first}\n`pipeline images lock` writes what the registries have now\n"
    )
    images("lock")
    (entry,) = load_lock(packaging / "images.lock").entries
    assert (entry.reference, entry.digest) == (name, first)
    assert images("outdated") == f"{name}  up to date (resolved {entry.resolved})\n"
    said = images("check", "--pull-images", "--locked")
    assert f"{name}@{first}: the registry has it\n" in said
    assert "one: has what its steps need\ntwo: has what its steps need\n" in said

    second = push(host, tmp_path, "second")
    whole, platform = push_index(host, "team/tiny", "v1", "arm64", "amd64")
    assert platform == second
    assert f"{name}  moved: {first} (resolved {entry.resolved}) is now {whole}\n" in images("outdated")
    assert f"{name}@{first}: the registry has it\n" in images("check", "--pull-images", "--locked")
    assert "warning" not in images("build", "--pull-images", "--locked"), "the lock decides, not the tag"

    images("lock")
    assert load_lock(packaging / "images.lock").digest(name) == whole
    assert f"{name}@{whole}: the registry has it\n" in images("check", "--pull-images", "--locked")
    catalog = Catalog(load_images(packaging), home=tmp_path / "home", pull=True)
    anyio.run(catalog.prepare, ["one"], print)
    assert catalog.base("one").content == second, "the index is pinned, and its image for this platform is used"
    assert (catalog.roots()[second] / "etc/mark").read_text() == "second"
    assert catalog.base("one").reference == f"{name}@{whole}"


def test_a_digest_that_the_registry_loses(host: str, packaging: Path, images: Run, tmp_path: Path) -> None:
    first, name = push(host, tmp_path, "first"), f"{host}/team/tiny:v1"
    images("lock")
    second = push(host, tmp_path, "second")
    delete(host, first)
    with pytest.raises(ImageError, match="registries do not have") as caught:
        images("check", "--pull-images")
    assert f"{name}@{first}: there is no image" in caught.value.details
    with pytest.raises(ImageError, match=rf"no longer has {name}@{first}.*--locked refuses"):
        images("build", "--pull-images", "--locked")
    said = images("build", "--pull-images")
    assert said.count("warning: ") == 1, "two images have that reference"
    assert f"the registry no longer has {name}@{first}, which images.lock names; it is resolved to {second}" in said

    catalog = Catalog(load_images(packaging), home=tmp_path / "home", pull=True)
    anyio.run(catalog.prepare, ["one"], print)
    recorded = _image(catalog.image("one"))
    assert (recorded.reference, recorded.resolved) == (f"{name}@{second}", True)


def test_a_registry_that_is_down_is_not_an_image_that_is_gone(
    host: str, packaging: Path, images: Run, tmp_path: Path
) -> None:
    digest = push(host, tmp_path, "first")
    images("lock")
    assert digest in (packaging / "images.lock").read_text()
    with socket.socket() as deaf:  # its port is taken, and nobody listens
        deaf.bind(("127.0.0.1", 0))
        for name in ("images.lock", "images.toml"):
            text = (packaging / name).read_text()
            (packaging / name).write_text(text.replace(host, f"127.0.0.1:{deaf.getsockname()[1]}"))
        for command in (("build", "--pull-images"), ("check", "--pull-images"), ("outdated",), ("lock",)):
            with pytest.raises(ImageError) as caught:
                images(*command)
            assert "connection refused" in str(caught.value), command
    assert digest in (packaging / "images.lock").read_text(), "what could not be asked stays as it was"


def test_an_image_without_what_its_steps_need(host: str, packaging: Path, images: Run, tmp_path: Path) -> None:
    push(host, tmp_path, "first")
    images("lock")
    toml = packaging / "images.toml"
    toml.write_text(toml.read_text().replace('"sha256sum"', '"gpg", "python3>=3.9"'))
    with pytest.raises(ImageError, match="images lack what steps need") as caught:
        images("check", "--pull-images")
    assert caught.value.details.splitlines() == [
        '  image "two" has no Python 3.9 or newer as python3, which step "sign" needs',
        '  image "two" has no gpg, which step "sign" needs',
    ]
    assert "one: has what its steps need" in images("check", "--pull-images", "one")
