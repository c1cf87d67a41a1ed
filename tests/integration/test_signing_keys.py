"""Keys of this machine: two releases that begin at once have one development key, and no key is overwritten."""

from __future__ import annotations

import stat
from pathlib import Path

import anyio
import pytest

from pipeline.errors import SigningError
from pipeline.signing.keys import SigningKey, development_key, find_key, generate_key
from tests.conftest import require_tool


def test_two_who_need_a_development_key_at_once_get_one(tmp_path: Path) -> None:
    require_tool("gpg")
    found: list[SigningKey] = []

    async def find() -> None:
        found.append(await find_key(None, tmp_path))

    async def both() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(find)
            group.start_soon(find)

    anyio.run(both)
    assert found[0].secret.reveal() == found[1].secret.reveal()
    assert found[0].secret.reveal().startswith(b"-----BEGIN PGP PRIVATE KEY BLOCK-----")
    private = development_key(tmp_path)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert private.with_suffix(".pub.asc").read_text().startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----")


@pytest.mark.parametrize("name", ["key.asc", "key.pub.asc"])
def test_a_key_is_never_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(SigningError, match=f"{name} exists already"):
        anyio.run(generate_key, "Somebody <s@example.org>", tmp_path / "key.asc")
    assert (tmp_path / name).read_text() == "mine"
