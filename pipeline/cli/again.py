"""The command that opens a shell in exactly the step that failed: everything that its digest depends on is in it."""

from __future__ import annotations

import os
import shlex

from pipeline.cli.options import command_words
from pipeline.run.request import Request

VARIABLES = ("FIPS_ENABLED", "SOURCE_DATE_EPOCH")
"""What a graph takes from the environment."""

PROGRAM = "PIPELINE_PROGRAM"
"""The variable in which `pipelinew` says how it was called."""


def shell_command(request: Request, digest: str) -> str:
    """Return the command line for a shell in the step `digest` of what `request` asks for."""
    settings = [f"{name}={shlex.quote(os.environ[name])}" for name in VARIABLES if os.environ.get(name)]
    program = os.environ.get(PROGRAM, "pipeline")
    words = [program, "shell", *command_words(request, "shell"), "--today", request.today, digest]
    return " ".join([*settings, shlex.join(words)])
