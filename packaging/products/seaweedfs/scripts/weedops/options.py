"""`/etc/weed/<role>[-<n>].options`: further flags of weed, one `flag=value` per line."""

import re
from typing import Dict

from weedops.errors import ConfigError
from weedops.files import find, read_trusted
from weedops.paths import Paths
from weedops.settings import Instance

GLOBAL = ("v", "vmodule")
"""Flags that weed takes before the name of the role, and that an options file may hold."""


def options_file(paths: Paths, instance: Instance) -> str:
    """Return the options file that holds for `instance`, "" if there is none. One of its own replaces its role's."""
    return find(paths, instance, instance.role + ".options")


def read_options(paths: Paths, instance: Instance) -> Dict[str, str]:
    """Return the flags that the operator adds for `instance`. Raises ConfigError naming the line, or AccessError."""
    path = options_file(paths, instance)
    options: Dict[str, str] = {}
    for number, line in enumerate(read_trusted(path).splitlines() if path else [], 1):
        text = line.strip()
        if not text or text[0] == "#":
            continue
        name, equals, value = text.partition("=")
        name = name.strip().lstrip("-")
        if not equals or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.]*", name):
            raise ConfigError(f"{path}: line {number}: {text!r} is not flag=value", "example: garbageThreshold=0.2")
        if name in options:
            raise ConfigError(f"{path}: line {number}: {name} appears twice", "keep one of them")
        options[name] = value.strip()
    return options
