"""Roots made from a distribution's own archive: small signed repositories, made here and served on loopback.

That of apt holds programs of this machine, in one package that is essential, and dpkg installs them in the root as it
would Ubuntu's. That of dnf holds RPMs of one file each.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import pytest

from pipeline.config.images import ImageSpecs, load_images
from pipeline.errors import ConfigError, ImageError
from pipeline.host.folders import packaging_folder
from pipeline.images.catalog import Catalog
from pipeline.roots.root import Roots
from tests.conftest import require_root, require_tool

DEB, RPM = "deb-ubuntu22.04", "rpm-ol9"
TOOLS = ("bash", "dpkg", "dpkg-deb", "dpkg-split", "diff", "env", "ldconfig", "rm", "start-stop-daemon", "tar", "true")
"""What dpkg looks for before it installs anything, and what it does that with."""


def output(*argv: str | Path, cwd: Path | None = None) -> str:
    env = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", "HOME": str(cwd or "/nonexistent")}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=cwd, env=env)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


class Signer:
    """A key of its own, which signs archives and packages."""

    def __init__(self, folder: Path) -> None:
        require_tool("gpg")
        self.home = folder
        folder.mkdir(mode=0o700)
        self.gpg = ("gpg", "--homedir", str(folder), "--batch", "--yes", "--quiet", "--pinentry-mode", "loopback",
                    "--passphrase", "")  # fmt: skip
        output(*self.gpg, "--quick-generate-key", "archive@test", "rsa3072", "sign", "2y")
        self.public = folder / "public.asc"
        self.public.write_text(output(*self.gpg, "--armor", "--export"))
        self.binary = folder / "public.gpg"
        output(*self.gpg, "--output", self.binary, "--export")

    def stop(self) -> None:
        output("gpgconf", "--homedir", self.home, "--kill", "all")


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Signer, Signer]]:
    """The key of the archives, and another one."""
    folder = tmp_path_factory.mktemp("k")
    made = Signer(folder / "a"), Signer(folder / "b")
    yield made
    for signer in made:
        signer.stop()


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve `folder` on loopback; yield its URL."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def package_deb(folder: Path, name: str, files: dict[Path, str], fields: str = "") -> None:
    """Make a package of copies of files of this machine, in the new folder `folder`/`name`."""
    tree = folder / name
    for source, target in files.items():
        (tree / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tree / target)
    for place in ("DEBIAN", "proc", "sys"):
        (tree / place).mkdir(parents=True)
    text = f"Package: {name}\nVersion: 1\nArchitecture: amd64\nMaintainer: test <a@test>\n{fields}Description: {name}\n"
    (tree / "DEBIAN" / "control").write_text(text)
    output("dpkg-deb", "--build", "-Zgzip", tree, folder / f"{name}_1_amd64.deb")
    shutil.rmtree(tree)


def programs(names: tuple[str, ...]) -> dict[Path, str]:
    """Return these programs and the libraries that they need, and where they go."""
    found: dict[Path, str] = {}
    for name in names:
        path = shutil.which(name, path="/usr/bin:/usr/sbin:/bin:/sbin")
        assert path, name
        found[Path(path)] = f"usr/bin/{name}"
        # `ldd` fails for what is linked statically.
        listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
        for word in listed.split():
            if word.startswith("/"):
                found[Path(word)] = word.lstrip("/").removeprefix("usr/")
    return found


def sign_apt(archive: Path, signer: Signer) -> None:
    """Write the index of `archive`, and sign it: InRelease."""
    index = archive / "dists/jammy/main/binary-amd64/Packages"
    index.parent.mkdir(parents=True, exist_ok=True)
    index.write_text(output("dpkg-scanpackages", "--multiversion", "pool", cwd=archive))
    sums = f" {hashlib.sha256(index.read_bytes()).hexdigest()} {index.stat().st_size} main/binary-amd64/Packages\n"
    release = archive / "dists/jammy/Release"
    release.write_text(
        "Origin: test\nSuite: jammy\nCodename: jammy\nDate: Sat, 01 Jan 2022 00:00:00 UTC\nArchitectures: amd64\n"
        f"Components: main\nSHA256:\n{sums}"
    )
    output(*signer.gpg, "--clearsign", "--output", release.with_name("InRelease"), release)


@pytest.fixture(scope="module")
def apt_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for tool in ("mmdebstrap", "dpkg-scanpackages", "bwrap"):
        require_tool(tool)
    require_root("dpkg installs into a new root")
    folder = tmp_path_factory.mktemp("apt")
    pool = folder / "pool"
    links = {Path("/usr/bin/bash"): "bin/sh"}
    package_deb(pool, "base", {**programs(TOOLS), **links}, "Essential: yes\n")
    package_deb(pool, "tool", {Path("/usr/bin/true"): "usr/bin/tool"})
    return folder


SPEC = """\
Name: {name}
Version: 1
Release: 1
Summary: {name}
License: none
BuildArch: noarch
%description
%install
mkdir -p %{{buildroot}}/usr/share/{name}
echo {name} >%{{buildroot}}/usr/share/{name}/file
%files
/usr/share/{name}
"""


def package_rpm(folder: Path, name: str) -> Path:
    work = folder / f".{name}"
    work.mkdir(parents=True)
    (work / "x.spec").write_text(SPEC.format(name=name))
    output("rpmbuild", "-bb", "--define", f"_topdir {work}", work / "x.spec", cwd=work)
    (made,) = work.rglob("*.rpm")
    return Path(shutil.move(made, folder / made.name))


def sign_rpm(package: Path, signer: Signer) -> None:
    gpg = f"{shutil.which('gpg')}"
    command = "%{__gpg} --batch --no-armor --pinentry-mode loopback --passphrase '' -u archive@test -sbo %{__signature_filename} %{__plaintext_filename}"  # noqa: E501 - one macro
    macros = ("_gpg_name archive@test", f"__gpg {gpg}", f"_gpg_path {signer.home}", f"__gpg_sign_cmd {command}")
    defined = [part for macro in macros for part in ("--define", macro)]
    env = {"PATH": os.environ["PATH"], "GNUPGHOME": str(signer.home), "HOME": str(signer.home)}
    subprocess.run(["rpmsign", *defined, "--addsign", package], check=True, env=env, capture_output=True)


def sign_repository(folder: Path, signer: Signer) -> None:
    """Write the metadata of the packages in `folder` anew, and sign it."""
    shutil.rmtree(folder / "repodata", ignore_errors=True)
    output("createrepo_c", "--quiet", folder)
    metadata = folder / "repodata/repomd.xml"
    output(*signer.gpg, "--armor", "--detach-sign", "--output", f"{metadata}.asc", metadata)


@pytest.fixture(scope="module")
def rpm_archive(tmp_path_factory: pytest.TempPathFactory, signers: tuple[Signer, Signer]) -> Path:
    for tool in ("dnf", "rpmbuild", "rpmsign", "createrepo_c", "bwrap"):
        require_tool(tool)
    folder = tmp_path_factory.mktemp("rpm")
    for place, name in (("baseos", "base"), ("appstream", "tool")):
        sign_rpm(package_rpm(folder / place, name), signers[0])
        sign_repository(folder / place, signers[0])
    return folder


def small(name: str, **changes: object) -> ImageSpecs:
    """Return images.toml with the packages of these archives in place of those of the image `name`."""
    specs = load_images(packaging_folder())
    image = specs.image(name)
    assert image.distribution is not None
    repositories = {
        key: each.model_copy(update={"path": key, "signed_metadata": True})
        for key, each in image.distribution.repositories.items()
        if key != "codeready"
    }
    known = {"suites": image.distribution.suites[:1], "components": ("main",), "repositories": repositories}
    archive = image.distribution.model_copy(update={**known, "packages": (), **changes})
    return replace(
        specs, images={**specs.images, name: image.model_copy(update={"distribution": archive, "packages": ("tool",)})}
    )


def made(name: str, home: Path, **changes: object) -> Catalog:
    """Return a catalog with the image `name` made from its distribution's archive."""
    catalog = Catalog(small(name, **changes), home=home, distribution=True)
    anyio.run(partial(catalog.prepare, [name], progress=lambda _: None))
    return catalog


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, Path], None]:
    """Return what names another mirror and keyring in the environment."""

    def replace_by(variable: str, url: str, keyring: Path) -> None:
        monkeypatch.setenv(f"PIPELINE_{variable}_MIRROR", url)
        monkeypatch.setenv(f"PIPELINE_{variable}_KEYRING", str(keyring))

    return replace_by


