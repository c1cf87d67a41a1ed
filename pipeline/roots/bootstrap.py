"""Root file systems made from Debian's packages with mmdebstrap, for machines that reach no container registry."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from pipeline.config.images import ImageSpecs, pick
from pipeline.errors import ImageError
from pipeline.host.content import remove_tree
from pipeline.host.process import Completed, environment, find_program, run
from pipeline.model.identity import identify
from pipeline.model.tree import BASE_EPOCH
from pipeline.roots.root import Facts, Progress, Root, Roots, inside, make_mount_points

TIMEOUT = 3600.0
"""Seconds that mmdebstrap may take: a slow mirror is slow, a dead one is not waited for all day."""

INHERITED = ("APT_CONFIG", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")

_FIELD = re.compile(r"^(Package|Version|Architecture|Status): (.*)$", re.MULTILINE)
_RELEASE = re.compile(r"^(Codename|Date): (.*)$", re.MULTILINE)

_CAUSES = (
    (
        r"NO_PUBKEY|not signed|public key is not available",
        "the archive's signature cannot be checked: {keyring}",
    ),
    (
        r"Could not resolve|Could not connect|Unable to connect|Connection timed out|Temporary failure|Failed to fetch",
        "check the network and the proxy settings (http_proxy), or name a mirror in {mirror_variable}",
    ),
    (r"Unable to locate package|has no installation candidate", "correct the packages of this root in images.toml"),
    (r"No space left on device", "make room, or set PIPELINE_HOME (and TMPDIR) to a folder on a larger disk"),
    (
        r"[Uu]nshare|newuidmap|user namespace",
        "allow user namespaces (on Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0), or do this as root",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides what a bootstrapped root holds, except for the state of Debian's archive."""

    name: str
    suite: str
    components: tuple[str, ...]
    packages: tuple[str, ...]
    exclude: tuple[str, ...]
    keep: tuple[str, ...]
    mounts: tuple[str, ...]
    title: str = ""
    """The distribution, when it is not Debian; then `sources` has its archive, with the keyring that signs it."""
    sources: tuple[str, ...] = ()
    keyring: str = ""
    variables: tuple[str, str] = ("PIPELINE_DEBIAN_MIRROR", "")
    """Which variables of the environment name another mirror and keyring."""

    @property
    def key(self) -> str:
        """The digest that names the root's folder."""
        listed = [sorted(part) for part in (self.components, self.packages, self.mounts)]
        fields = [self.suite, *listed, list(self.exclude), list(self.keep)]
        return identify("root-apt/1", [*fields, list(self.sources)]) if self.sources else identify("root/1", fields)


def recipe_of(specs: ImageSpecs, name: str) -> Recipe:
    """Return the recipe of the root `name` of images.toml."""
    spec = pick(specs.roots, name, "root")
    return Recipe(
        name=name,
        suite=spec.suite,
        components=spec.components,
        packages=spec.packages,
        exclude=(*specs.slim.exclude, *spec.exclude),
        keep=(*specs.slim.keep, *spec.keep),
        mounts=specs.mount_points(name),
    )


