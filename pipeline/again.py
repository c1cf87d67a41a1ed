"""The command that opens a shell in exactly the step that failed: everything that its digest depends on is in it."""

from __future__ import annotations

import os
import shlex
from argparse import Namespace
from collections.abc import Iterator

VARIABLES = ("FIPS_ENABLED", "SOURCE_DATE_EPOCH")
"""What a graph takes from the environment."""

PROGRAM = "PIPELINE_PROGRAM"
"""The variable in which `pipelinew` says how it was called."""

WORDS = {
    "home": "--home",
    "image": "--image",
    "pull_images": "--pull-images",
    "roots": "--roots",
    "product": "--product",
    "tag": "--tag",
    "source": "--source",
    "commit": "--commit",
    "snapshot": "--snapshot",
    "target": "--target",
    "variant": "--variant",
    "legs": "--from",
    "fips_module": "--fips-module",
    "require_openssl_fips": "--require-openssl-fips",
    "policy": "--policy",
    "scan_db": "--scan-db",
    "advisories": "--advisories",
    "signing_key": "--signing-key",
}
"""The options that decide what a step is, by the name that the parser keeps them under."""


def shell_command(options: Namespace, today: str, digest: str) -> str:
    """Return the command line for a shell in the step `digest` of a run with `options` on the day `today`."""
    settings = [f"{name}={shlex.quote(os.environ[name])}" for name in VARIABLES if os.environ.get(name)]
    words = [os.environ.get(PROGRAM, "pipeline"), "shell", *_words(options), "--today", today, digest]
    return " ".join([*settings, shlex.join(words)])


def _words(options: Namespace) -> Iterator[str]:
    for name, flag in WORDS.items():
        match getattr(options, name):
            case None | False | []:
                pass
            case True:
                yield flag
            case [*values]:
                for value in values:
                    yield from (flag, str(value))
            case value:
                yield from (flag, str(value))
