"""`pipeline doctor`: every problem of a release at once, and a signing key looked at as the steps that sign do."""

from __future__ import annotations

import base64
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli.verbs import doctor
from tests.conftest import require_tool
from tests.integration.released import RELEASE, pipeline

EXAMPLE = ("doctor", *RELEASE[1:])


@pytest.fixture(scope="module")
def keys() -> Iterator[dict[str, bytes]]:
    """Keys by what is special about them."""
    require_tool("gpg")
    with tempfile.TemporaryDirectory(prefix="g-") as home:
        env = {"PATH": os.environ["PATH"], "GNUPGHOME": home}

        def gpg(*arguments: str, passphrase: str = "") -> bytes:
            argv = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", passphrase, *arguments]
            return subprocess.run(argv, env=env, check=True, capture_output=True).stdout

        made = {}
        for name, algorithm, expires, passphrase in (
            ("good", "rsa3072", "1y", ""),
            ("old curve", "ed25519", "20d", ""),
            ("weak", "rsa2048", "1y", ""),
            ("locked", "rsa3072", "1y", "secret"),
        ):
            user = f"{name.replace(' ', '.')}@test"
            gpg("--quick-generate-key", user, algorithm, "sign", expires, passphrase=passphrase)
            made[name] = gpg("--armor", "--export-secret-keys", user, passphrase=passphrase)
        made["public"] = gpg("--armor", "--export", "good@test")
        yield {**made, "text": b"xxx", "in base64": base64.b64encode(made["good"])}
        subprocess.run(["gpgconf", "--kill", "all"], env=env, check=True)


def about_key(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stdout.splitlines() if "  signing key  " in line]


@pytest.mark.parametrize(
    ("name", "problems"),
    [
        ("good", []),
        ("in base64", []),
        ("text", ["holds no OpenPGP key"]),
        ("public", ["holds a public key"]),
        ("weak", ["RSA with 2048 bits is too weak"]),
        ("locked", ["needs a passphrase"]),
        ("old curve", ["must be valid for 90 more days", "RPMs are signed with RSA keys only"]),
    ],
)
def test_a_key_is_tried_and_all_that_is_wrong_with_it_is_said(
    keys: dict[str, bytes], tmp_path: Path, name: str, problems: list[str]
) -> None:
    before = set(Path("/dev/shm").glob("pipeline-key-*"))
    done = pipeline("doctor", "--product", "example", PIPELINE_SIGNING_KEY=keys[name].decode())
    found = about_key(done)
    assert [line.startswith("FAIL") for line in found] == ([True] * len(problems) or [False])
    for line, problem in zip(found, problems, strict=bool(problems)):
        assert problem in line
        assert "$PIPELINE_SIGNING_KEY" in line
    if problems:
        assert done.returncode == 12
        assert "can make a release" not in done.stdout
    else:
        assert "good@test" in found[0]
    assert set(Path("/dev/shm").glob("pipeline-key-*")) <= before
    (tmp_path / "key.asc").write_bytes(keys[name])
    assert len(about_key(pipeline("doctor", "--product", "example", "--signing-key", str(tmp_path / "key.asc")))) == (
        len(found)
    )


def test_every_problem_of_a_release_is_said_at_once(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("gate = 1\n")
    done = pipeline(
        *EXAMPLE, "--commit", "abc", "--policy", str(policy), PIPELINE_SIGNING_KEY="xxx", PIPELINE_HOME=str(tmp_path)
    )
    assert done.returncode == 12
    bad = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert {"policy", "release", "signing"} <= set(bad)
    assert bad.count("policy") == 1
    assert done.stderr == ""


def test_a_product_that_does_not_exist_does_not_hide_the_key() -> None:
    done = pipeline("doctor", "--product", "exampel", "--tag", "v1", PIPELINE_SIGNING_KEY="xxx")
    assert done.returncode == 12
    bad = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert [name for name in bad if name in {"product", "release", "signing"}] == ["product", "signing"]


def test_without_a_key_a_machine_is_told_who_would_sign(tmp_path: Path) -> None:
    done = pipeline("doctor", PIPELINE_HOME=str(tmp_path), PIPELINE_SIGNING_KEY="")
    (line,) = about_key(done)
    assert "a development key would sign" in line
    assert not (tmp_path / "signing").exists()
    assert doctor.OTHER_KEY not in done.stdout


def test_skopeo_is_missed_only_by_a_machine_whose_images_it_gets(tmp_path: Path) -> None:
    for name in ("bwrap", "git", "gpg", "mmdebstrap"):
        (tmp_path / name).symlink_to(require_tool(name))

    def printed(*options: str, path: str = str(tmp_path)) -> str:
        done = pipeline("doctor", *options, PIPELINE_HOME=str(tmp_path), PATH=path)
        assert done.returncode == 12 or "FAIL" not in done.stdout
        return done.stdout

    missing = "FAIL  skopeo"
    assert missing not in printed()
    assert missing in printed("--pull-images")
    text = printed("--image", "go=oci-archive:go.tar")
    assert missing in text
    assert "it gets the images go\n" in text
    assert "apt-get install skopeo" in text
    require_tool("skopeo")
    assert missing not in printed("--pull-images", path=os.environ["PATH"])