def debian_mirrors(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the mirrors that PIPELINE_DEBIAN_MIRROR names, one per line: URLs, one-line sources or files."""
    lines = environ.get("PIPELINE_DEBIAN_MIRROR", "").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


async def bootstrap(recipe: Recipe, roots: Roots, *, mirrors: tuple[str, ...], progress: Progress) -> Root:
    """Return the root of `recipe`, made now if this machine has none.

    `mirrors` are mmdebstrap's: URLs, one-line sources or files; none means Debian's own with its security updates.
    Raises ImageError saying what is missing on this machine, or what apt said.
    """

    async def build(rootfs: Path) -> Facts:
        return await _build(recipe, rootfs, mirrors, progress)

    return await roots.make(recipe.key, build, progress=progress)


def arguments(recipe: Recipe, mode: str, target: Path, mirrors: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command line of mmdebstrap. The variant without apt is enough: nothing is added later."""
    options = [f"--dpkgopt=path-exclude={glob}" for glob in recipe.exclude]
    options += [f"--dpkgopt=path-include={glob}" for glob in recipe.keep]
    if mode == "root":  # its folders may be below one that only root can enter
        options.append('--aptopt=APT::Sandbox::User "root"')
    return (
        "mmdebstrap",
        f"--mode={mode}",
        "--variant=essential",
        "--architectures=amd64",
        f"--format={'directory' if mode == 'root' else 'tar'}",
        "--skip=cleanup/apt/lists",  # read afterwards, for the time of the snapshot
        f"--components={','.join(recipe.components)}",
        '--aptopt=Acquire::Languages "none"',
        "--dpkgopt=force-unsafe-io",  # everything is written out once, at the end
        "--aptopt=Acquire::Retries 3",
        *options,
        f"--include={','.join(recipe.packages)}",
        recipe.suite,
        str(target),
        *mirrors,
    )


def choose_mode() -> str:
    """Return how mmdebstrap gets its rights here. Raises ImageError that says what to install or to do."""
    find_program("mmdebstrap", error=ImageError)
    find_program("gpg", error=ImageError)
    if os.geteuid() == 0:
        return "root"
    user = pwd.getpwuid(os.geteuid()).pw_name
    find_program_of_uidmap()
    for table, option in (("/etc/subuid", "--add-subuids"), ("/etc/subgid", "--add-subgids")):
        if not _has_range(Path(table), user):
            raise ImageError(
                f"{user} has no subordinate ids in {table}, which building an image without root needs",
                resolution=f"sudo usermod {option} 100000-165535 {user}, or run `pipeline images build` once as root "
                "with the same PIPELINE_HOME",
            )
    return "unshare"


def find_program_of_uidmap() -> None:
    """Raise ImageError unless newuidmap is installed."""
    try:
        find_program("newuidmap", error=ImageError)
    except ImageError as error:
        raise ImageError(
            "building an image without root needs newuidmap",
            resolution="sudo apt-get install uidmap (Debian, Ubuntu) or sudo dnf install shadow-utils",
        ) from error


def _has_range(table: Path, user: str) -> bool:
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return any(line.split(":")[0] in (user, str(os.geteuid())) for line in lines if line.count(":") == 2)


async def _build(recipe: Recipe, rootfs: Path, mirrors: tuple[str, ...], progress: Progress) -> Facts:
    mode = choose_mode()
    # Another user id, which is what root is in a user namespace, could not write to a private home: mmdebstrap hands
    # over an archive there. For the same reason its work folder is not put beside the result, out of a small /tmp.
    archive = rootfs.with_suffix(".tar")
    target, work = (rootfs, {"TMPDIR": str(rootfs.parent)}) if mode == "root" else (archive, {})
    variables = {"SOURCE_DATE_EPOCH": str(BASE_EPOCH), "DEBIAN_FRONTEND": "noninteractive", **work}
    progress(f"making the {recipe.suite} root file system ({len(recipe.packages)} packages and what they need)")
    done = await run(
        arguments(recipe, mode, target, mirrors),
        env=environment(*INHERITED, "TMPDIR", **variables),
        timeout=TIMEOUT,
        sink=_Lines(progress),
        check=False,
        error=ImageError,
    )
    if done.code or done.timed_out:
        raise _failure(recipe, done)
    if target == archive:
        progress("unpacking")
        how = ("--extract", "--no-same-owner", "--same-permissions", "--exclude=./dev/*")
        await run(("tar", *how, f"--file={archive}", f"--directory={rootfs}"), timeout=TIMEOUT, error=ImageError)
        archive.unlink()
    version = await run(("mmdebstrap", "--version"), error=ImageError)
    return await anyio.to_thread.run_sync(_finish, recipe, rootfs, version.text)


def _finish(recipe: Recipe, rootfs: Path, made_with: str) -> Facts:
    facts = Facts(
        origin=recipe.title or f"debian:{recipe.suite}",
        packages=tuple(installed_packages(rootfs)),
        snapshot=tuple(_snapshot(rootfs)),
        made_with=made_with,
    )
    clean(rootfs)
    for path in (*rootfs.glob("etc/apt/sources.list*"), rootfs / "etc/apt/apt.conf.d/99mmdebstrap"):
        _remove(path)
    make_mount_points(rootfs, recipe.mounts)
    return facts


def _snapshot(rootfs: Path) -> Iterator[str]:
    """Yield `<codename> <date>` of every package archive that was used: its Release file's own words."""
    for path in sorted((rootfs / "var/lib/apt/lists").glob("*Release")):
        fields = dict(_RELEASE.findall(path.read_text(encoding="utf-8", errors="replace")[:4000]))
        yield f"{fields.get('Codename', path.name)} {fields.get('Date', '')}".rstrip()


def installed_packages(rootfs: Path) -> Iterator[str]:
    """Yield `name=version` of every installed Debian package, `name:architecture=version` for a foreign one."""
    status = rootfs / "var/lib/dpkg/status"
    if not status.is_file():
        return
    for paragraph in sorted(status.read_text(encoding="utf-8", errors="replace").split("\n\n")):
        fields: dict[str, str] = dict(_FIELD.findall(paragraph))
        if fields.get("Status", "").endswith(" installed"):
            foreign = fields.get("Architecture") not in ("amd64", "all")
            name = fields["Package"] + (f":{fields['Architecture']}" if foreign else "")
            yield f"{name}={fields['Version']}"


def clean(rootfs: Path) -> None:
    """Remove what says when and where a root was made: caches, logs, backups. Two makers get the same content."""
    for folder in (
        "dev",
        "tmp",
        "run",
        "var/cache/apt",
        "var/cache/dnf",
        "var/cache/ldconfig",
        "var/lib/apt",
        "var/log",
    ):
        for path in inside(rootfs, folder).glob("*"):
            _remove(path)
    for pattern in ("etc/*-", "var/cache/debconf/*-old", "var/lib/dpkg/*-old", "etc/dpkg/dpkg.cfg.d/99mmdebstrap"):
        for path in rootfs.glob(pattern):
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


class _Lines:
    """Cuts a stream of bytes into lines and passes on mmdebstrap's own, without their mark."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._rest = b""

    def __call__(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"I: ") and b"tempdir" not in line:
                self._progress(line[3:].decode("utf-8", "replace").strip())


def _failure(recipe: Recipe, done: Completed) -> ImageError:
    output = done.output.decode("utf-8", "replace")
    telling = [line for line in output.splitlines() if re.match(r"(E|W|Err|  )[: ]", line)] or output.splitlines()
    evidence = "\n".join(telling[-20:])
    advice = next((advice for pattern, advice in _CAUSES if re.search(pattern, evidence)), "read what it said above")
    mirror_variable, keyring_variable = recipe.variables
    own = f"name the keyring of {recipe.title} in {keyring_variable}, not {recipe.keyring}"
    keyring = own if recipe.keyring else "install debian-archive-keyring (on Debian, its newest version)"
    took = f" within {TIMEOUT:g} seconds" if done.timed_out else ""
    return ImageError(
        f"mmdebstrap could not make the root file system {recipe.name!r} ({recipe.suite}){took}",
        details=evidence,
        resolution=advice.format(keyring=keyring, mirror_variable=mirror_variable),
    )
