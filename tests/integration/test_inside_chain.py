"""The programs one after the other over a real binary, as a release runs them, and their documents' own schemas."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.programs import document
from pipeline.programs.scan import approve
from pipeline.programs.sign import index, sign
from pipeline.programs.sign.release_index import Described
from tests.conftest import require_tool
from tests.documents import example_index
from tests.programs import run_program

ROOT = Path(__file__).parent.parent.parent
DATA = ROOT / "tests" / "data" / "inside"
NAME = "weed-1.0-linux-amd64"
SOURCE = 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("version 1.0 abc1234") }\n'


class Chain:
    """A folder where each program's output is the next one's input."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.artifacts = root / "artifacts"
        self.artifacts.mkdir()

    def run(self, program: str, **params: Any) -> subprocess.CompletedProcess[str]:
        """Run a program from a folder that holds only it and what it imports, as a step does."""
        return run_program(program, params, self.root, SOURCE_DATE_EPOCH="1717992646", TODAY="2026-11-21")

    def must(self, program: str, **params: Any) -> None:
        """Run a program that succeeds and says nothing."""
        done = self.run(program, **params)
        assert (done.returncode, done.stderr) == (0, "")

    def build(self) -> None:
        """Build the binary and prove it."""
        (self.root / "main.go").write_text(SOURCE)
        (self.root / "go.mod").write_text("module weed.test\n\ngo 1.24\n")
        env = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "CGO_ENABLED": "0"}
        argv = [require_tool("go"), "build", "-trimpath", "-buildvcs=false", "-ldflags=-w -buildid="]
        subprocess.run([*argv, "-o", str(self.artifacts / NAME), "."], cwd=self.root, env=env, check=True)
        self.must(
            "build.prove", binary=str(self.artifacts / NAME), os="linux", arch="amd64", variant="standard",
            static=True, version_output="version 1.0 abc1234",
            out=str(self.artifacts / f"{NAME}.proof.json"),
        )  # fmt: skip

    def scan(self, *severities: str) -> None:
        """Judge real reports, with what the policy names."""
        for scanner in ("grype", "trivy"):
            folder = self.root / "reports" / NAME / scanner
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(DATA / f"{scanner}.json", folder)
        (self.root / "metadata.json").write_text('{"UpdatedAt": "2026-11-20T00:00:00Z"}')
        gate = {"severities": ["critical", *severities], "only_fixable": False}
        policy = {"gate": gate, "database_max_age_days": {"grype": 5, "trivy": 5}, "ignore": []}
        self.must(
            "scan.gate", product="weed", version="1.0", reports=str(self.root / "reports"),
            binaries=[{"name": NAME, "target": "linux/amd64", "variant": "standard"}], policy=policy,
            binaries_dir=str(self.artifacts), trivy_metadata=str(self.root / "metadata.json"),
            out=str(self.root / "scan"),
        )  # fmt: skip

    def gate(self) -> dict[str, Any]:
        """Return the parameters of the gate."""
        told: dict[str, Any] = document.plain(
            approve.Parameters(self.root / "scan" / "verdict.json", self.root / "approval.json")
        )
        return told

    def index(self) -> None:
        """Render the scan, index everything, and put the index beside it."""
        self.must(
            "scan.scan_report", scan=str(self.root / "scan" / "scan.json"), author="Us", out=str(self.root / "scan"),
            schemas=str(ROOT / "packaging" / "schemas"),
        )  # fmt: skip
        kinds = {
            "scan.json": ("scan-report", "application/json"),
            "scan.sarif": ("scan-report", "application/sarif+json"),
        }
        described = [
            Described(NAME, "binary", "application/x-executable"),
            Described(f"{NAME}.proof.json", "proof", "application/json", subject=NAME),
        ]
        for file, (kind, media_type) in kinds.items():
            shutil.copy(self.root / "scan" / file, self.artifacts / f"weed-1.0.{file}")
            described.append(Described(f"weed-1.0.{file}", kind, media_type))
        params = index.Parameters(
            example_index(), tuple(described), self.artifacts, self.root / "approval.json", self.root / "index"
        )
        self.must("sign.index", **document.plain(params))
        shutil.copytree(self.root / "index", self.artifacts, dirs_exist_ok=True)


@pytest.fixture
def chain() -> Iterator[Chain]:
    """A short path, as gpg's sockets need."""
    with tempfile.TemporaryDirectory(prefix="c-") as root:
        yield Chain(Path(root))


def key(root: Path) -> str:
    """Make a signing key and return its fingerprint; the private key is the secret `signing-key`."""
    (root / "home").mkdir(mode=0o700)
    (root / "secrets").mkdir()
    env = {"PATH": os.environ["PATH"], "GNUPGHOME": str(root / "home")}
    gpg = [require_tool("gpg"), "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
    make = ("--quick-generate-key", "release@test", "ed25519", "sign", "1y")
    subprocess.run([*gpg, *make], env=env, check=True, capture_output=True)
    private = subprocess.run([*gpg, "--export-secret-keys"], env=env, check=True, capture_output=True).stdout
    (root / "secrets" / "signing-key").write_bytes(private)
    listing = subprocess.run([*gpg, "--with-colons", "-k"], env=env, check=True, capture_output=True, text=True).stdout
    subprocess.run(["gpgconf", "--kill", "all"], env=env, check=True)
    return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))


def test_from_a_binary_to_a_signed_release_that_verifies(chain: Chain) -> None:
    chain.build()
    chain.scan()
    chain.must("scan.approve", **chain.gate())
    chain.index()
    fingerprint = key(chain.root)
    chosen = sign.ChosenKey(fingerprint, secrets_dir=chain.root / "secrets")
    chain.must("sign.sign", **document.plain(sign.Parameters(chosen, chain.artifacts, chain.root / "signatures")))
    shutil.copytree(chain.root / "signatures", chain.artifacts, dirs_exist_ok=True)
    done = chain.run("verify.verify", release=str(chain.artifacts), fingerprint=fingerprint)
    assert (done.returncode, done.stderr) == (0, "")
    with (chain.artifacts / NAME).open("ab") as file:
        file.write(b"!")
    assert "is not the file that SHA256SUMS lists" in chain.run("verify.verify", release=str(chain.artifacts)).stderr


def test_a_closed_gate_stops_the_chain(chain: Chain) -> None:
    chain.build()
    chain.scan("high")
    done = chain.run("scan.approve", **chain.gate())
    assert done.returncode == 1
    assert "error: the gate is closed: high: EXAMPLE-2026-0002" in done.stderr
    assert not (chain.root / "approval.json").exists()


def test_documents_follow_their_schemas(chain: Chain, follows: Callable[[Path, str], None]) -> None:
    chain.build()
    chain.scan()
    chain.must("scan.approve", **chain.gate())
    chain.index()
    for name, path in (
        ("binary-proof", chain.artifacts / f"{NAME}.proof.json"),
        ("scan", chain.root / "scan" / "scan.json"),
        ("verdict", chain.root / "scan" / "verdict.json"),
        ("release", chain.artifacts / "release.json"),
    ):
        follows(path, name)
