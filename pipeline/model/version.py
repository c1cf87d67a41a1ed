"""Versions: what a tag means to git, to file names, to packages and to ordering."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

import semver

from pipeline.errors import VersionError

MAX_LENGTH = 64
"""In characters. A tag becomes part of file names, package names and headers that have limits of their own."""

_TAG = re.compile(
    r"(?P<prefix>v?)"
    r"(?P<release>[0-9]{1,9}\.[0-9]{1,9}(?:\.[0-9]{1,9})?)"
    r"(?:-(?P<prerelease>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
    r"(?:\+(?P<build>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)
_PADDED = re.compile(r"0[0-9]+")
_COMPARATOR = re.compile(r"(?P<operator>>=|<=|==|!=|<|>)\s*(?P<bound>\S+)")
_ALLOWED = re.compile(r"[0-9A-Za-z.+-]")


class Scheme(Enum):
    """How a product numbers its releases."""

    SEMVER = "semver"
    """`MAJOR.MINOR.PATCH` after Semantic Versioning 2.0.0: three numbers, none of them padded."""
    DOTTED = "dotted"
    """Two or three numbers that may be padded with zeros, as in `4.07`; padding is kept and never counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version, and how each consumer of it writes it.

    `tag` is what was asked for. `release` is the numbers alone, exactly as upstream pads them; `prerelease` and
    `build` are what follows `-` and `+`, without those signs.
    """

    tag: str
    release: str
    prerelease: str = ""
    build: str = ""
    semver: semver.Version = field(repr=False, compare=False)

    @property
    def number(self) -> str:
        """The version without a leading `v`, exactly as upstream writes it: `4.07`, `1.2.3-rc.1+meta`."""
        pre = f"-{self.prerelease}" if self.prerelease else ""
        return self.release + pre + (f"+{self.build}" if self.build else "")

    @property
    def prefixed(self) -> bool:
        """Whether the tag was given with a leading `v`."""
        return self.tag.startswith("v")

    @property
    def is_prerelease(self) -> bool:
        """Whether this comes before the release of the same number."""
        return bool(self.prerelease)

    @property
    def file(self) -> str:
        """The version in file names and URLs: `+` means a space in a query string, so it becomes `_`."""
        return self.number.replace("+", "_")

    @property
    def deb(self) -> str:
        """The upstream version of a Debian package, without epoch and revision (Debian Policy 5.6.12).

        `~` sorts before everything, the end of the string included, so `1.2.3~rc.1` comes before `1.2.3`. A hyphen
        would begin the revision, so one inside the pre-release becomes a dot.
        """
        return self._packaged()

    @property
    def rpm(self) -> str:
        """The `Version` tag of an RPM; `~` sorts before the release since rpm 4.10, and `-` is not allowed."""
        return self._packaged()

    @property
    def rpm_release(self) -> str:
        """The `Release` tag of an RPM without the distribution's suffix: how often this version was packaged."""
        return "1"

    def _packaged(self) -> str:
        pre = f"~{self.prerelease}" if self.prerelease else ""
        return (self.release + pre + (f"+{self.build}" if self.build else "")).replace("-", ".")

    def git_ref(self, style: str) -> str:
        """Return the name of the git tag; `style` is the product's, `v{version}` or `{version}`."""
        return style.replace("{version}", self.number)

    def __str__(self) -> str:
        return self.number


def parse_tag(tag: str, scheme: Scheme = Scheme.DOTTED) -> Version:
    """Return the version that `tag` names, with or without a leading `v`.

    Raises VersionError for anything else, before the text has been near a process, a path or a template.
    """
    reason = _refusal(tag)
    match = None if reason else _TAG.fullmatch(tag)
    if match is None:
        raise _malformed(tag, reason or "it is not two or three numbers joined by dots", scheme)
    numbers = match["release"].split(".")
    if scheme is Scheme.SEMVER:
        if len(numbers) != 3:
            raise _malformed(tag, "it has two numbers where three are needed", scheme)
        padded = next((number for number in numbers if _PADDED.fullmatch(number)), None)
        if padded:
            raise _malformed(tag, f"{padded} is padded with a zero", scheme)
    prerelease = match["prerelease"] or ""
    padded = next((part for part in prerelease.split(".") if _PADDED.fullmatch(part)), None)
    if padded:
        raise _malformed(tag, f"{padded} in its pre-release is padded with a zero", scheme)
    major, minor, patch = (int(number) for number in (*numbers, "0")[:3])
    order = semver.Version(major, minor, patch, prerelease or None, match["build"])
    return Version(tag=tag, release=match["release"], prerelease=prerelease, build=match["build"] or "", semver=order)


def version_of_ref(ref: str, style: str, scheme: Scheme) -> Version | None:
    """Return the version that the git tag `ref` stands for in the product's style, or None if for none."""
    before, _, after = style.partition("{version}")
    if not (ref.startswith(before) and ref.endswith(after)) or len(ref) <= len(before) + len(after):
        return None
    try:
        version = parse_tag(ref[len(before) : len(ref) - len(after)], scheme)
    except VersionError:
        return None
    return None if version.prefixed else version


def in_range(version: Version, text: str, scheme: Scheme) -> bool:
    """Return whether `version` is inside a range such as `>=3.90,<4.00`; an empty range holds every version.

    A pre-release has the code of the release it leads to, so `3.90-rc.1` is inside `>=3.90`, unless the bound is a
    pre-release itself. Raises VersionError for a range that cannot be read.
    """
    return all(_holds(version, operator, bound) for operator, bound in parse_range(text, scheme))


def parse_range(text: str, scheme: Scheme) -> tuple[tuple[str, Version], ...]:
    """Return the comparators of a range, each as its operator and its bound.

    Raises VersionError for a range that cannot be read.
    """
    comparators = []
    for part in text.split(",") if text.strip() else ():
        match = _COMPARATOR.fullmatch(part.strip())
        if match is None:
            raise VersionError(
                f"{show(part)} is not a version comparison",
                resolution="write comparisons joined by commas, such as `>=3.90,<4.00`; "
                "the operators are >= <= == != < >",
            )
        comparators.append((match["operator"], parse_tag(match["bound"], scheme)))
    return tuple(comparators)


def _holds(version: Version, operator: str, bound: Version) -> bool:
    order = version.semver if bound.is_prerelease else version.semver.finalize_version()
    sign = order.compare(bound.semver)
    match operator:
        case ">=":
            return sign >= 0
        case "<=":
            return sign <= 0
        case "==":
            return sign == 0
        case "!=":
            return sign != 0
        case "<":
            return sign < 0
        case _:
            return sign > 0


def show(text: str) -> str:
    """Return hostile text in quotes, escaped and shortened, so that it is safe on a terminal and in a log."""
    short = text if len(text) <= MAX_LENGTH else text[:MAX_LENGTH] + "..."
    return ascii(short)


def _refusal(tag: str) -> str:
    if not tag:
        return "it is empty"
    if len(tag) > MAX_LENGTH:
        return f"it is longer than {MAX_LENGTH} characters"
    for position, character in enumerate(tag, 1):
        if not _ALLOWED.match(character):
            return f"{character!a} (character {position}) cannot be part of a version"
    return "it begins with a capital V" if tag.startswith("V") else ""


def _malformed(tag: str, reason: str, scheme: Scheme) -> VersionError:
    forms = "v1.2.3 or 1.2.3-rc.1" if scheme is Scheme.SEMVER else "v3.68, 3.68, v4.44.1 or 4.07-rc.1"
    return VersionError(f"{show(tag)} is not a version: {reason}", resolution=f"write it as {forms}")
