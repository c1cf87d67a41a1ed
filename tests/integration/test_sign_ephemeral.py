"""Signing with a key of one run: made where it is used, and only its public half comes out."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from pipeline.programs.sign import sign
from pipeline.stages.index import EPHEMERAL_IDENTITY
from tests.conftest import require_tool
from tests.programs import run_program


def test_a_key_of_one_run_signs_everything_and_is_gone(tmp_path: Path) -> None:
    require_tool("gpg")
    files, out = tmp_path / "files", tmp_path / "out"
    files.mkdir()
    (files / "SHA256SUMS").write_text("sums\n")
    (files / "weed").write_text("binary\n")
    params = sign.Parameters(sign.ChosenKey(ephemeral_identity=EPHEMERAL_IDENTITY), files, out)
    with tempfile.TemporaryDirectory(prefix="w-", dir="/tmp") as folder:  # a short path, for gpg's sockets
        done = run_program("sign.sign", params, Path(folder))
        assert list(Path(folder).iterdir()) == []
    assert done.returncode == 0, done.stderr
    names = ["SHA256SUMS.asc", "SHA256SUMS.gpg", "signing-key.asc", "weed.asc"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "out"]
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--status-fd", "1"]
    shown = subprocess.run([*gpg, "--import", str(out / "signing-key.asc")], capture_output=True, text=True, check=True)
    assert "not for shipping" in shown.stderr
    assert "IMPORT_OK 1" in shown.stdout
    for name in ("SHA256SUMS", "weed"):
        checked = [*gpg, "--verify", str(out / f"{name}.asc"), str(files / name)]
        assert "VALIDSIG" in subprocess.run(checked, capture_output=True, text=True, check=True).stdout
    kill = ["gpgconf", "--homedir", str(home), "--kill", "all"]
    subprocess.run(kill, check=False)
