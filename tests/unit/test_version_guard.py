"""The version guard: every problem at once, and the tag that was probably meant."""

from __future__ import annotations

import pytest

from pipeline.errors import VersionError
from pipeline.model.guard import check_version, near_tags, require_version
from pipeline.model.version import Scheme, parse_tag

TAGS = ("3.33", "v3.33", "3.67", "3.68", "4.07", "4.09", "4.12", "4.44", "dev", "helm-3.65.1")


def test_a_good_tag_has_no_problem() -> None:
    for tag in ("v4.44", "4.44"):
        assert check_version(tag, style="{version}", current=["dev", "4.44"], tags=TAGS, dirty=[]) == ()
    assert check_version("v4.44", require_prefix=True) == ()
    assert check_version("v4.44", current=["refs/tags/v4.44"], style="v{version}") == ()
    # A pipeline's own repository may write its tags otherwise than the product's.
    assert check_version("v4.44", current=["refs/tags/v4.44"], style="{version}") == ()
    require_version("v4.44", ())


def test_all_problems_are_found_at_once() -> None:
    problems = check_version(
        "4.45", style="{version}", require_prefix=True, current=["4.44"], tags=TAGS, dirty=["a b", "c\nd"]
    )
    briefs = [problem.brief for problem in problems]
    assert briefs[0] == "4.45 has no leading v"
    assert briefs[1] == "4.45 is not checked out; '4.44' is"
    assert briefs[2] == "the repository has no tag 4.45"
    assert briefs[3] == r"the working tree differs from its commit: a b, c\nd"
    assert all(problem.resolution for problem in problems)
    with pytest.raises(VersionError, match="for 4 reasons") as caught:
        require_version("4.45", problems)
    assert all(brief in caught.value.details for brief in briefs)


def test_a_malformed_tag_still_reports_the_rest() -> None:
    problems = check_version("v1;rm -rf", tags=TAGS, dirty=["x"])
    assert len(problems) == 2
    assert "is not a version" in problems[0].brief
    assert "working tree" in problems[1].brief


def test_one_problem_is_the_error_itself() -> None:
    problems = check_version("4.44", require_prefix=True)
    with pytest.raises(VersionError, match=r"^4\.44 has no leading v") as caught:
        require_version("4.44", problems)
    assert caught.value.resolution == "give it as v4.44"


@pytest.mark.parametrize(
    ("current", "brief"),
    [
        ([], "the checked-out commit has no tag"),
        (["refs/heads/main"], "not checked out; 'refs/heads/main' is"),
        (["v4.4"], "'v4.4'"),
    ],
)
def test_the_tag_must_be_the_one_that_is_checked_out(current: list[str], brief: str) -> None:
    (problem,) = check_version("v4.44", style="v{version}", current=current)
    assert brief in problem.brief


def test_a_missing_v_is_named_as_the_reason() -> None:
    (problem,) = check_version("v4.44", style="v{version}", tags=["4.44"])
    assert problem.brief == "the repository has no tag v4.44, but it has 4.44"
    assert 'source.tag = "{version}"' in problem.resolution
    (problem,) = check_version("4.44", style="{version}", tags=["v4.44"])
    assert 'source.tag = "v{version}"' in problem.resolution


def test_no_tags_at_all_hints_at_a_shallow_clone() -> None:
    (problem,) = check_version("4.44", style="{version}", tags=[])
    assert "shallow" in problem.resolution


@pytest.mark.parametrize(
    ("wanted", "first"),
    [("4.7", ["4.07"]), ("4.10", ["4.09", "4.12"]), ("4.45", ["4.44"]), ("3.66", ["3.33", "3.67"]), ("44.4", ["4.44"])],
)
def test_the_nearest_tags_come_first(wanted: str, first: list[str]) -> None:
    found = near_tags(parse_tag(wanted), style="{version}", scheme=Scheme.DOTTED, tags=TAGS)
    assert list(found[: len(first)]) == first
    assert len(found) <= 5
