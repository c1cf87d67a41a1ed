"""Root file systems of a distribution itself, from its own signed packages, for machines that reach no registry.

Ubuntu's are made by mmdebstrap, as Debian's are; Oracle Linux's by `dnf --installroot`. Signatures are always enforced.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from pipeline.config.images import ImageSpecs
from pipeline.config.mirror import Archive
from pipeline.errors import ImageError
from pipeline.host.bubblewrap import bwrap
from pipeline.host.content import remove_tree
from pipeline.host.process import Completed, environment, find_program, run
from pipeline.model.identity import identify
from pipeline.model.tree import BASE_EPOCH
from pipeline.roots.bootstrap import INHERITED, TIMEOUT, Recipe, bootstrap, clean
from pipeline.roots.package_manager import as_root
from pipeline.roots.root import Facts, Progress, Root, Roots, make_mount_points

HISTORY = ("var/lib/dnf", "var/lib/rpm")
"""Databases that say when packages were installed, in the format of the rpm that installed them, not the root's own."""

MACROS = """\
%_dbpath /var/lib/rpm
%_pkgverify_level signature
"""
"""Of rpm: its database is where the distribution has it (Debian's rpm has another place), and no package is installed
without a signature that verifies, whatever dnf has been told."""

QUERY = "%{NAME}.%{ARCH}=%{VERSION}-%{RELEASE}\\n"

