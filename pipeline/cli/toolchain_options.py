"""The words of `pipeline toolchains`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Verb = Callable[[Any, str, str, str], argparse.ArgumentParser]
"""Adds one verb: the parsers it goes to, its name, its help, its handler."""


def add_toolchains(verbs: Any, verb: Verb) -> None:
    """Add `toolchains list` and `toolchains lock`."""
    toolchains = verbs.add_parser("toolchains", help="the Go toolchains that compile releases")
    actions = toolchains.add_subparsers(dest="action", metavar="ACTION", required=True)
    verb(actions, "list", "list the toolchain of each minor version of Go", "toolchains:show")
    text = "look up the newest patch of each minor version, with its sum, and write packaging/toolchains.lock"
    lock = verb(actions, "lock", text, "toolchains:lock")
    lock.add_argument(
        "--check", action="store_true", help="only check whether the lock is up to date; exit with 6 if not"
    )
