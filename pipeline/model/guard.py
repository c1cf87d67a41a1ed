"""The version guard: everything that must hold of a tag before it is released, all problems at once."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pipeline.errors import VersionError
from pipeline.model.version import Scheme, Version, parse_tag, show, version_of_ref

_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason not to release, and what to do about it."""

    brief: str
    resolution: str


def check_version(
    tag: str,
    *,
    scheme: Scheme = Scheme.DOTTED,
    style: str = "v{version}",
    require_prefix: bool = False,
    current: Collection[str] | None = None,
    tags: Collection[str] | None = None,
    dirty: Sequence[str] | None = None,
) -> tuple[Problem, ...]:
    """Return everything that is wrong with releasing `tag`, nothing if it may be released.

    Each of the last three is checked only if given. `current` is the tags of the checked-out commit, or the ref that
    a CI system started for (`refs/tags/v3.68`); it may be written as `tag` is or as the product's repository does,
    because a pipeline may be started by a tag of its own repository. `tags` is every tag of the repository. `dirty`
    is the paths that differ from the commit.
    """
    try:
        version = parse_tag(tag, scheme)
    except VersionError as error:
        return (Problem(brief=error.brief, resolution=error.resolution), *_dirty(dirty))
    ref = version.git_ref(style)
    problems = []
    if require_prefix and not version.prefixed:
        problems.append(Problem(brief=f"{tag} has no leading v", resolution=f"give it as v{version.number}"))
    if current is not None and {tag, ref}.isdisjoint(name.removeprefix("refs/tags/") for name in current):
        problems.append(_not_current(ref, current))
    if tags is not None and ref not in tags:
        problems.append(unknown_tag(version, style=style, scheme=scheme, tags=tags))
    return (*problems, *_dirty(dirty))


def require_version(tag: str, problems: Sequence[Problem]) -> None:
    """Raise VersionError naming every problem, if there is any."""
    if not problems:
        return
    if len(problems) == 1:
        raise VersionError(problems[0].brief, resolution=problems[0].resolution)
    lines = [f"  - {problem.brief}: {problem.resolution}" for problem in problems]
    raise VersionError(
        f"{show(tag)} cannot be released, for {len(problems)} reasons",
        details="\n".join(lines),
        resolution="correct each of them; `pipeline version check` repeats these checks without building",
    )


def unknown_tag(version: Version, *, style: str, scheme: Scheme, tags: Collection[str]) -> Problem:
    """Return the problem that the repository lacks the tag, saying whether the `v` or the padding was the reason."""
    ref = version.git_ref(style)
    brief = f"the repository has no tag {ref}"
    if not tags:
        return Problem(
            brief=f"{brief}, nor any other",
            resolution="fetch the tags (`git fetch --tags`) or push the tag; a shallow clone has none",
        )
    for other in ("{version}", "v{version}"):
        if version.git_ref(other) in tags:
            return Problem(
                brief=f"{brief}, but it has {version.git_ref(other)}",
                resolution=f'the leading v is the difference: set source.tag = "{other}" in the product',
            )
    near = near_tags(version, style=style, scheme=scheme, tags=tags)
    return Problem(brief=brief, resolution=f"the nearest tags are {', '.join(near)}")


def near_tags(version: Version, *, style: str, scheme: Scheme, tags: Collection[str]) -> tuple[str, ...]:
    """Return the few tags that somebody who asked for `version` may have meant, the likeliest first.

    The same numbers written otherwise (`4.7` for `4.07`) come first, then the neighbours in order, then a similar
    spelling.
    """
    wanted = version.semver
    known = {tag: found for tag in tags if (found := version_of_ref(tag, style, scheme))}
    same = [tag for tag, found in known.items() if found.semver.finalize_version() == wanted.finalize_version()]
    ordered = sorted(known, key=lambda tag: known[tag].semver)
    below = [tag for tag in ordered if known[tag].semver < wanted][-1:]
    above = [tag for tag in ordered if known[tag].semver > wanted][:1]
    similar = difflib.get_close_matches(version.git_ref(style), sorted(tags), n=_SHOWN, cutoff=0.7)
    likely = dict.fromkeys([*sorted(same), *below, *above, *similar, *reversed(ordered), *sorted(tags)])
    return tuple(likely)[:_SHOWN]


def _not_current(ref: str, current: Collection[str]) -> Problem:
    if not current:
        return Problem(
            brief=f"the checked-out commit has no tag, so it is not {ref}", resolution=f"`git checkout {ref}` first"
        )
    names = ", ".join(show(name.removeprefix("refs/tags/")) for name in sorted(current)[:_SHOWN])
    return Problem(
        brief=f"{ref} is not checked out; {names} is",
        resolution=f"`git checkout {ref}`, or release the tag that is checked out",
    )


def _dirty(paths: Sequence[str] | None) -> tuple[Problem, ...]:
    if not paths:
        return ()
    names = ", ".join(show(path)[1:-1] for path in paths[:_SHOWN])
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return (
        Problem(
            brief=f"the working tree differs from its commit: {names}{more}",
            resolution="commit or remove these changes; a release is made of what is committed",
        ),
    )
