"""Finishes a release with a key that exists in this one run only: signs RPMs inside, indexes, signs every file.

Params: those of `index.py`, and
  ephemeral_identity   whose the key is that is made here, used once and never leaves
  packages             the names of the RPMs among the artifacts
  statements_dir       the folder with files that are signed and not indexed (default `/in/statements`)

Outputs: the signed RPMs, what `index.py` writes, and what `sign.py` writes. The other steps of a release could not have
the same key without the key leaving its step; so what three steps do with a key that is kept, this does in one.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.programs.common import Params, run_program, source_date_epoch
from pipeline.programs.sign import index
from pipeline.programs.sign.rpm_sign import sign_headers
from pipeline.programs.sign.sign import files_to_sign, sign_release, signer


def main(params: Params) -> None:
    """Finish the release."""
    given, out = params.path("artifacts_dir", "/in/artifacts"), params.path("out", "/out")
    out.mkdir(parents=True, exist_ok=True)
    release = Path.cwd() / "release"
    release.mkdir()
    with signer(params) as ready:
        names = set(params["packages"])
        sign_headers(ready, [given / name for name in sorted(names)], out, source_date_epoch())
        for path in given.iterdir():
            shutil.copyfile((out if path.name in names else given) / path.name, release / path.name)
        index.main(Params({**params, "artifacts_dir": str(release)}))
        for path in (*out.iterdir(), *params.path("statements_dir", "/in/statements").glob("*")):
            if path.name not in names:
                shutil.copyfile(path, release / path.name)
        sign_release(ready, files_to_sign(release), out)


if __name__ == "__main__":
    run_program(main)