_CAUSES = (
    (
        r"GPG|gpg|signature|not signed|NOKEY|key is not",
        "not signed by a key of {keyring}: name the keyring of the distribution in {keyring_variable}",
    ),
    (
        r"Cannot download|Curl error|Failed to download|Cannot prepare internal mirrorlist|Could not resolve",
        "check the network and the proxy settings (http_proxy), or name a mirror in {mirror_variable}",
    ),
    (
        r"No match for argument|Unable to find a match|nothing provides",
        "correct the packages of this image in images.toml",
    ),
    (r"No space left on device|disk space", "make room, or set PIPELINE_HOME to a folder on a larger disk"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rpms:
    """A root to make with dnf: everything that decides what it holds, except for the state of the repositories."""

    name: str
    title: str
    archive: Archive
    packages: tuple[str, ...]
    mounts: tuple[str, ...]

    @property
    def key(self) -> str:
        """The digest that names the root's folder."""
        archive = self.archive
        repositories = [[name, each.path, each.signed_metadata] for name, each in sorted(archive.repositories.items())]
        place = [archive.mirror, archive.keyring, archive.release, archive.platform]
        return identify("root-dnf/1", [place, repositories, sorted(self.packages), list(self.mounts)])


def distribution_of(specs: ImageSpecs, name: str, environ: Mapping[str, str]) -> Recipe | Rpms:
    """Return how the image `name` is made from its distribution. Raises ConfigError for a variable that is wrong."""
    spec = specs.image(name)
    assert spec.distribution is not None
    archive = spec.distribution.replaced(environ)
    packages = (*archive.packages, *spec.packages)
    if archive.manager == "dnf":
        return Rpms(name=name, title=spec.reference, archive=archive, packages=packages, mounts=specs.mounts)
    components = " ".join(archive.components)
    sources = (f"deb [signed-by={archive.keyring}] {archive.mirror} {suite} {components}" for suite in archive.suites)
    return Recipe(
        name=name,
        suite=archive.suites[0],
        components=archive.components,
        packages=packages,
        exclude=specs.slim.exclude,
        keep=specs.slim.keep,
        mounts=specs.mounts,
        title=spec.reference,
        sources=tuple(sources),
        keyring=archive.keyring,
        variables=archive.variables,
    )


async def make_distribution(recipe: Recipe | Rpms, roots: Roots, *, progress: Progress) -> Root:
    """Return the root of `recipe`, made now if this machine has none.

    Raises ImageError saying what is missing on this machine, or what the package manager said.
    """
    keyring = Path(recipe.keyring if isinstance(recipe, Recipe) else recipe.archive.keyring)
    if not roots.find(recipe.key) and not keyring.is_file():
        variables = recipe.variables if isinstance(recipe, Recipe) else recipe.archive.variables
        raise ImageError(
            f"the keys of {recipe.title} are not on this machine: {keyring} does not exist",
            resolution=f"get the distribution's keys from a place that you trust, and name the file in {variables[1]}",
        )
    if isinstance(recipe, Recipe):
        return await bootstrap(recipe, roots, mirrors=recipe.sources, progress=progress)

    async def build(rootfs: Path) -> Facts:
        return await _install(recipe, rootfs, progress)

    return await roots.make(recipe.key, build, progress=progress)


def configuration(recipe: Rpms, keyring: Path) -> str:
    """Return dnf's configuration (dnf.conf(5)): these repositories, and none of this machine's."""
    lines = ["[main]", "gpgcheck=1", "localpkg_gpgcheck=1", "sslverify=1", "plugins=0", "best=1", "retries=3"]
    lines += ["install_weak_deps=0", "tsflags=nodocs", "keepcache=0", "reposdir=/nonexistent", "varsdir=/nonexistent"]
    if recipe.archive.platform:
        lines.append(f"module_platform_id={recipe.archive.platform}")
    for name, each in sorted(recipe.archive.repositories.items()):
        lines += ["", f"[{name}]", f"name={name}", f"baseurl={recipe.archive.mirror}/{each.path}", "enabled=1"]
        lines += ["gpgcheck=1", f"repo_gpgcheck={int(each.signed_metadata)}", f"gpgkey={keyring.as_uri()}"]
    return "\n".join([*lines, ""])


def command(recipe: Rpms, rootfs: Path, work: Path) -> list[str]:
    """Return the command line that installs the packages in a sandbox where only `rootfs` and `work` can be written."""
    dnf = find_program("dnf", error=ImageError)
    options = [f"--config={work / 'dnf.conf'}", f"--installroot={rootfs}", f"--releasever={recipe.archive.release}"]
    options += [f"--setopt=cachedir={work / 'cache'}", f"--setopt=logdir={work}", "--assumeyes"]
    argv = (dnf, *options, "install", *recipe.packages)
    return _sandbox(rootfs, work, *argv)


def _sandbox(rootfs: Path, work: Path, *argv: str) -> list[str]:
    """Return the command line that runs a program of this machine as root, with devices and processes in `rootfs`."""
    mounts = ["--ro-bind", "/", "/", "--tmpfs", "/tmp", "--bind", str(rootfs.parent), str(rootfs.parent)]
    mounts += ["--dev", "/dev", "--dev", str(rootfs / "dev"), "--proc", str(rootfs / "proc"), "--proc", "/proc"]
    return as_root(bwrap(argv, mounts, cwd=work), rootfs)


async def _install(recipe: Rpms, rootfs: Path, progress: Progress) -> Facts:
    work = rootfs.parent / "work"
    work.mkdir()
    for name in ("dev", "proc"):
        (rootfs / name).mkdir()
    keyring = Path(shutil.copyfile(recipe.archive.keyring, work / "keyring"))
    (work / "dnf.conf").write_text(configuration(recipe, keyring), encoding="utf-8")
    (work / ".rpmmacros").write_text(MACROS, encoding="ascii")
    variables = environment(*INHERITED, HOME=str(work), TMPDIR=str(work), SOURCE_DATE_EPOCH=str(BASE_EPOCH))
    progress(f"making the root file system of {recipe.title} ({len(recipe.packages)} packages and what they need)")
    argv = command(recipe, rootfs, work)
    done = await run(argv, env=variables, timeout=TIMEOUT, sink=lambda _: None, check=False, error=ImageError)
    if done.code or done.timed_out:
        raise _failure(recipe, done)
    listed = await run(_query(rootfs, work), env=variables, timeout=TIMEOUT, error=ImageError)
    version = await run(("dnf", "--version"), env=variables, error=ImageError)
    lines = sorted(line for line in listed.text.splitlines() if "=" in line and not line.startswith("gpg-pubkey."))
    return await anyio.to_thread.run_sync(_finish, recipe, rootfs, work, tuple(lines), version.text.split()[0])


def _query(rootfs: Path, work: Path) -> list[str]:
    rpm = find_program("rpm", error=ImageError)
    return _sandbox(rootfs, work, rpm, f"--root={rootfs}", "--query", "--all", f"--queryformat={QUERY}")


def _finish(recipe: Rpms, rootfs: Path, work: Path, packages: tuple[str, ...], version: str) -> Facts:
    clean(rootfs)
    for name in HISTORY:
        for path in (rootfs / name).glob("*"):
            remove_tree(path) if path.is_dir() else path.unlink()
    remove_tree(work)
    make_mount_points(rootfs, recipe.mounts)
    places = (f"{recipe.archive.mirror}/{each.path}" for each in recipe.archive.repositories.values())
    return Facts(origin=recipe.title, packages=packages, snapshot=tuple(sorted(places)), made_with=f"dnf {version}")


def _failure(recipe: Rpms, done: Completed) -> ImageError:
    lines = done.output.decode("utf-8", "replace").strip().splitlines()
    evidence = "\n".join(lines[-20:])
    mirror_variable, keyring_variable = recipe.archive.variables
    known = {
        "keyring": recipe.archive.keyring,
        "keyring_variable": keyring_variable,
        "mirror_variable": mirror_variable,
    }
    advice = next((advice for pattern, advice in _CAUSES if re.search(pattern, evidence)), "read the output above")
    took = f" within {TIMEOUT:g} seconds" if done.timed_out else ""
    return ImageError(
        f"dnf could not make the root file system of {recipe.title}{took}",
        details=evidence,
        resolution=advice.format(**known),
    )
