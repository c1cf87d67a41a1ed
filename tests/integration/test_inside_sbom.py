"""The SBOM program as a process, with the real validator and the formats' own schemas."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipeline.programs.common import sha256_of
from tests.programs import run_program

ROOT = Path(__file__).parent.parent.parent
DATA = ROOT / "tests" / "data" / "inside"
SHA256 = "d235c091fb56516e857aa6f482c63ea0aa72f0f9984bd5b231d6de5e80df00f9"


class Step:
    """A folder with syft's documents about a small file."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder, self.python = folder, python
        (folder / "binary").mkdir(parents=True)
        self.binary = folder / "binary" / "weed-1.2.3-linux-amd64"
        self.binary.write_bytes(b"a binary")
        for kind in ("cdx", "spdx"):
            text = (DATA / f"syft-{kind}.json").read_text("utf-8").replace(SHA256, sha256_of(self.binary))
            (folder / f"{kind}.json").write_text(text.replace("/in/binary/", f"{self.binary.parent}/"), "utf-8")

    def change(self, kind: str, **values: Any) -> None:
        """Overwrite top-level values of a document."""
        path = self.folder / f"{kind}.json"
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **values}))

    def run(self, **params: Any) -> subprocess.CompletedProcess[str]:
        """Run the program as a step does."""
        own = {
            "cyclonedx": str(self.folder / "cdx.json"), "spdx": str(self.folder / "spdx.json"),
            "binary": str(self.binary), "name": "weed", "version": "1.2.3", "supplier": "Example",
            "schemas": str(ROOT / "packaging" / "schemas"), "out_notice": str(self.folder / "out" / "NOTICE"),
            "out_cyclonedx": str(self.folder / "out" / "cdx.json"), "out_spdx": str(self.folder / "out" / "spdx.json"),
        }  # fmt: skip
        both = {**own, **params}
        return run_program("sbom.sbom", both, self.folder, python=self.python, SOURCE_DATE_EPOCH="1717992646")


@pytest.fixture
def step(tmp_path: Path, python: str) -> Step:
    return Step(tmp_path / "one", python)


def test_documents_are_valid_and_the_same_wherever_they_were_made(step: Step, tmp_path: Path, python: str) -> None:
    other = Step(tmp_path / "two" / "deeper", python)
    for each in (step, other):
        done = each.run()
        assert (done.returncode, done.stderr) == (0, "")
    for name in ("cdx.json", "spdx.json", "NOTICE"):
        content = (step.folder / "out" / name).read_bytes()
        assert content == (other.folder / "out" / name).read_bytes()
        assert str(tmp_path).encode() not in content


@pytest.mark.parametrize(
    ("kind", "values", "place"),
    [
        ("cdx", {"specVersion": "9.9", "bomFormat": "other"}, "bom-1.6.schema.json: $.bomFormat"),
        ("cdx", {"vulnerabilities": [{"ratings": [{"severity": "terrible"}]}]}, "$.vulnerabilities[0].ratings[0]"),
        ("spdx", {"spdxVersion": 2.3}, "spdx-schema-2.3.json: $.spdxVersion"),
        ("spdx", {"annotations": [{"annotationType": "GUESS"}]}, "$.annotations[0]"),
    ],
)
def test_what_the_schema_refuses_is_named(step: Step, kind: str, values: dict[str, Any], place: str) -> None:
    step.change(kind, **values)
    done = step.run()
    assert done.returncode == 1
    assert place in done.stderr
    assert not (step.folder / "out").exists()


def test_an_identifier_that_is_no_license_is_refused_through_the_referenced_schema(step: Step) -> None:
    license_ = {"license": {"id": "Not-A-License-1.0"}}
    step.change("cdx", components=[{"bom-ref": "a", "type": "library", "name": "a", "licenses": [license_]}])
    assert "$.components[0].licenses" in step.run().stderr


def test_a_signature_is_checked_through_the_referenced_schema(step: Step) -> None:
    step.change("cdx", signature={"algorithm": 7})
    assert "$.signature" in step.run().stderr


def test_denied_licenses_are_listed(step: Step) -> None:
    done = step.run(licenses={"deny": ["MIT"]})
    assert done.returncode == 1
    assert "github.com/beorn7/perks v1.0.1: the license MIT is refused" in done.stderr
    assert done.stderr.count("error: ") >= 3


def test_a_document_about_other_bytes_is_refused(step: Step) -> None:
    step.binary.write_bytes(b"other bytes")
    assert "is not about the file" in step.run().stderr
