"""What is kept of a run of govulncheck: what can be called, in an order that does not vary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.programs.scan import govulncheck
from pipeline.programs.scan.scan_documents import Govulncheck, ModuleFinding, VulnerabilityDatabase

UUID = {"module": "github.com/google/uuid", "version": "v1.6.0"}
METHOD = {**UUID, "package": "github.com/google/uuid", "function": "Scan", "receiver": "*github.com/google/uuid.UUID"}
STREAM: list[dict[str, Any]] = [
    {"config": {"db_last_modified": "2026-01-15T00:00:00Z", "go_version": "go1.26.8"}},
    {"progress": {"message": "Fetching vulnerabilities from the database..."}},
    {"osv": {"id": "GO-1", "aliases": ["CVE-1"], "summary": "Weak", "database_specific": {"url": "https://e.test/1"}}},
    {"osv": {"id": "GO-2"}},
    {"finding": {"osv": "GO-2", "trace": [{"module": "stdlib", "version": "v1.26.8"}]}},
    {"finding": {"osv": "GO-1", "fixed_version": "v1.6.1", "trace": [UUID]}},
    {"finding": {"osv": "GO-1", "trace": [METHOD, {"module": "main"}]}},
    {"finding": {"osv": "GO-1", "trace": [{**UUID, "package": "github.com/google/uuid", "function": "New"}]}},
    {"finding": {"osv": "GO-1", "trace": [{**UUID, "package": "github.com/google/uuid"}]}},
]


def test_a_stream_of_values_is_read_to_its_end() -> None:
    text = " " + "\n".join(json.dumps(message, indent=2) for message in STREAM) + "\n"
    assert list(govulncheck.messages(text)) == STREAM
    assert list(govulncheck.messages("")) == []
    with pytest.raises(ValueError, match="Expecting"):
        list(govulncheck.messages(text[:-4]))


def test_the_nearest_level_counts_and_names_what_is_called() -> None:
    expected = ModuleFinding(
        ids=("CVE-1", "GO-1"), module="github.com/google/uuid", version="v1.6.0", fixed_in="v1.6.1", title="Weak",
        url="https://e.test/1", level="symbol",
        symbols=("github.com/google/uuid.New", "github.com/google/uuid.UUID.Scan"),
    )  # fmt: skip
    result = govulncheck.summary(STREAM, "1.6.0")
    database = VulnerabilityDatabase("2026-01-15T00:00:00Z")
    assert result.scanner == Govulncheck("govulncheck", "1.6.0", "go1.26.8", database)
    first, second = result.findings
    assert first == expected
    assert (second.module, second.level, second.symbols) == ("stdlib", "module", ())
    again = govulncheck.summary([*STREAM[:4], *reversed(STREAM[4:])], "1.6.0")
    assert again.findings[0].symbols == expected.symbols


def results(folder: Path) -> dict[str, Any]:
    binary = govulncheck.CheckedBinary("weed", (), {"GOOS": "linux"})
    govulncheck.main(govulncheck.Parameters("/", ".", (binary,), folder, folder / "out"))
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("out/*/govulncheck.json")}


def test_a_run_without_a_database_is_a_result_that_says_so(tmp_path: Path) -> None:
    assert results(tmp_path) == {"weed": {"failed": "it has no database", "findings": []}}


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("echo 'no such module' >&2; exit 3", "go exited with 3: no such module"),
        ("kill -9 $$", "go was killed by signal 9: is there too little memory?"),
    ],
)
def test_a_program_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, said: str) -> None:
    (tmp_path / "v1" / "index").mkdir(parents=True)
    (tmp_path / "v1" / "index" / "modules.json").write_text("[]")
    (tmp_path / "go").write_text(f"#!/bin/sh\n{does}\n")
    (tmp_path / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert results(tmp_path) == {"weed": {"failed": said, "findings": []}}


@pytest.mark.parametrize(
    "version", ["go1.26.11", "go1.26.11-X:boringcrypto", "go1.26.11 X:boringcrypto", "go1.26.11\n"]
)
def test_the_version_of_go_is_told_without_experiments(version: str) -> None:
    assert govulncheck.without_experiments(version) == "go1.26.11"
