"""A release that begins with an image that lacks what its steps need."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipeline.config.images import load_images
from pipeline.host.folders import packaging_folder
from pipeline.roots.root import make_mount_points
from tests import tiny_root
from tests.conftest import require_tool
from tests.integration.released import RELEASE, pipeline


@pytest.mark.usefixtures("dist")  # which has made the other images
def test_a_release_names_the_image_the_program_and_the_step_before_anything_else_runs(tmp_path: Path) -> None:
    for tool in ("bwrap", "mmdebstrap"):
        require_tool(tool)
    root = tiny_root.build(tmp_path / "root")
    make_mount_points(root, load_images(packaging_folder()).mounts)

    def release(image: str) -> subprocess.CompletedProcess[str]:
        return pipeline(*RELEASE, "--dist", str(tmp_path / "dist"), "--image", f"{image}=root-dir:{root}")

    done = release("debian")
    assert done.returncode == 6, done.stderr
    assert 'image "debian" has no Python 3.9 or newer as python3, which every step needs' in done.stderr
    assert 'image "debian" has no Python module jsonschema, which step "scan reports" needs' in done.stderr
    assert 'image "debian" has no gpg, which step "inspect the signing key" and 1 more need' in done.stderr
    assert "openssl" not in done.stderr, "no step of this release needs it"
    assert "exit code" not in done.stderr
    (root / "usr/bin/sh").unlink()
    done = release("debian")
    assert done.returncode == 6, done.stderr
    assert "no shell runs in the image debian, and every step needs /bin/sh" in done.stderr
