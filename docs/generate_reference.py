"""Writes docs/reference.md from the command line's own help: `.venv/bin/python docs/generate_reference.py`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.cli.parser import EPILOG, build_parser

INTRODUCTION = """\
# Reference

Made from the program's own help by `docs/generate_reference.py`; a test compares the two.

## Files

| file | what it says |
|---|---|
| `packaging/products/<name>/product.toml` | what the product is and how it is built |
| `packaging/products/<name>/policy.toml` | what closes the gate, what is accepted, until when and by whom |
| `packaging/products/<name>/Makefile`, `deb/`, `rpm/` … | what its packages are made from ([Extending](extending.md)) |
| `packaging/images.toml`, `images.lock` | the environments that steps run in, and the digests of their references |
| `packaging/tools/` | the Go modules that the scanners are built from, pinned by `go.sum` |
| `dist/<version>/` | a finished release; it appears whole or not at all |
| `dist/<version>-rejected/` | the scan reports of a release that the gate refused |

## Environment

| variable | meaning |
|---|---|
| `PIPELINE_HOME` | store, images, logs and keys of this machine (default: `~/.cache/pipeline`) |
| `PIPELINE_DEBIAN_MIRROR` | mirrors of Debian for roots, one per line (default: Debian's own, with security updates) |
| `PIPELINE_<NAME>_MIRROR` | with `--roots distribution`: another URL of that distribution's archive |
| `PIPELINE_<NAME>_KEYRING` | the file with the keys that sign it; `UBUNTU`, `ORACLE_LINUX_8`, `ORACLE_LINUX_9` |
| `PIPELINE_PROJECT` | the checkout whose `packaging/` is used (default: the one with the program) |
| `PIPELINE_SIGNING_KEY` | the OpenPGP private key, armored or base64, when `--signing-key` names no file |
| `FIPS_ENABLED` | `true`: only FIPS variants; `false`: only the others; unset: both |
| `HTTPS_PROXY`, `NO_PROXY`, `GOPROXY`, `SSL_CERT_FILE`, … | passed only to steps that may use the network |

## Commands
"""


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parser of every command, in the order of the help."""
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001
    if not actions:
        yield parser
    for action in actions:
        for child in action.choices.values():
            yield from leaves(child)


def reference() -> str:
    """Return the text of docs/reference.md."""
    os.environ["COLUMNS"] = "80"
    commands = [f"### `{p.prog}`\n\n```text\n{p.format_help().rstrip()}\n```\n" for p in leaves(build_parser())]
    return "\n".join([INTRODUCTION, *commands, "## Exit codes\n\n```text\n" + EPILOG.rstrip() + "\n```\n"])


if __name__ == "__main__":
    Path(__file__).with_name("reference.md").write_text(reference(), encoding="utf-8")
