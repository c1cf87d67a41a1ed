"""A host in a folder: the files of an installed weed package, for the programs that take `--root`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from weedops.paths import Installed, Paths
from weedops.settings import ROLES

PRODUCT = Path(__file__).resolve().parents[2] / "packaging/products/seaweedfs"


class Host:
    """`root` has what the package installs; the user weed is whoever runs the test."""

    def __init__(
        self, root: Path, version: str = "4.44", product: str = "seaweedfs", variant: str = "standard"
    ) -> None:
        self.root = root
        self.paths = Paths(str(root))
        self.installed = Installed(product, version, variant, "abc")
        for folder in ("etc/weed", "opt/weed", "run/weed", "var/log/weed", "etc/systemd/system"):
            (root / folder).mkdir(parents=True, mode=0o755)
        shutil.copytree(PRODUCT / "config", root / "etc/default/weed", ignore=shutil.ignore_patterns("examples"))
        shutil.copytree(PRODUCT / "systemd", root / "usr/lib/systemd/system")
        self.write("opt/weed/release", f"PRODUCT={product}\nVERSION={version}\nVARIANT={variant}\nCOMMIT=abc\n")
        self.write("etc/passwd", f"root:x:0:0::/root:/bin/sh\nweed:x:{os.geteuid()}:{os.getegid()}::/:/bin/false\n")
        for path in [root, *root.rglob("*")]:
            path.chmod(path.stat().st_mode & ~0o022)

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        """Write one file below the root."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def conf(self, **values: str) -> None:
        """Make weed.conf say `values`, and the defaults for the rest."""
        self.write("etc/default/weed/weed.conf", "".join(f"{key}={value}\n" for key, value in values.items()))

    def folders(self) -> None:
        """Make the data folders of two instances of each role."""
        for role in ROLES[:3]:
            for number in (1, 2):
                (self.root / f"var/lib/weed/{role}-{number}").mkdir(parents=True)

    def binary(self, script: str) -> None:
        """Put a shell script where the binary goes."""
        self.write("opt/weed/weed", "#!/bin/sh\n" + script, 0o755)
