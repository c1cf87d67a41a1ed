"""Step: one container function as a value."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

from pipeline.model.identity import Identified, identify
from pipeline.model.image import Image
from pipeline.model.tree import BASE_EPOCH, Output, Tree, check_path

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
MAX_EPOCH = 2**33
WORK = "/work"
"""Where a step's program starts, in every engine."""
PRIVATE = (WORK, "/run", "/tmp", "/var/tmp")
"""What a step's program may write besides `/out`, in every engine: empty, private, and gone afterwards."""


TODAY = "TODAY"
"""The variable with the date, in ISO 8601, that the engine was told. Only a step that runs once a day has it."""


class Caching(Enum):
    """When an earlier result of a step is as good as a run."""

    BY_DIGEST = "by-digest"
    """When the digests are the same."""
    DAILY = "daily"
    """When the digests and the days are the same: a feed, a verdict by entries that expire. No digest has the day."""
    NEVER = "never"
    """Never: the result depends on what no digest covers, such as a secret's value."""


class Effect(Enum):
    """What a step does to the world outside of it."""

    NONE = "none"
    """Nothing."""
    PUBLISH = "publish"
    """Changes it, over the network, and is safe to repeat. Never cached."""


class ExitCode(Enum):
    """What the program's exit code means."""

    MUST_BE_ZERO = "must-be-zero"
    """Another code fails the step."""
    IS_DATA = "is-data"
    """Codes below 126 are a result: the engine writes the number, in decimal, to `/out/exit-code`."""


@dataclass(frozen=True, slots=True)
class Cache:
    """A directory that survives between runs to save time and never to change a result. `key` shares it."""

    mount: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step(Identified):
    """One program run in one image, read-only inputs in, `/out` out, and no other effect.

    The program sees its inputs at `/in/<name>`, starts in `/work`, and writes its result to `/out`. Besides `/out`
    it may write the directories of PRIVATE and those of `caches`, and nothing else of its root: not the image, not
    `/in`, not `/dev` (docs/dagger.md names the exception). Its environment is `env`, plus `PATH` from the image,
    `SOURCE_DATE_EPOCH` from `epoch` and, in a step that runs once a day, `TODAY`, and nothing else. A secret named `x`
    is the file `/run/secrets/x`. It reaches no network unless `network` says so.

    `title` is what people read and not part of the identity. `epoch`, in seconds since 1970, becomes the
    modification time of all outputs. `outputs` are paths that must exist below `/out` when the program has
    ended. `timeout` is in seconds, and not part of the identity either; nor is `expected_seconds`, the wall
    time to announce for a step that takes minutes (0: say nothing).
    """

    title: str
    image: Image = field(repr=False)
    argv: tuple[str, ...]
    inputs: tuple[tuple[str, Tree], ...] = field(default=(), repr=False)
    env: tuple[tuple[str, str], ...] = ()
    caches: tuple[Cache, ...] = ()
    secrets: tuple[str, ...] = ()
    network: bool = False
    caching: Caching = Caching.BY_DIGEST
    effect: Effect = Effect.NONE
    exit_code: ExitCode = ExitCode.MUST_BE_ZERO
    platform: str = "linux/amd64"
    epoch: int = BASE_EPOCH
    outputs: tuple[str, ...] = ()
    timeout: float = 3600.0
    expected_seconds: float = 0.0
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        self._check()
        fields = {
            "image": self.image.digest,
            "argv": list(self.argv),
            "inputs": [[name, tree.digest] for name, tree in self.inputs],
            "env": [list(pair) for pair in self.env],
            "caches": [[cache.mount, cache.key] for cache in self.caches],
            "secrets": list(self.secrets),
            "network": self.network,
            "caching": self.caching.value,
            "effect": self.effect.value,
            "exit_code": self.exit_code.value,
            "platform": self.platform,
            "epoch": self.epoch,
            "outputs": list(self.outputs),
        }
        object.__setattr__(self, "digest", identify("step/2", fields))

    def _check(self) -> None:
        if type(self.argv) is not tuple or not self.argv:
            raise ValueError(f"{self.title}: argv is a tuple with at least the program")
        if any("\0" in text for text in (*self.argv, *(value for _, value in self.env))):
            raise ValueError(f"{self.title}: a NUL byte cannot be passed to a program")
        for names, pattern in (
            ([name for name, _ in self.inputs], _NAME),
            (list(self.secrets), _NAME),
            ([name for name, _ in self.env], _VARIABLE),
        ):
            if names != sorted(set(names)) or not all(pattern.match(name) for name in names):
                raise ValueError(f"{self.title}: names must be sorted, unique and plain: {names}")
        reserved = {"PATH", "SOURCE_DATE_EPOCH", TODAY} & {name for name, _ in self.env}
        if reserved:
            raise ValueError(f"{self.title}: {', '.join(sorted(reserved))} is set by the engine")
        for path in self.outputs:
            check_path(path)
        for cache in self.caches:
            check_path(cache.mount.removeprefix("/"))
        if not 0 <= self.epoch < MAX_EPOCH:
            raise ValueError(f"{self.title}: epoch {self.epoch} is not a time in seconds")
        self._check_effect()

    def _check_effect(self) -> None:
        if self.effect is Effect.PUBLISH and not self.network:
            raise ValueError(f"{self.title}: what publishes needs the network")
        if self.effect is Effect.PUBLISH and self.caching is not Caching.NEVER:
            raise ValueError(f"{self.title}: what publishes is never cached, or it would be left undone")

    @property
    def out(self) -> Output:
        """What the step leaves behind, as a tree."""
        return Output(self)

    def environment(self, today: str) -> dict[str, str]:
        """Return the whole environment that the program sees; `today` is the day that the engine was told."""
        day = {TODAY: today} if self.caching is Caching.DAILY else {}
        return {**dict(self.env), **day, "PATH": ":".join(self.image.path), "SOURCE_DATE_EPOCH": str(self.epoch)}
