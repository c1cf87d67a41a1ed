"""The door to the reader of TOML, because Python has one of its own only from 3.11 on.

It is tomli 1.2.3, the last release for Python 3.6, unchanged and with its license in `_vendor/tomli`. From
4.00 on, weed continues without an optional file that it cannot parse, which switches off what the file demands. So the
launcher parses each file first, with a reader that refuses whatever the specification (TOML 1.0) does not allow.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "_vendor"))  # it imports itself by its name

from tomli import TOMLDecodeError, loads

__all__ = ["TOMLDecodeError", "loads"]
