"""References, the lock, and which origin an image has."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.images import load_images
from pipeline.errors import ConfigError, UsageError
from pipeline.images.lock import Lock, Locked, load_lock, save_lock
from pipeline.images.origin import Archived, Bootstrapped, Folder, Mode, Pulled, origins
from pipeline.oci.reference import Reference
from tests.unit.test_images_spec import write

DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
THEN, NOW = "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("debian", "docker.io/library/debian:latest"),
        ("ubuntu:22.04", "docker.io/library/ubuntu:22.04"),
        ("anchore/syft:v1", "docker.io/anchore/syft:v1"),
        ("docker.io/debian", "docker.io/library/debian:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/a/b:c", "localhost:5000/a/b:c"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest"),
        ("[::1]:5000/a", "[::1]:5000/a:latest"),
        ("ghcr.io/owner/name:tag", "ghcr.io/owner/name:tag"),
        (f"ghcr.io/owner/name@{DIGEST}", f"ghcr.io/owner/name@{DIGEST}"),
        (f"golang:1.26@{DIGEST}", f"docker.io/library/golang:1.26@{DIGEST}"),
    ],
)
def test_a_reference_in_short_and_in_full(short: str, full: str) -> None:
    parsed = Reference.parse(short)
    assert str(parsed) == full
    assert Reference.parse(full) == parsed


@pytest.mark.parametrize(
    "text", ["", "Debian", "a/", "/a", "a b", "a:", "a:b c", "a@sha256:x", f"a@{DIGEST[:-1]}", "a/../b", "a--/b", "a\n"]
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not an image reference"):
        Reference.parse(text)


def test_a_mirror_replaces_the_host_and_keeps_the_rest() -> None:
    reference = Reference.parse(f"ubuntu:22.04@{DIGEST}")
    assert str(reference.mirrored("mirror.example.com")) == f"mirror.example.com/library/ubuntu:22.04@{DIGEST}"
    assert str(reference.mirrored("localhost:5000/hub/")) == f"localhost:5000/hub/library/ubuntu:22.04@{DIGEST}"
    with pytest.raises(ConfigError):
        reference.mirrored("https://mirror.example.com")


def entry(reference: str, digest: str = DIGEST, resolved: str = THEN) -> Locked:
    return Locked(reference=reference, digest=digest, resolved=resolved)


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    lock = Lock((entry("docker.io/library/debian:trixie"), entry("ghcr.io/a/b:c", OTHER)))
    path = tmp_path / "images.lock"
    save_lock(path, lock)
    assert load_lock(path) == lock
    assert "recorded" not in path.read_text().partition("[[image]]")[2]
    assert lock.digest("debian:trixie") == DIGEST
    assert lock.digest("debian:bookworm") == ""
    assert lock.digest(f"debian@{OTHER}") == OTHER
    assert [item.name for item in tmp_path.iterdir()] == ["images.lock"]


def test_a_recorded_digest_says_where_it_is_from_until_a_registry_confirms_it(tmp_path: Path) -> None:
    name = "docker.io/library/debian:trixie"
    lock = Lock((Locked(reference=name, digest=DIGEST, recorded="a book, not checked against a registry"),))
    save_lock(tmp_path / "images.lock", lock)
    assert load_lock(tmp_path / "images.lock") == lock
    assert lock.digest("debian:trixie") == DIGEST
    assert not lock.staleness({name: DIGEST})
    assert lock.updated({name: DIGEST}, NOW).entries == (entry(name, DIGEST, NOW),)


def test_no_lock_is_an_empty_one_and_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "images.lock"
    assert load_lock(path) == Lock()
    whole = f'[[image]]\nreference = "a"\ndigest = "{DIGEST}"\n'
    for text in ("[[image]]\nreference = 1\n", "][", whole, f'{whole}resolved = "{THEN}"\nrecorded = "a book"\n'):
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load_lock(path)
        assert "pipeline images lock" in caught.value.resolution


def test_relocking_changes_only_what_moved() -> None:
    lock = Lock(
        (entry("docker.io/library/debian:a"), entry("docker.io/library/debian:b"), entry("docker.io/library/old:1"))
    )
    current = {
        "docker.io/library/debian:a": DIGEST,
        "docker.io/library/debian:b": OTHER,
        "docker.io/library/new:1": OTHER,
    }
    stale = lock.staleness(current)
    assert stale.missing == ("docker.io/library/new:1",)
    assert stale.unused == ("docker.io/library/old:1",)
    assert stale.moved == (("docker.io/library/debian:b", DIGEST, OTHER),)
    assert str(stale).splitlines() == [
        "docker.io/library/new:1: not locked",
        "docker.io/library/old:1: no longer in images.toml",
        f"docker.io/library/debian:b: was {DIGEST}, is {OTHER}",
    ]
    fresh = lock.updated(current, NOW)
    assert [(found.reference, found.digest, found.resolved) for found in fresh.entries] == [
        ("docker.io/library/debian:a", DIGEST, THEN),
        ("docker.io/library/debian:b", OTHER, NOW),
        ("docker.io/library/new:1", OTHER, NOW),
    ]
    assert not fresh.staleness(current)


def test_the_origin_of_an_image(tmp_path: Path) -> None:
    specs = load_images(write(tmp_path))
    lock = Lock((entry("docker.io/library/golang:1.26"),))
    assert origins(specs, lock, {}, Mode.BOOTSTRAP)["go"] == Bootstrapped("small")
    pulled = origins(specs, lock, {}, Mode.REFERENCE)
    assert pulled["go"] == Pulled(Reference.parse("golang:1.26"), DIGEST)
    assert pulled["tool"] == Pulled(Reference.parse("example.org/tool:v1"))
    mirrored = origins(specs, lock, {"*": "mirror.example.com"}, Mode.REFERENCE)
    assert mirrored["go"] == Pulled(Reference.parse("mirror.example.com/library/golang:1.26"), DIGEST)
    chosen = {"go": "golang:1.27", "tool": "oci-archive:/a/tool.tar"}
    assert origins(specs, lock, chosen, Mode.BOOTSTRAP) == {
        "go": Pulled(Reference.parse("golang:1.27")),
        "tool": Archived(Path("/a/tool.tar")),
    }
    chosen = {"go": "root-dir:/srv/go", "tool": "bootstrap"}
    assert origins(specs, lock, chosen, Mode.REFERENCE) == {
        "go": Folder(Path("/srv/go")),
        "tool": Bootstrapped("small"),
    }
    assert origins(specs, lock, {"go": "reference"}, Mode.BOOTSTRAP)["go"] == pulled["go"]
    with pytest.raises(UsageError, match="rust"):
        origins(specs, lock, {"rust": "rust:1"}, Mode.BOOTSTRAP)
