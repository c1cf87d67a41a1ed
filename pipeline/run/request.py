"""Everything that a person can ask for, on either face: each option once, with its documentation.

The parser's help, the arguments of the Dagger functions, the reference, and the command that an error suggests are all
made from `Request`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

from pipeline.publish.table import PUBLISHERS

if TYPE_CHECKING:
    import dagger  # not while a program runs that has no Dagger in it

FolderPlace: TypeAlias = "str | dagger.Directory"
FilePlace: TypeAlias = "str | dagger.File"
SecretPlace: TypeAlias = "str | dagger.Secret"
"""What a person names: a path on the command line, and on Dagger what it has for it. Each backend takes its own."""


class Kind(Enum):
    """What the value of an option is."""

    TEXT = "text"
    FLAG = "flag"
    NUMBER = "number"
    TEXTS = "texts"
    FILE = "file"
    FOLDER = "folder"
    FOLDERS = "folders"
    SECRET = "secret"  # noqa: S105 - the name of a kind


class Group(Enum):
    """Options that belong together. The value is their heading in the help."""

    WHAT = "what to release"
    HOW = "how to build"
    GATE = "scanning"
    SIGNING = "signing"
    DELIVERY = "delivery"
    PUBLISHING = "publishing"
    MACHINE = "this machine"
    IMAGES = "images of this call"


_LOOKED_AT = (Group.WHAT, Group.HOW, Group.GATE, Group.SIGNING)

VERBS: Mapping[str, tuple[Group, ...]] = {
    "release": (*_LOOKED_AT, Group.DELIVERY, Group.PUBLISHING),
    "build": (Group.WHAT, Group.HOW, Group.DELIVERY),
    "sbom": (Group.WHAT, Group.HOW, Group.DELIVERY),
    "scan": (Group.WHAT, Group.HOW, Group.GATE, Group.DELIVERY),
    "package": (Group.WHAT, Group.HOW, Group.GATE, Group.DELIVERY),
    "plan": _LOOKED_AT,
    "graph": _LOOKED_AT,
    "shell": _LOOKED_AT,
    "doctor": _LOOKED_AT,
    "bundle create": (Group.WHAT, Group.HOW, Group.GATE),
}
"""Which options each verb takes, on both faces. On Dagger, those of this machine belong to the module itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option. `flag` is its name on the command line and `argument` its name on Dagger, empty where it has none.

    `identity` tells that a step can be another one when the value is another one.
    """

    name: str
    default: Any
    group: Group
    kind: Kind
    text: str
    metavar: str
    flag: str
    argument: str
    choices: tuple[str, ...]
    identity: bool


_DEFAULTS: dict[Kind, Any] = {Kind.TEXT: "", Kind.FLAG: False, Kind.NUMBER: 0, Kind.TEXTS: (), Kind.FOLDERS: ()}


def option(
    group: Group,
    kind: Kind,
    text: str,
    *,
    default: Any = None,
    metavar: str = "",
    flag: str | None = None,
    argument: str | None = None,
    choices: tuple[str, ...] = (),
    identity: bool = True,
) -> Any:
    """Return the field of an option. `flag` and `argument` follow from the field's name unless they are given."""
    value = _DEFAULTS.get(kind) if default is None else default
    about = {"group": group, "kind": kind, "text": text, "metavar": metavar, "choices": choices, "identity": identity}
    return field(default=value, metadata={"option": {**about, "flag": flag, "argument": argument}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to release, and how. `fips_enabled` is the value of FIPS_ENABLED, empty when it is not set."""

    tag: str = option(Group.WHAT, Kind.TEXT, "the version, with or without v: v3.68, 4.44, v1.2.3-rc.1", metavar="TAG")
    product: str = option(Group.WHAT, Kind.TEXT, "a folder of packaging/products", default="seaweedfs", metavar="NAME")
    source: FolderPlace | None = option(
        Group.WHAT,
        Kind.FOLDER,
        "a repository or a directory, and on the command line also a git URL (default: the product's own repository)",
        metavar="WHERE",
    )
    repository: dagger.Directory | None = option(
        Group.WHAT,
        Kind.FOLDER,
        "the git repository of products that live in it (default: the one that the module was loaded from)",
        flag="",
        identity=False,
    )
    commit: str = option(Group.WHAT, Kind.TEXT, "the commit that a directory without .git was made from", metavar="SHA")
    accept_moved_tag: bool = option(
        Group.WHAT,
        Kind.FLAG,
        "accept that the tag names another commit than before",
        argument="",
        identity=False,
    )
    snapshot: bool = option(Group.WHAT, Kind.FLAG, "record what a release would refuse, and continue; not for shipping")
    targets: tuple[str, ...] = option(
        Group.HOW,
        Kind.TEXTS,
        "only this target; may be repeated",
        metavar="OS/ARCH",
        flag="--target",
        argument="target",
    )
    variants: tuple[str, ...] = option(
        Group.HOW,
        Kind.TEXTS,
        "only this variant; may be repeated",
        metavar="NAME",
        flag="--variant",
        argument="variant",
    )
    legs: tuple[FolderPlace, ...] = option(
        Group.HOW,
        Kind.FOLDERS,
        "take the binaries that `build` left in DIR on another machine; may be repeated",
        metavar="DIR",
        flag="--from",
        argument="leg",
    )
    fips_module: str = option(
        Group.HOW,
        Kind.TEXT,
        "the validated module of FIPS binaries: boringcrypto, or go (source of Go 1.24 or newer)",
        default="boringcrypto",
        choices=("boringcrypto", "go"),
    )
    require_openssl_fips: bool = option(Group.HOW, Kind.FLAG, "fail without an OpenSSL FIPS provider")
    policy: FilePlace | None = option(
        Group.GATE, Kind.FILE, "the gate's policy (default: the product's policy.toml)", metavar="FILE"
    )
    scan_db: FolderPlace | None = option(
        Group.GATE,
        Kind.FOLDER,
        "scanner databases: grype/, trivy/, govulncheck/ in DIR, instead of the vendors' feeds",
        metavar="DIR",
    )
    advisories: FolderPlace | None = option(
        Group.GATE, Kind.FOLDER, "OSV advisories to make the scanner databases from", metavar="DIR"
    )
    signing_key: SecretPlace | None = option(
        Group.SIGNING,
        Kind.SECRET,
        "OpenPGP private key; on the command line a file, or $PIPELINE_SIGNING_KEY holds it (default: a development "
        "key, which is not for shipping)",
        metavar="FILE",
    )
    timings: str = option(
        Group.DELIVERY,
        Kind.TEXT,
        "write to FILE, as JSON, how long each step took and whether it was cached",
        metavar="FILE",
        argument="",
        identity=False,
    )
    dist: str = option(
        Group.DELIVERY,
        Kind.TEXT,
        "the folder in which <version>/ is made",
        default="dist",
        metavar="DIR",
        argument="",
        identity=False,
    )
    publish: tuple[str, ...] = option(
        Group.PUBLISHING,
        Kind.TEXTS,
        f"also publish the release there; NAME is one of {', '.join(PUBLISHERS)}; may be repeated",
        metavar="NAME:WHERE",
        argument="",
        identity=False,
    )
    home: str = option(
        Group.MACHINE,
        Kind.TEXT,
        "store, images and logs (default: $PIPELINE_HOME or ~/.cache/pipeline)",
        metavar="DIR",
        argument="",
    )
    jobs: int = option(Group.MACHINE, Kind.NUMBER, "steps at once (default: one per core)", metavar="N", identity=False)
    image: tuple[str, ...] = option(
        Group.MACHINE,
        Kind.TEXTS,
        "use another image: an OCI reference, oci-archive:FILE or root-dir:DIR; may be repeated",
        metavar="NAME=WHERE",
        argument="",
    )
    pull_images: bool = option(
        Group.MACHINE, Kind.FLAG, "pull images instead of bootstrapping their roots", argument=""
    )
    roots: str = option(
        Group.MACHINE,
        Kind.TEXT,
        "without a registry, make the images for packages from Debian, which stands in for their distributions, or "
        "from the distributions' own archives",
        default="stand-in",
        choices=("stand-in", "distribution"),
        argument="",
    )
    locked: bool = option(
        Group.MACHINE, Kind.FLAG, "refuse images and toolchains that packaging/*.lock does not pin", identity=False
    )
    no_build_cache: bool = option(
        Group.MACHINE, Kind.FLAG, "compile without the compiler's cache", argument="", identity=False
    )
    go_proxy: str = option(Group.MACHINE, Kind.TEXT, "where steps with network get Go modules, as in GOPROXY", flag="")
    source_date_epoch: str = option(
        Group.MACHINE, Kind.TEXT, "the time of a directory without .git, in seconds since 1970", flag=""
    )
    images: dagger.Directory | None = option(
        Group.IMAGES,
        Kind.FOLDER,
        "a folder of `pipeline images export`, for an engine that reaches no registry",
        flag="",
    )
    today: str = field(default_factory=lambda: today())  # noqa: PLW0108 - tests replace it
    fips_enabled: str = ""


def today() -> str:
    """Return the day, YYYY-MM-DD, UTC."""
    return dt.datetime.now(dt.UTC).date().isoformat()


def _options() -> Iterator[Option]:
    for each in fields(Request):
        if about := each.metadata.get("option"):
            flag, argument = about["flag"], about["argument"]
            own = {
                "flag": f"--{each.name.replace('_', '-')}" if flag is None else flag,
                "argument": each.name if argument is None else argument,
            }
            yield Option(**{**about, **own, "name": each.name, "default": each.default})


OPTIONS: Mapping[str, Option] = {each.name: each for each in _options()}
"""Every option, by the name of its field."""


def options_of(*groups: Group) -> list[Option]:
    """Return the options of `groups`, in the order of the groups and then of the fields."""
    return [each for group in groups for each in OPTIONS.values() if each.group is group]
