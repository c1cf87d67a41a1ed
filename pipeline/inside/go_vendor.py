"""Download the modules that the programs of a Go module need, checked by its go.sum, as a vendor folder in /out.

Parameters: `module`, the folder below /in/source that holds go.mod.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

WORK = Path("/work/source")


def main() -> None:
    params = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    shutil.copytree("/in/source", WORK)
    settings = {"GOTOOLCHAIN": "local", "GOENV": "off", "GOFLAGS": "-modcacherw", "HOME": "/tmp"}
    print(f"downloading the modules of {params['module']}", file=sys.stderr, flush=True)
    done = subprocess.run(
        ["go", "mod", "vendor", "-o", "/out/vendor"],
        cwd=WORK / params["module"],
        env={**os.environ, **settings},
        check=False,
    )
    if done.returncode:
        print(f"error: the modules of {params['module']} could not be downloaded", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
