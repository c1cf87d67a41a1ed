"""Reproduction: two folders with the same release, file by file, and the statement about what came of it.

Signatures are not compared: only the owner of the key can make them. The same holds for the signature inside of an RPM,
which is cut out before two of them are compared.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pipeline.errors import VerificationError
from pipeline.programs.sign.release_index import AboutSource

PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"
SIGNATURES = (".asc", ".gpg")
LEAD = 96
"""Bytes of an RPM's lead (RPM package format 4, "Lead"), which has no meaning any more."""
HEADER = struct.Struct(">4s4xII")
MAGIC = b"\x8e\xad\xe8\x01"
ENTRY = 16
"""Bytes of one entry in the index of an RPM header."""


class Outcome(Enum):
    """What became of one file, in the words of the test-result predicate."""

    PASSED = "PASSED"
    WARNED = "WARNED"
    """Not compared."""
    FAILED = "FAILED"


TESTS = {"passedTests": Outcome.PASSED, "warnedTests": Outcome.WARNED, "failedTests": Outcome.FAILED}
"""The lists of the predicate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One file of the release, and what became of it; `found` is for people."""

    name: str
    sha256: str
    outcome: Outcome
    found: str = ""


def files_of(release: Path) -> tuple[str, ...]:
    """Return the names of the files of a release, sorted, without signatures and keys."""
    return tuple(sorted(path.name for path in release.iterdir() if not path.name.endswith(SIGNATURES)))


def compare(release: Path, rebuilt: Path, *, skipped: Mapping[str, str]) -> tuple[Compared, ...]:
    """Return what became of every file of `release`, and of those that only `rebuilt` has.

    `skipped` says why a file is not compared.
    """
    names, again = files_of(release), set(files_of(rebuilt))
    results = []
    for name in names:
        outcome, found = Outcome.PASSED, ""
        if name in skipped:
            outcome, found = Outcome.WARNED, skipped[name]
        elif name not in again:
            outcome, found = Outcome.FAILED, "was not made again"
        elif difference := difference_of(release / name, rebuilt / name):
            outcome, found = Outcome.FAILED, difference
        results.append(Compared(name=name, sha256=sha256_of(release / name), outcome=outcome, found=found))
    for name in sorted(again - set(names)):
        digest = sha256_of(rebuilt / name)
        results.append(Compared(name=name, sha256=digest, outcome=Outcome.FAILED, found="is not in the release"))
    return tuple(results)


def difference_of(one: Path, two: Path) -> str:
    """Return what tells two files apart, for people; an empty string when nothing does."""
    left, right = one.read_bytes(), two.read_bytes()
    if one.suffix == ".rpm":
        left, right = without_signature(left), without_signature(right)
    if left == right:
        return ""
    at = next((at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    sizes = f"{len(left)} bytes" if len(left) == len(right) else f"{len(left)} bytes, again {len(right)}"
    return f"differs from byte {at} on ({sizes})"


def without_signature(data: bytes) -> bytes:
    """Return an RPM without its lead and its signature header: the header and the payload that the signature is over.

    (RPM package format 4: the signature header is padded to 8 bytes.) Another file is returned as it is.
    """
    if len(data) < LEAD + HEADER.size:
        return data
    magic, entries, size = HEADER.unpack_from(data, LEAD)
    if magic != MAGIC:
        return data
    end = LEAD + HEADER.size + entries * ENTRY + size
    return data[end + -end % 8 :]


def sha256_of(path: Path) -> str:
    """Return the file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def result_of(results: Iterable[Compared]) -> Outcome:
    """Return what became of the whole: the worst of its files."""
    order = (Outcome.FAILED, Outcome.WARNED, Outcome.PASSED)
    return min((result.outcome for result in results), key=order.index, default=Outcome.FAILED)


def statement(results: Iterable[Compared], *, release: Path, source: AboutSource) -> dict[str, Any]:
    """Return the in-toto statement: every file, by digest, and whether it came out the same again.

    `source` is that of `release.json`. Statement: https://in-toto.io/Statement/v1; predicate: test-result v0.1.
    """
    from google.protobuf.json_format import MessageToDict
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
    from in_toto_attestation.v1.statement import Statement

    results = tuple(results)
    digest = {"gitTree": source.tree.removeprefix("git-tree:")}
    if source.commit:
        digest["gitCommit"] = source.commit
    index = ResourceDescriptor(name="release.json", digest={"sha256": sha256_of(release / "release.json")})
    configuration = (index, ResourceDescriptor(name="source", uri=source.url, digest=digest))
    tests = {
        name: [f"rebuild {result.name}" for result in results if result.outcome is outcome]
        for name, outcome in TESTS.items()
    }
    predicate = {
        "result": result_of(results).value,
        "configuration": [MessageToDict(each.pb) for each in configuration],
        **tests,
    }
    subjects = [ResourceDescriptor(name=each.name, digest={"sha256": each.sha256}).pb for each in results]
    made = Statement(subjects, PREDICATE, predicate)
    made.validate()
    told: dict[str, Any] = MessageToDict(made.pb)
    return told


def rows(results: Iterable[Compared]) -> list[tuple[str, str, str]]:
    """Return the results for people: what became of a file, its name, why or its digest."""
    words = {Outcome.PASSED: "same", Outcome.WARNED: "not compared", Outcome.FAILED: "DIFFERS"}
    return [(words[result.outcome], result.name, result.found or result.sha256[:16]) for result in results]


def summary(results: Sequence[Compared]) -> str:
    """Return how many files are the same, in a line."""
    same = sum(1 for result in results if result.outcome is Outcome.PASSED)
    return f"{same} of {len(results)} files are the same, bit for bit, except for signatures"


def failed(results: Iterable[Compared], *, release: Path, kept: Path) -> VerificationError:
    """Return the error for a release that did not come out the same; `kept` has the rebuilt files that differ."""
    bad = [result for result in results if result.outcome is Outcome.FAILED]
    first = bad[0].name
    return VerificationError(
        f"{release} cannot be reproduced from its source: {len(bad)} files differ",
        details="\n".join(f"  {result.name} {result.found}" for result in bad[:12]),
        resolution=f"look closer with `diffoscope {release / first} {kept / first}`; the rebuilt files are in {kept}",
    )
