"""Runs several commands of the AWS CLI in one process, since starting it takes ten seconds under emulation.

Reads a JSON list of argument lists, and writes `[[exit code, output], …]`. Nothing is replaced: this is what
/usr/bin/aws calls, once for each list.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys


def main() -> None:
    driver = importlib.import_module("awscli.clidriver")  # the machine's; the host has none
    results = []
    for arguments in json.load(sys.stdin):
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            code = driver.create_clidriver().main(arguments)
        results.append([code, text.getvalue()])
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
