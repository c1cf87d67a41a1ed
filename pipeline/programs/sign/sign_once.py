"""Finishes a release with a key that exists in this one run only: signs RPMs inside, indexes, signs every file.

Params: see `Parameters`.

Outputs: the signed RPMs, what `index.py` writes, and what `sign.py` writes. The other steps of a release could not have
the same key without the key leaving its step; so what three steps do with a key that is kept, this does in one.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.programs.common import source_date_epoch
from pipeline.programs.sign import index
from pipeline.programs.sign.rpm_sign import sign_headers
from pipeline.programs.sign.sign import ChosenKey, files_to_sign, sign_release, signer
from pipeline.programs.start import run_program


@dataclass(frozen=True)
class Parameters:
    """What is finished, and by whose key."""

    key: ChosenKey
    index: index.Parameters
    packages: tuple[str, ...]
    """The names of the RPMs among the artifacts."""
    statements_dir: Path = Path("/in/statements")
    """The folder with files that are signed and not indexed."""


def main(params: Parameters) -> None:
    """Finish the release."""
    given, out = params.index.artifacts_dir, params.index.out
    out.mkdir(parents=True, exist_ok=True)
    release = Path.cwd() / "release"
    release.mkdir()
    with signer(params.key) as ready:
        names = set(params.packages)
        sign_headers(ready, [given / name for name in sorted(names)], out, source_date_epoch())
        for path in given.iterdir():
            shutil.copyfile((out if path.name in names else given) / path.name, release / path.name)
        index.main(replace(params.index, artifacts_dir=release))
        for path in (*out.iterdir(), *params.statements_dir.glob("*")):
            if path.name not in names:
                shutil.copyfile(path, release / path.name)
        sign_release(ready, files_to_sign(release), out)


if __name__ == "__main__":
    run_program(main, Parameters)
