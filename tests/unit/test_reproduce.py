"""Comparing two folders of one release, and what is stated about it."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from pathlib import Path

from pipeline.cli.options import from_command_line
from pipeline.cli.parser import build_parser
from pipeline.cli.verbs.reproduce import Recorded
from pipeline.model.image import Base, Image
from pipeline.programs.sign.release_index import AboutImage
from pipeline.release.compare import (
    Compared,
    Outcome,
    compare,
    difference_of,
    failed,
    result_of,
    statement,
    summary,
    without_signature,
)
from pipeline.run.local import parse_overrides
from tests.documents import check_statement, example_index

SOURCE = replace(example_index().source, commit="c" * 40, url="https://git.example.org/weed")


def folder(path: Path, **files: str) -> Path:
    path.mkdir()
    for name, text in files.items():
        (path / name.replace("_", ".")).write_text(text)
    return path


def rpm(signature: bytes, rest: bytes) -> bytes:
    """Return an RPM with one entry of `signature` in its signature header."""
    header = struct.pack(">4s4xII16s", b"\x8e\xad\xe8\x01", 1, len(signature), b"entry") + signature
    return b"\xed\xab\xee\xdb".ljust(96, b"\0") + header + b"\0" * (-(len(header)) % 8) + rest


def test_the_images_of_registries_are_those_that_the_release_records() -> None:
    digest = "sha256:" + "a" * 64
    reference = f"docker.io/library/debian:x@{digest}"
    pinned = f"docker.io/library/debian:y@{digest}"
    images = (
        AboutImage("bootstrap", "d", "go", digest, reference, resolved=True, stands_in_for="", layers=()),
        AboutImage("go", "d", "go", digest, reference, resolved=True, stands_in_for="", layers=()),
        AboutImage("debian", "d", "debian", digest, pinned, resolved=False, stands_in_for="", layers=()),
        AboutImage("rpm-ol9", "d", "rpm-ol9", digest, "", resolved=False, stands_in_for="", layers=()),
    )
    recorded = Recorded(Path("release"), replace(example_index(), images=images), "F" * 40)
    options = build_parser().parse_args(["reproduce", "release", "--image", "debian=bootstrap", "--locked"])
    again = recorded.request(from_command_line(options))
    assert again.locked
    assert parse_overrides(again.image) == {"go": reference, "debian": "bootstrap"}
    base = Base("go", digest, reference=reference)
    found = recorded.as_recorded({"go": Image("go", base), "debian": Image("debian", base)})
    assert {name: image.base.resolved for name, image in found.items()} == {"go": True, "debian": False}
    assert found["go"] == Image("go", base)


def test_signatures_are_not_compared_and_everything_else_is(tmp_path: Path) -> None:
    one = folder(tmp_path / "1", a="x", b="x", gone="x", left="x", a_asc="1", SHA256SUMS_gpg="1")
    two = folder(tmp_path / "2", a="x", b="yx", more="x", left="y", a_asc="2")
    found = {r.name: (r.outcome.value, r.found) for r in compare(one, two, skipped={"left": "left out"})}
    assert found == {
        "a": ("PASSED", ""),
        "b": ("FAILED", "differs from byte 0 on (1 bytes, again 2)"),
        "gone": ("FAILED", "was not made again"),
        "left": ("WARNED", "left out"),
        "more": ("FAILED", "is not in the release"),
    }


def test_an_rpm_is_compared_without_its_signature(tmp_path: Path) -> None:
    content = b"header and payload" * 9
    for length in range(1, 20):
        assert without_signature(rpm(b"s" * length, content)) == content
    (tmp_path / "a.rpm").write_bytes(rpm(b"one signature", content))
    (tmp_path / "b.rpm").write_bytes(rpm(b"two", content))
    assert difference_of(tmp_path / "a.rpm", tmp_path / "b.rpm") == ""
    (tmp_path / "b.rpm").write_bytes(rpm(b"two", content + b"!"))
    assert "again" in difference_of(tmp_path / "a.rpm", tmp_path / "b.rpm")
    (tmp_path / "c").write_bytes(rpm(b"one signature", content))
    (tmp_path / "d").write_bytes(rpm(b"two", content))
    assert difference_of(tmp_path / "c", tmp_path / "d")
    assert without_signature(b"short") == b"short"
    assert without_signature(b"\0" * 200) == b"\0" * 200


def results(**outcomes: Outcome) -> tuple[Compared, ...]:
    return tuple(Compared(name=name, sha256="1" * 64, outcome=outcome) for name, outcome in outcomes.items())


def test_the_worst_file_decides() -> None:
    passed, warned, bad = Outcome.PASSED, Outcome.WARNED, Outcome.FAILED
    assert result_of(results(a=passed, b=passed)) is passed
    assert result_of(results(a=passed, b=warned)) is warned
    assert result_of(results(a=passed, b=warned, c=bad)) is bad
    assert result_of(()) is bad


def test_the_statement_names_every_file_its_digest_and_the_source(tmp_path: Path) -> None:
    release = folder(tmp_path / "1", release_json="{}")
    made = statement(results(a=Outcome.PASSED, b=Outcome.FAILED), release=release, source=SOURCE)
    check_statement(made)
    assert made["_type"] == "https://in-toto.io/Statement/v1"
    assert made["subject"] == [{"name": name, "digest": {"sha256": "1" * 64}} for name in "ab"]
    predicate = made["predicate"]
    assert (predicate["result"], predicate["passedTests"], predicate["failedTests"], predicate["warnedTests"]) == (
        "FAILED", ["rebuild a"], ["rebuild b"], [],
    )  # fmt: skip
    assert predicate["configuration"] == [
        {"name": "release.json", "digest": {"sha256": hashlib.sha256(b"{}").hexdigest()}},
        {"name": "source", "digest": {"gitTree": "a" * 40, "gitCommit": "c" * 40}, "uri": SOURCE.url},
    ]


def test_people_read_what_differs_and_how_to_look_closer(tmp_path: Path) -> None:
    bad = Compared(name="b", sha256="1" * 64, outcome=Outcome.FAILED, found="was not made again")
    everything = (*results(a=Outcome.PASSED), bad)
    assert "1 of 2 files are the same" in summary(everything)
    error = failed(everything, release=Path("dist/1"), kept=Path("dist/1-rebuilt"))
    assert (error.exit_code, error.details) == (10, "  b was not made again")
    assert "diffoscope dist/1/b dist/1-rebuilt/b" in error.resolution
