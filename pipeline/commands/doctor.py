"""`pipeline doctor`: everything that would stop a release on this machine, in one list."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import EngineError
from pipeline.project import home_folder

DISK_NEEDED = 12 << 30
"""Bytes: roots, toolchain, module caches, scanners and compiler caches of a first release."""
MEMORY_NEEDED = 3 << 30
"""Bytes: what compiling the scanners takes on two cores."""
PROGRAMS = {"bwrap": "bubblewrap", "git": "git", "gpg": "gnupg", "mmdebstrap": "mmdebstrap"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `mend` is empty when it is well."""

    subject: str
    found: str
    mend: str = ""


def run(options: Namespace) -> int:
    """Print every finding; return 12 when one of them would stop a release."""
    findings = [*machine(home_folder(options.home)), *release(options)]
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        print(f"{'ok  ' if not finding.mend else 'FAIL'}  {finding.subject:<{width}}  {finding.found}")
        if finding.mend:
            print(f"      {'':<{width}}  What to do: {finding.mend}")
    bad = sum(1 for finding in findings if finding.mend)
    print(f"{bad} of {len(findings)} checks failed" if bad else "this machine can make a release")
    return EngineError.exit_code if bad else 0


def machine(home: Path) -> Iterator[Finding]:
    """Yield what the embedded engine needs of the machine."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding("python", version)
    for program, package in PROGRAMS.items():
        path = shutil.which(program)
        yield Finding(program, path or "not found", "" if path else f"apt-get install {package}")
    yield _sandbox()
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    enough = "" if free >= DISK_NEEDED else f"free {DISK_NEEDED >> 30} GB below {existing}, or set PIPELINE_HOME"
    yield Finding("disk", f"{free / (1 << 30):.1f} GB free for {home}", enough)
    if not os.access(existing, os.W_OK):
        yield Finding("home", f"{existing} is not writable", "set PIPELINE_HOME to a folder of yours")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    less = "" if memory >= MEMORY_NEEDED else "compile the scanners on a larger machine, or use --pull-images"
    yield Finding("memory", f"{memory / (1 << 30):.1f} GB", less)


def _sandbox() -> Finding:
    bwrap = shutil.which("bwrap")
    if not bwrap:
        return Finding("sandbox", "not tried: bubblewrap is missing", "apt-get install bubblewrap")
    argv = [bwrap, "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    if done.returncode == 0:
        return Finding("sandbox", "namespaces of its own work")
    return Finding(
        "sandbox",
        (done.stderr.strip().splitlines() or ["bubblewrap failed"])[-1],
        "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone), or run as root",
    )


def release(options: Namespace) -> Iterator[Finding]:
    """Yield whether the release that was asked for can be planned at all: product, tag, source, policy, key."""
    if not options.tag:
        return
    import anyio

    from pipeline.errors import PipelineError
    from pipeline.keys import VARIABLE
    from pipeline.release import plan
    from pipeline.session import open_session
    from pipeline.stages.sbom import load_schemas

    session = open_session(options)
    try:
        context = anyio.run(session.context)
        plan(context, load_schemas(session.packaging))
        yield Finding("release", f"{context.product.name} {context.version} from {context.source.commit[:12]}")
        made = dt.datetime.fromtimestamp(context.epoch, dt.UTC)
        ahead = context.epoch - time.time()
        late = "set this machine's clock: signatures and expiry dates depend on it" if ahead > 0 else ""
        yield Finding(
            "clock", f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC, the source is of {made:%Y-%m-%d %H:%M}", late
        )
    except PipelineError as error:
        yield Finding("release", error.brief, error.resolution or "see the line above")
    if not (options.signing_key or os.environ.get(VARIABLE)):
        yield Finding("signing key", "none given: a development key would sign, which nobody should trust")
