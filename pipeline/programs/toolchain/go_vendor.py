"""Download the modules that the programs of a Go module need, checked by its go.sum, as a vendor folder in /out.

Parameters: `module`, the folder below /in/source that holds go.mod. The folder in GOMODCACHE keeps the archives that
were downloaded, for the next time; what was unpacked from them, several times as large, does not stay.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

WORK = Path("source")
"""A copy of the source, where the program starts."""
KEPT = "cache"
"""The folder of a module cache that holds the archives."""


def vendor(module: str) -> int:
    """Write /out/vendor and return the exit code of the go command."""
    settings = {"GOTOOLCHAIN": "local", "GOENV": "off", "GOFLAGS": "-modcacherw", "HOME": "/tmp"}
    print(f"downloading the modules of {module}", file=sys.stderr, flush=True)
    argv = ["go", "mod", "vendor", "-o", "/out/vendor"]
    return subprocess.run(argv, cwd=WORK / module, env={**os.environ, **settings}, check=False).returncode


def main() -> None:
    params = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    shutil.copytree("/in/source", WORK)
    modules = Path(os.environ["GOMODCACHE"])
    modules.mkdir(parents=True, exist_ok=True)
    with (modules / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run may share the folder, and would miss what is removed here
        code = vendor(params["module"])
        for path in modules.iterdir():
            if path.is_dir() and path.name != KEPT:
                shutil.rmtree(path, ignore_errors=True)
    if code:
        print(f"error: the modules of {params['module']} could not be downloaded", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