Replaced = Callable[[str, str, Path], None]


def test_ubuntus_root_is_made_of_its_own_signed_packages(
    apt_archive: Path, signers: tuple[Signer, Signer], tmp_path: Path, replaced: Replaced
) -> None:
    sign_apt(apt_archive, signers[0])
    with served(apt_archive) as url:
        replaced("UBUNTU", url, signers[0].binary)
        catalog = made(DEB, tmp_path)
    base = catalog.base(DEB)
    assert (base.stands_in_for, base.made_from) == ("", "ubuntu:22.04")
    assert base.installed == ("base=1", "tool=1")
    (root,) = Roots(tmp_path).all()
    assert root.facts.snapshot == ("jammy Sat, 01 Jan 2022 00:00:00 UTC",)
    assert (catalog.roots()[base.content] / "usr/bin/tool").is_file()
    assert Catalog(small(DEB), home=tmp_path, distribution=True).base(DEB).content == base.content
    assert Catalog(small(DEB), home=tmp_path).base(DEB).stands_in_for == "ubuntu:22.04"


def test_an_archive_of_apt_that_another_key_signed_is_refused(
    apt_archive: Path,
    signers: tuple[Signer, Signer],
    tmp_path: Path,
    replaced: Replaced,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even if this machine's apt is told to take anything."""
    settings = tmp_path / "apt.conf"
    settings.write_text('Acquire::AllowInsecureRepositories "true";\nAPT::Get::AllowUnauthenticated "true";\n')
    monkeypatch.setenv("APT_CONFIG", str(settings))
    sign_apt(apt_archive, signers[1])
    with served(apt_archive) as url:
        replaced("UBUNTU", url, signers[0].binary)
        with pytest.raises(ImageError) as caught:
            made(DEB, tmp_path)
    assert "NO_PUBKEY" in caught.value.details or "not signed" in caught.value.details
    assert "PIPELINE_UBUNTU_KEYRING" in caught.value.resolution


def test_oracles_root_is_made_of_its_own_signed_packages(
    rpm_archive: Path, signers: tuple[Signer, Signer], tmp_path: Path, replaced: Replaced
) -> None:
    with served(rpm_archive) as url:
        replaced("ORACLE_LINUX_9", url, signers[0].public)
        catalog = made(RPM, tmp_path, packages=("base",))
    base = catalog.base(RPM)
    assert (base.stands_in_for, base.made_from) == ("", "oraclelinux:9")
    assert base.installed == ("base.noarch=1-1", "tool.noarch=1-1")
    (made_root,) = Roots(tmp_path).all()
    assert made_root.facts.snapshot == (f"{url}/appstream", f"{url}/baseos")
    assert next(row for row in catalog.describe() if row.name == RPM).used.startswith("distribution oraclelinux:9")
    root = catalog.roots()[base.content]
    assert (root / "usr/share/tool/file").read_text() == "tool\n"
    assert not list((root / "var/lib/rpm").glob("*"))
    assert sorted(path.name for path in root.parent.iterdir()) == ["root.json", "rootfs"]


def unsigned(archive: Path, signers: tuple[Signer, Signer]) -> str:
    output("rpmsign", "--delsign", archive / "appstream" / "tool-1-1.noarch.rpm")
    sign_repository(archive / "appstream", signers[0])
    return "not signed"


def foreign(archive: Path, signers: tuple[Signer, Signer]) -> str:
    output("rpmsign", "--delsign", archive / "appstream" / "tool-1-1.noarch.rpm")
    sign_rpm(archive / "appstream" / "tool-1-1.noarch.rpm", signers[1])
    sign_repository(archive / "appstream", signers[0])
    return "is not installed"


def tampered(archive: Path, _: tuple[Signer, Signer]) -> str:
    with (archive / "baseos/repodata/repomd.xml").open("a") as file:
        file.write("<!-- -->\n")
    return "repomd.xml"


@pytest.mark.parametrize("fault", [unsigned, foreign, tampered])
def test_what_is_not_signed_by_the_distribution_is_not_installed(
    rpm_archive: Path,
    signers: tuple[Signer, Signer],
    tmp_path: Path,
    replaced: Replaced,
    fault: Callable[[Path, tuple[Signer, Signer]], str],
) -> None:
    archive = Path(shutil.copytree(rpm_archive, tmp_path / "archive"))
    expected = fault(archive, signers)
    with served(archive) as url:
        replaced("ORACLE_LINUX_9", url, signers[0].public)
        with pytest.raises(ImageError, match="oraclelinux:9") as caught:
            made(RPM, tmp_path / "home")
    assert expected in caught.value.details
    assert "PIPELINE_ORACLE_LINUX_9_KEYRING" in caught.value.resolution
    assert [path.suffix for path in (tmp_path / "home/images").iterdir()] == [".lock"]


def test_without_the_keys_nothing_is_downloaded(tmp_path: Path, replaced: Replaced) -> None:
    replaced("ORACLE_LINUX_9", "http://127.0.0.1:9", tmp_path / "none.asc")
    with pytest.raises(ImageError, match=r"none\.asc does not exist") as caught:
        made(RPM, tmp_path)
    assert "PIPELINE_ORACLE_LINUX_9_KEYRING" in caught.value.resolution


def test_a_mirror_that_is_no_url_is_an_error(tmp_path: Path, replaced: Replaced) -> None:
    replaced("UBUNTU", "[trusted=yes] http://127.0.0.1:9", tmp_path / "none.asc")
    with pytest.raises(ConfigError, match="PIPELINE_UBUNTU_MIRROR"):
        made(DEB, tmp_path)
