"""`pipeline doctor`: everything that would stop a release on this machine, in one list."""

from __future__ import annotations

import datetime as dt
import os
import shlex
import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pipeline.cli.terminal import show_table
from pipeline.errors import EngineError, PipelineError
from pipeline.host.bubblewrap import bwrap
from pipeline.host.folders import home_folder
from pipeline.host.process import run_sync

if TYPE_CHECKING:
    from pipeline.run.walk import Walk

Result = TypeVar("Result")

DISK_NEEDED = 12 << 30
"""Bytes: roots, toolchain, module caches, scanners and compiler caches of a first release."""
MEMORY_NEEDED = 3 << 30
"""Bytes: what compiling the scanners takes on two cores."""
OTHER_KEY = "give another with --signing-key or $PIPELINE_SIGNING_KEY; `pipeline keygen` makes one"
PROGRAMS = {"bwrap": "bubblewrap", "git": "git", "gpg": "gnupg", "mmdebstrap": "mmdebstrap"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `fix` is empty if there is no problem."""

    subject: str
    found: str
    fix: str = ""


def run(options: Namespace) -> int:
    """Print every finding; return 12 when one of them would stop a release."""
    findings = [*machine(home_folder(options.home)), *release(options)]
    width = max(len(finding.subject) for finding in findings)
    cells: list[tuple[str, str, str]] = []
    for finding in findings:
        cells.append(("FAIL" if finding.fix else "ok", finding.subject, finding.found))
        cells += [("", "", f"What to do: {finding.fix}")] if finding.fix else []
    plain = (f"{state:<4}  {subject:<{width}}  {found}" for state, subject, found in cells)
    show_table(("", "", ""), cells, plain)
    bad = sum(1 for finding in findings if finding.fix)
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
        yield Finding("home", f"{existing} is not writable", "set PIPELINE_HOME to a folder that you can write to")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    less = "" if memory >= MEMORY_NEEDED else "compile the scanners on a larger machine, or use --pull-images"
    yield Finding("memory", f"{memory / (1 << 30):.1f} GB", less)


def _sandbox() -> Finding:
    if not shutil.which("bwrap"):
        return Finding("sandbox", "not tried: bubblewrap is missing", "apt-get install bubblewrap")
    mounts = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc")
    argv = bwrap(("true",), mounts, cwd="/", apart=("--unshare-user", "--unshare-cgroup-try"), network=False)
    done = run_sync(argv, timeout=60.0, check=False)
    if done.timed_out:
        return Finding(
            "sandbox", "bubblewrap did not end within 60 s", f"run it by hand to see where it stops: {shlex.join(argv)}"
        )
    if done.code == 0:
        return Finding("sandbox", "namespaces work")
    return Finding(
        "sandbox",
        (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["bubblewrap failed"])[-1],
        "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone), or run as root",
    )


def release(options: Namespace) -> Iterator[Finding]:
    """Yield all that is wrong with what a release is made from (product, tag, policy, source) and with its key.

    Without a tag, only the key and the product's files are checked.
    """
    from pipeline.cli.running import opened
    from pipeline.config.policy import load_policy
    from pipeline.config.product import load_product
    from pipeline.host.folders import packaging_folder
    from pipeline.model.version import parse_tag
    from pipeline.stages.table import stages_of

    with ExitStack() as stack:
        run, problems = _tried("images", lambda: stack.enter_context(opened(options)))
        product = None
        if run:
            folder = packaging_folder() / "products" / options.product
            product, wrong = _tried("product", lambda: load_product(folder))
            problems += wrong
            problems += _tried("product", lambda: stages_of(product))[1] if product else []
            place = Path(options.policy) if options.policy else folder / "policy.toml"
            problems += _tried("policy", lambda: load_policy(place))[1] if product or options.policy else []
            problems += _skopeo(run.backend.catalog.elsewhere())
        if product and options.tag:
            problems += _tried("tag", lambda: parse_tag(options.tag, product.version.scheme))[1]
        yield from problems
        if run and options.tag:
            known = {problem.found for problem in problems}
            yield from (finding for finding in _planned(run.walk) if finding.found not in known)
    yield from signing_key(options, rpms=product is not None and "rpm" in product.stages)


def _skopeo(images: list[str]) -> list[Finding]:
    """Return what is wrong with getting `images` from registries or archives."""
    if not images or shutil.which("skopeo"):
        return []
    return [Finding("skopeo", f"not found, and it gets the images {', '.join(images)}", "apt-get install skopeo")]


def _tried(subject: str, work: Callable[[], Result]) -> tuple[Result | None, list[Finding]]:
    """Return what `work` returns, or what was found when it raised a PipelineError."""
    try:
        return work(), []
    except PipelineError as error:
        return None, [Finding(subject, error.brief, error.resolution or "correct it: see the line above")]


def _planned(walk: Walk[Path]) -> Iterator[Finding]:
    import anyio

    context, problems = _tried("release", lambda: anyio.run(walk.context))
    if context:
        problems = _tried("release", lambda: walk.release(context))[1]
    yield from problems
    if context is None or problems:
        return
    yield Finding("release", f"{context.product.name} {context.version} from {context.source.commit[:12]}")
    made = dt.datetime.fromtimestamp(context.epoch, dt.UTC)
    ahead = context.epoch - time.time()
    late = "set this machine's clock: signatures and expiry dates depend on it" if ahead > 0 else ""
    yield Finding(
        "clock", f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC, the source is from {made:%Y-%m-%d %H:%M}", late
    )


def signing_key(options: Namespace, *, rpms: bool) -> Iterator[Finding]:
    """Yield what the key that would sign is, and all that would stop it; with `rpms` it has to sign RPMs, too."""
    import anyio

    from pipeline.signing import keys
    from pipeline.signing.check import examine

    home = home_folder(options.home)
    given = bool(options.signing_key or os.environ.get(keys.VARIABLE))
    if not given and not keys.development_key(home).exists():
        yield Finding("signing key", "none given; a development key would sign, which is not for shipping")
        return
    if not shutil.which("gpg"):
        yield Finding("signing key", "not looked at: gpg is missing", "apt-get install gnupg")
        return
    key, problems = _tried("signing key", lambda: anyio.run(keys.find_key, options.signing_key, home))
    yield from problems
    if key is None:
        return
    examined = examine(key, rpms=rpms)
    for problem in examined.problems:
        public = Path(key.origin).with_suffix(".pub.asc").name
        again = f"remove {key.origin} and {public} beside it; the next release makes others"
        yield Finding("signing key", f"{key.origin}: {problem}", again if key.development else OTHER_KEY)
    if not examined.problems:
        what = "none given; this machine's development key would sign, which is not for shipping: " if not given else ""
        yield Finding("signing key", f"{what}{examined.fingerprint} {examined.user_id}")
