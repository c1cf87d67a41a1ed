"""Real roots made by mmdebstrap, and the official Go toolchain in them.

The project's own root is made once for this user, where the command line would look for it as well.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import anyio
import pytest

from pipeline.config.images import ToolchainSpec, load_images
from pipeline.engine.local.engine import LocalEngine
from pipeline.errors import ImageError, StepFailedError
from pipeline.host import content
from pipeline.host.folders import home_folder, packaging_folder
from pipeline.images.catalog import Catalog
from pipeline.images.tools import go_toolchain
from pipeline.model.image import Image
from pipeline.model.step import Step
from pipeline.roots.bootstrap import bootstrap, recipe_of
from pipeline.roots.package_manager import add_packages, list_packages
from pipeline.roots.root import Roots
from tests.conftest import require_root, require_tool


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    for tool in ("mmdebstrap", "gpg", "bwrap"):
        require_tool(tool)
    found = Catalog(load_images(packaging_folder()), home=home_folder(None))
    anyio.run(partial(found.prepare, ["debian", "go"], progress=lambda _: None))
    return found


def run_in(catalog: Catalog, image: Image, script: str) -> str:
    """Run a shell script in `image` and return what it writes to /out/said."""
    step = Step(title="test", image=image, argv=("sh", "-euc", script), outputs=("said",))
    with LocalEngine(home_folder(None), roots=catalog.roots()) as engine:
        return (anyio.run(engine.evaluate, step.out) / "said").read_text()


def test_the_root_is_what_its_record_says(catalog: Catalog) -> None:
    root = catalog.roots()[catalog.base("debian").content]
    record = json.loads((root.parent / "root.json").read_text())
    assert content.digest_of(root) == record["content"] == catalog.base("debian").content
    assert any(line.startswith("python3=") for line in record["facts"]["packages"])
    assert any(line.startswith("trixie-security ") for line in record["facts"]["snapshot"])
    assert record["facts"]["made_with"].startswith("mmdebstrap ")
    assert record["size"] < 500e6


def test_the_root_is_lean_keeps_licences_and_says_nothing_of_this_machine(catalog: Catalog) -> None:
    root = catalog.roots()[catalog.base("debian").content]
    assert (root / "usr/share/doc/git/copyright").is_file()
    assert not list((root / "usr/share/man").rglob("*.gz"))
    assert not list((root / "var/lib/apt").rglob("*"))
    assert (root / "etc/resolv.conf").read_text() == ""
    assert (root / "etc/hostname").read_text() == "pipeline\n"
    assert not any(path.stat().st_mode & 0o7000 for path in (root / "usr/bin").iterdir() if path.is_file())


def test_the_root_has_what_the_steps_need(catalog: Catalog) -> None:
    said = run_in(
        catalog,
        catalog.image("debian"),
        """{
        python3 -c 'import jsonschema' && git --version && gpg --version | head -1 && openssl version
        openssl fipsinstall -module /usr/lib/x86_64-linux-gnu/ossl-modules/fips.so -out fips.cnf 2>&1
        mksquashfs -version | head -1; xz --version | head -1; printf 'int main(void){return 7;}' >a.c
        gcc -o native a.c; ./native || echo native $?
        aarch64-linux-gnu-gcc -static -o foreign a.c; qemu-aarch64 ./foreign || echo foreign $?
        } >/out/said""",
    )
    for words in (
        "git version",
        "gpg (GnuPG)",
        "OpenSSL 3",
        "INSTALL PASSED",
        "mksquashfs",
        "xz (XZ",
        "native 7",
        "foreign 7",
    ):
        assert words in said


def test_the_toolchain_is_the_official_one_and_builds(catalog: Catalog) -> None:
    spec = catalog.specs.tools["go"]
    assert isinstance(spec, ToolchainSpec)
    said = run_in(
        catalog,
        catalog.image("go"),
        """
        export HOME=/work GOTOOLCHAIN=local GOFLAGS=-mod=mod
        printf 'package main\\nimport "runtime"\\nfunc main() { println(runtime.Version()) }\\n' >main.go
        go mod init example.org/x; CGO_ENABLED=0 go build -o x .
        { go version; ./x 2>&1; command -v go; } >/out/said
        """,
    )
    assert said.splitlines() == [
        f"go version go{spec.version} linux/amd64",
        f"go{spec.version}",
        "/usr/local/go/bin/go",
    ]


def test_another_toolchain_than_the_pinned_one_is_refused(catalog: Catalog) -> None:
    spec = catalog.specs.tools["go"]
    assert isinstance(spec, ToolchainSpec)
    wrong = spec.model_copy(update={"sum": "h1:" + "A" * 43 + "="})
    with LocalEngine(home_folder(None), roots=catalog.roots()) as engine, pytest.raises(StepFailedError) as caught:
        anyio.run(engine.evaluate, go_toolchain(wrong, catalog.bootstrap()))
    assert spec.sum in caught.value.details
    assert "not the one that is pinned" in caught.value.details


def test_a_mirror_that_cannot_be_reached_is_an_error_that_leaves_nothing(catalog: Catalog, tmp_path: Path) -> None:
    recipe = recipe_of(catalog.specs, "trixie")
    said: list[str] = []
    make = partial(bootstrap, recipe, Roots(tmp_path), mirrors=("http://127.0.0.1:9/debian",), progress=said.append)
    with pytest.raises(ImageError, match="'trixie'") as caught:
        anyio.run(make)
    assert "PIPELINE_DEBIAN_MIRROR" in caught.value.resolution
    assert "127.0.0.1" in caught.value.details
    assert any("apt-get update" in line for line in said)
    assert [path.suffix for path in (tmp_path / "images").iterdir()] == [".lock"]


MAKER = """
import anyio, pathlib, sys
from pipeline.roots.root import Facts, Roots
async def build(rootfs):
    (rootfs / "half").write_text("x")
    print("building", flush=True)
    await anyio.sleep_forever()
    return Facts(origin="test")
async def main():
    await Roots(pathlib.Path(sys.argv[1])).make("sha256:00", build, progress=lambda line: print(line, flush=True))
anyio.run(main)
"""


def test_a_killed_process_leaves_a_home_that_the_next_one_can_use(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", MAKER, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "building\n"
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout is not None
            assert "another process" in second.stdout.readline()
            first.send_signal(signal.SIGKILL)
            first.wait()
            assert second.stdout.readline() == "building\n"
            folders = [path.name for path in (tmp_path / "images").iterdir() if path.is_dir()]
            assert len(folders) == 1, "what the first left is gone"
            second.terminate()
    assert Roots(tmp_path).find("sha256:00") is None


def test_packages_are_added_by_the_images_own_manager(tmp_path: Path) -> None:
    require_tool("mmdebstrap")
    require_root("a root with apt in it is made, which takes root here")
    rootfs = tmp_path / "rootfs"
    started = time.monotonic()
    argv = ["mmdebstrap", "--variant=apt", "--mode=root", "--quiet", "trixie", str(rootfs)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said: list[str] = []
    before = anyio.run(list_packages, rootfs)
    anyio.run(add_packages, rootfs, "apt", ("hello",), said.append)
    added = set(anyio.run(list_packages, rootfs)) - set(before)
    assert any(line.startswith("hello=") for line in added)
    assert (rootfs / "usr/bin/hello").is_file()
    assert not list((rootfs / "var/lib/apt").rglob("*"))
    with pytest.raises(ImageError, match="no-such-package") as caught:
        anyio.run(add_packages, rootfs, "apt", ("no-such-package",), said.append)
    assert "Unable to locate package" in caught.value.details
    assert time.monotonic() - started < 600
