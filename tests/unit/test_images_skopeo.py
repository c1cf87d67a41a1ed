"""What skopeo's messages mean, as the versions of Debian 11, 12 and 13 printed them (data/skopeo.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.oci import skopeo
from pipeline.oci.reference import NoSuchImageError, Reference

CASES = json.loads((Path(__file__).parents[1] / "data" / "skopeo.json").read_text("utf-8"))
REFERENCE = Reference.parse("127.0.0.1:5000/a/b:c")


def kind(output: str) -> str:
    """Return which kind of failure skopeo's `output` is taken for."""
    error = skopeo.failure(REFERENCE, skopeo._fatal(output))
    if isinstance(error, NoSuchImageError):
        return "absent"
    if isinstance(error, skopeo._PassingError):
        return "passes"
    return "refused" if "refuses access" in error.brief else "other"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_every_version_says_the_same_in_its_own_words(case: dict[str, Any]) -> None:
    assert case["output"].keys() == {"1.2.2", "1.9.3", "1.18.0"}
    for output in case["output"].values():
        assert kind(output) == case["kind"], output


def test_what_a_registry_writes_into_its_answer_does_not_decide() -> None:
    line = 'level=fatal msg="reading manifest b in a: StatusCode: 403, reading manifest b in a: manifest unknown"'
    assert kind(line) == "refused"


def test_the_last_message_is_shown_as_it_was_meant() -> None:
    (page,) = (case["output"]["1.2.2"] for case in CASES if case["case"] == "404, a page")
    assert skopeo._fatal(page).endswith('StatusCode: 404, <html>\n<p>"Not Found"</p>\n</html>')
    assert skopeo._fatal(" panic: x\n") == "panic: x"
    assert skopeo._fatal("level=fatal msg=oops") == "oops"


def test_progress_is_told_layer_by_layer() -> None:
    told: list[str] = []
    sink = skopeo._lines(told.append)
    for chunk in (
        b"Getting image source signatures\nCopying bl",
        b"ob sha256:0d2d2886d408dfd2\nCopying config",
        b" x\n",
    ):
        sink(chunk)
    assert told == ["fetching layer 1 (0d2d2886d408)"]
