"""Every error that a person can cause or must act on: what happened, where, and what to do next.

One exit code per kind, so that a CI job can tell a closed gate from a broken machine without reading text.
"""

from __future__ import annotations

from typing import ClassVar


class PipelineError(Exception):
    """Base of the errors that `main()` prints without a traceback.

    `brief` is one line saying what happened and where; `details` is evidence (the end of a log, the
    offending key); `resolution` is the next thing to do, `usual` what that is where nothing better is known.
    """

    exit_code: ClassVar[int] = 1
    usual: ClassVar[str] = ""

    def __init__(self, brief: str, *, details: str = "", resolution: str = "") -> None:
        super().__init__(brief)
        self.brief = brief
        self.details = details
        self.resolution = resolution or self.usual

    def __str__(self) -> str:
        parts = [self.brief]
        if self.details:
            parts.append(self.details.rstrip("\n"))
        if self.resolution:
            parts.append(f"What to do: {self.resolution}")
        return "\n".join(parts)


class UsageError(PipelineError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_code = 2


class VersionError(PipelineError):
    """A tag or version is malformed, does not match, or does not exist."""

    exit_code = 3


class ConfigError(PipelineError):
    """A product, policy or image file is invalid."""

    exit_code = 4


class SourceError(PipelineError):
    """The source is not available, or is not the requested one."""

    exit_code = 5


class ImageError(PipelineError):
    """An image that a step runs in is not available on this machine."""

    exit_code = 6
    usual = (
        "use another image with --image NAME=WHERE, or ask its publisher to make it again; "
        "`pipeline images list` says where each comes from"
    )


class StepFailedError(PipelineError):
    """A step's program failed, was killed, or did not leave what it promised.

    `digest` is the step's, `said` the end of the program's output, `log` the file with all of it; empty if not known.
    """

    exit_code = 7

    def __init__(
        self,
        brief: str,
        *,
        details: str = "",
        resolution: str = "",
        digest: str = "",
        output: tuple[str, ...] = (),
        log: str = "",
    ) -> None:
        super().__init__(brief, details=details, resolution=resolution)
        self.digest = digest
        self.output = output
        self.log = log


class GateClosedError(PipelineError):
    """The policy refuses the release: findings, or a scanner database that proves nothing."""

    exit_code = 8


class SigningError(PipelineError):
    """A signing key is missing, unusable, or not the one that was promised."""

    exit_code = 9


class VerificationError(PipelineError):
    """A finished release does not check out."""

    exit_code = 10


class StoreError(PipelineError):
    """The store cannot be read or written: a full disk, missing rights, an unusable folder."""

    exit_code = 11


class EngineError(PipelineError):
    """The engine itself cannot work here: no user namespaces, no bubblewrap, no Dagger engine."""

    exit_code = 12
    usual = (
        "if product.toml names it (source.module, build.package, archive.files), correct it there; otherwise a stage "
        "of this project asks for something that cannot be: please report it, with this message"
    )


class PublishError(PipelineError):
    """A publisher refused or lost an artifact."""

    exit_code = 13
