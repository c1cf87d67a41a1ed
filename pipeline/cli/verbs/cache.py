"""`pipeline cache show`, `verify` and `prune`."""

from __future__ import annotations

import json
import re
import time
from argparse import Namespace
from dataclasses import asdict

import anyio

from pipeline.cli.terminal import show_table
from pipeline.engine.local.prune import Usage
from pipeline.engine.local.store import Store
from pipeline.errors import UsageError
from pipeline.host.folders import home_folder
from pipeline.roots.root import Roots

SHOWN = 15
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def show(options: Namespace) -> int:
    """Print what the store holds, and the largest entries."""
    home = home_folder(options.home)
    with Store(home) as store:
        entries = store.usage()
    if options.json:
        rows = [{**asdict(entry), "path": str(entry.path)} for entry in entries]
        print(json.dumps({"home": str(home), "entries": rows}, indent=2))
        return 0
    print(f"{home}")
    kinds = {kind: [entry for entry in entries if entry.kind == kind] for kind in sorted({e.kind for e in entries})}
    totals = [(kind, str(len(same)), size(sum(entry.size for entry in same))) for kind, same in kinds.items()]
    show_table(
        ("kind", ">entries", ">size"), totals, (f"  {kind:<6} {count:>6}  {taken:>9}" for kind, count, taken in totals)
    )
    largest = [
        (entry.digest[7:19], size(entry.size), f"{age(entry.used)} ago", entry.title)
        for entry in sorted(entries, key=lambda entry: -entry.size)[:SHOWN]
    ]
    plain = (f"  {digest:<12}  {taken:>9}  {used:>13}  {title}" for digest, taken, used, title in largest)
    show_table(("largest", ">size", ">used", "title"), largest, plain)
    return 0


def verify(options: Namespace) -> int:
    """Read every entry and drop those that are damaged; they are made again when they are needed."""
    with Store(home_folder(options.home)) as store:
        dropped = store.verify()
        left = sum(1 for entry in store.usage() if entry.kind != "cache")
    for digest in dropped:
        print(f"dropped {digest}")
    print(f"{len(dropped)} damaged entries dropped, {left} are intact")
    return 0


def prune(options: Namespace) -> int:
    """Remove what was not used for the longest time until the rest fits."""
    home = home_folder(options.home)
    with Store(home) as store:
        removed: list[Usage] = store.prune(limit=parse_size(options.keep))
    print(f"removed {len(removed)} entries, {size(sum(entry.size for entry in removed))}")
    if options.all:
        roots = Roots(home)
        for record in sorted(roots.folder.glob("*/root.json")):
            anyio.run(roots.remove, record.parent.name)
            print(f"removed image {record.parent.name[:12]}")
    return 0


def parse_size(text: str) -> int:
    """Return the bytes that `500M` or `10G` (powers of 1024) mean. Raises UsageError."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise UsageError(f"{text!r} is not a size", resolution="write it like 500M or 10G")
    return int(float(match[1]) * UNITS[match[2].upper()])


def size(count: float) -> str:
    """Return a number of bytes as people read it, in powers of 1024."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def age(used: float) -> str:
    """Return how long ago `used`, in seconds since 1970, was."""
    seconds = max(0.0, time.time() - used)
    for limit, unit in ((60, "s"), (3600, "min"), (86400, "h")):
        if seconds < limit:
            return f"{seconds / (limit // 60 if unit != 'h' else 3600):.0f} {unit}"
    return f"{seconds / 86400:.0f} days"
