"""With a bundle, a machine without any network makes the same release."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.conftest import require_tool
from tests.integration.released import RELEASE, contents, pipeline, succeeded

SMALL = (*RELEASE[1:], "--target", "linux/amd64", "--variant", "standard")


def test_a_release_without_network_from_a_bundle(dist: Path, tmp_path: Path) -> None:
    require_tool("unshare")
    bundle, home = tmp_path / "bundle.tar", tmp_path / "home"
    succeeded(pipeline("bundle", "create", *SMALL, "--output", str(bundle)))
    succeeded(pipeline("bundle", "install", str(bundle), "--home", str(home)))
    bundle.unlink()
    offline = ("unshare", "--net")
    where = ("--dist", str(tmp_path / "dist"), "--home", str(home))
    done = pipeline("release", *SMALL, *where, prefix=offline)
    succeeded(done)
    assert "✓ build linux-amd64 standard" in done.stderr
    assert "fetch" not in done.stderr
    released = contents(tmp_path / "dist" / "1.2.3")
    name = "example-1.2.3-linux-amd64"
    assert released[name] == contents(dist)[name]
    shutil.rmtree(home)
