"""The packages of the example's release: what is in them, and what they say of themselves, read with plain tools."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.errors import StepFailedError
from pipeline.programs import document
from pipeline.programs.document import Dataclass
from pipeline.programs.sign import index, rpm_sign, sign_once
from pipeline.programs.sign.release_index import Described, ReleaseIndex
from pipeline.programs.sign.sign import ChosenKey
from pipeline.programs.verify import verify
from pipeline.stages.index import EPHEMERAL_IDENTITY
from tests.conftest import require_tool
from tests.documents import example_index
from tests.integration.packaged import build
from tests.integration.released import PROJECT
from tests.programs import run_program

DEBS = {"amd64": "amd64", "arm64": "arm64"}
RPMS = {"amd64": "x86_64", "arm64": "aarch64"}
FLAVOURS = {"": "example", "-fips": "example-fips"}


def said(*argv: str | Path, **variables: str) -> str:
    require_tool(str(argv[0]))
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC", **variables}
    return subprocess.run(argv, capture_output=True, text=True, check=True, env=env).stdout


def debs(dist: Path) -> list[Path]:
    found = sorted(dist.glob("*.deb"))
    assert len(found) == 4
    return found


def rpms(dist: Path) -> list[Path]:
    found = sorted(path for path in dist.glob("*.rpm") if not path.name.endswith("src.rpm"))
    assert len(found) == 10
    return found


def field(package: Path, tag: str) -> str:
    return said("rpm", "--query", "--nosignature", "--queryformat", tag, "--package", package)


def test_every_package_holds_exactly_the_binary_that_was_released(dist: Path, tmp_path: Path) -> None:
    for suffix, name in FLAVOURS.items():
        for arch in ("amd64", "arm64"):
            released = (dist / f"example-1.2.3-linux-{arch}{suffix}").read_bytes()
            folder = tmp_path / f"{name}-{arch}"
            said("dpkg-deb", "--extract", dist / f"{name}_1.2.3-1~ubuntu22.04.1_{DEBS[arch]}.deb", folder)
            assert (folder / "opt/weed/weed").read_bytes() == released
            digest = hashlib.sha256(released).hexdigest()
            for release in ("el8", "el9"):
                package = dist / f"{name}-1.2.3-1.{release}.{RPMS[arch]}.rpm"
                assert f"{digest} /opt/weed/weed\n" in field(package, "[%{FILEDIGESTS} %{FILENAMES}\n]")


def test_the_sbom_of_a_package_lists_every_file_of_it_and_what_the_binary_is_made_of(dist: Path) -> None:
    for package in (*debs(dist), *rpms(dist)):
        document = json.loads((dist / f"{package.name}.cdx.json").read_text())
        root = document["metadata"]["component"]
        listed = {
            component["name"]: next(each["content"] for each in component["hashes"] if each["alg"] == "SHA-256")
            for component in document["components"]
            if component["type"] == "file"
        }
        if package.suffix == ".deb":
            assert root["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(package.read_bytes()).hexdigest()}]
            lines = said("dpkg-deb", "--contents", package).splitlines()
            assert set(listed) == {line.split()[-1][1:] for line in lines if line.startswith("-")}
        else:
            rows = [row.split(" ") for row in field(package, "[%{FILENAMES} %{FILEDIGESTS}\n]").splitlines()]
            assert listed == {path: digest for path, digest in rows if digest}
            version, arch = field(package, "%{VERSION}-%{RELEASE} %{ARCH}").split()
            assert root["purl"] == f"pkg:rpm/{field(package, '%{NAME}')}@{version}?arch={arch}"
        modules = {c["name"] for c in document["components"] if c.get("purl", "").startswith("pkg:golang/")}
        assert ("github.com/google/uuid" in modules) != ("-selinux-" in package.name)
        spdx = json.loads((dist / f"{package.name}.spdx.json").read_text())
        assert {file["fileName"][1:] for file in spdx["files"]} == set(listed)


def test_everything_in_a_deb_belongs_to_root_and_only_programs_are_executable(dist: Path) -> None:
    for package in debs(dist):
        for line in said("dpkg-deb", "--contents", package).splitlines():
            mode, owner, *_, path = line.split(" -> ")[0].split()
            assert owner == "root/root", line
            assert mode.startswith("l") or not set(mode[5:]) & set("wst"), line
            if mode.startswith("-") and "x" in mode:
                assert path.startswith(("./opt/weed/weed", "./opt/weed/healthcheck.sh", "./opt/weed/libexec/",
                                        "./usr/bin/weed", "./usr/sbin/weed-")), line  # fmt: skip


def test_both_formats_hold_the_same_but_for_what_is_of_their_world(dist: Path) -> None:
    listed = said("dpkg-deb", "--contents", dist / "example_1.2.3-1~ubuntu22.04.1_amd64.deb").splitlines()
    # debhelper packs long documentation.
    deb = {line.split(" -> ")[0].split()[-1][1:].rstrip("/").removesuffix(".gz") for line in listed}
    names = field(dist / "example-1.2.3-1.el9.x86_64.rpm", "[%{FILENAMES}\n]").split()
    rpm = {name.removesuffix(".gz") for name in names}
    files = {path for path in deb if not any(other.startswith(f"{path}/") for other in deb)}
    own = ("/etc/apparmor.d/", "/lib/systemd/", "/usr/share/lintian/", "/usr/share/doc/example/c")
    assert not [path for path in files - rpm if not path.startswith(own)]
    theirs = ("/usr/lib/systemd/system/", "/opt/weed/lib/weedops/_vendor/tomli/LICENSE")  # a DEB's is in its copyright
    assert not [path for path in rpm - deb if not path.startswith(theirs)]
    units = {path for path in deb if path.startswith("/lib/systemd/system/weed")}
    assert {f"/usr{path}" for path in units} <= rpm


def test_configuration_is_marked_as_such(dist: Path) -> None:
    for package in debs(dist):
        listed = set(said("dpkg-deb", "--info", package, "conffiles").split())
        packed = {line.split()[-1][1:] for line in said("dpkg-deb", "--contents", package).splitlines()}
        assert listed == {path for path in packed if path.startswith("/etc/") and not path.endswith("/")}
    for package in rpms(dist):
        rows = field(package, "[%{FILENAMES} %{FILEFLAGS:fflags} %{FILEMODES:perms}\n]").splitlines()
        for path, flags, mode in (row.split(" ") for row in rows if row.count(" ") == 2):
            if path.startswith("/etc/") and not mode.startswith("d"):
                assert flags == "cn", f"{path} is not %config(noreplace)"


def test_what_a_deb_needs_and_replaces(dist: Path) -> None:
    package = dist / "example-fips_1.2.3-1~ubuntu22.04.1_arm64.deb"
    fields = dict(re.findall(r"^(\S+): (.*)$", said("dpkg-deb", "--field", package), re.MULTILINE))
    assert (fields["Architecture"], fields["Version"]) == ("arm64", "1.2.3-1~ubuntu22.04.1")
    assert set(fields["Depends"].split(", ")) == {"adduser", "python3:any", "systemd"}
    assert (fields["Conflicts"], fields["Replaces"]) == ("example", "example")
    assert fields["Provides"] == "example (= 1.2.3-1~ubuntu22.04.1)"
    assert "haproxy" in fields["Suggests"]
    assert "haproxy" not in fields["Depends"] + fields["Recommends"]


@pytest.mark.parametrize(("release", "python"), [("el8", "/usr/libexec/platform-python"), ("el9", "python3")])
def test_what_an_rpm_needs_and_says(dist: Path, release: str, python: str) -> None:
    package = dist / f"example-1.2.3-1.{release}.aarch64.rpm"
    needed = set(field(package, "[%{REQUIRES}\n]").split("\n"))
    assert {
        python,
        "systemd",
        "shadow-utils",
        "(example-selinux = 1.2.3-1." + release + " if selinux-policy-targeted)",
    } <= (needed)
    assert "haproxy" in field(package, "[%{SUGGESTS}\n]")
    assert "haproxy" not in field(package, "[%{REQUIRES} %{RECOMMENDS}\n]")
    assert field(package, "%{CONFLICTS}") == "example-fips"
    # xz is read by rpm 4.14, 8 is SHA-256 (RFC 9580, section 9.5), and nothing says who built it, where or when.
    assert field(package, "%{PAYLOADCOMPRESSOR} %{FILEDIGESTALGO} %{BUILDHOST}") == "xz 8 reproducible"
    epoch = json.loads((dist / "release.json").read_text())["source"]["epoch"]
    assert set(field(package, "%{BUILDTIME}\n[%{FILEMTIMES}\n]").split()) == {str(epoch)}
    assert "/.build-id" not in field(package, "[%{FILENAMES}\n]")


def test_the_module_package_is_for_any_architecture(dist: Path) -> None:
    package = dist / "example-selinux-1.2.3-1.el8.noarch.rpm"
    assert field(package, "%{ARCH}") == "noarch"
    assert "/usr/share/selinux/packages/targeted/weed.pp.bz2" in field(package, "[%{FILENAMES}\n]")


def scripts(dist: Path) -> Iterator[tuple[str, str]]:
    """Yield every script that a package manager runs, with its name."""
    for package in debs(dist):
        for name in ("preinst", "postinst", "prerm", "postrm"):
            yield f"{package.name} {name}", said("dpkg-deb", "--info", package, name)
    for package in rpms(dist):
        for tag in ("PREIN", "POSTIN", "PREUN", "POSTUN", "POSTTRANS"):
            text = field(package, f"%{{{tag}}}")
            if text != "(none)":
                yield f"{package.name} {tag}", f"#!/bin/sh\n{text}\n"


def test_the_maintainer_scripts_are_posix_and_without_a_finding(dist: Path, tmp_path: Path) -> None:
    require_tool("shellcheck")
    for name, text in scripts(dist):
        assert text.startswith("#!/bin/sh\nset -eu\n"), name
        # One file for each text: most are the same in several packages.
        (tmp_path / f"{hashlib.sha256(text.encode()).hexdigest()}.sh").write_text(text)
    # Left out: matters of taste, and functions in conditions, which these scripts are written for.
    options = ["--shell=sh", "--enable=all", "--exclude=SC2249,SC2250,SC2310,SC2312"]
    argv = ["shellcheck", *options, *sorted(str(path) for path in tmp_path.glob("*.sh"))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("wanted", "path", "exception", "finding"),
    [
        ("example_", "deb/lintian-overrides", "\ndir-or-file-in-opt\n", "error: E: example: dir-or-file-in-opt"),
        (
            "example-1.2.3-1.el8",
            "rpm/rpmlint.toml",
            "'dir-or-file-in-opt /opt/weed',",
            ": E: dir-or-file-in-opt /opt/weed",
        ),
        (
            "example-1.2.3-1.el9",
            "rpm/rpmlint.toml",
            "'non-standard-gid \\S+ weed',",
            ": E: non-standard-gid /etc/weed weed",
        ),
        (
            "example-1.2.3-1.el9.nosrc",
            "rpm/rpmlint.toml",
            "'source-not-compressed gz files.tar',",
            ": E: source-not-compressed gz files.tar",
        ),
    ],
)
def test_a_finding_that_is_no_listed_exception_stops_the_package(
    dist: Path, tmp_path: Path, wanted: str, path: str, exception: str, finding: str
) -> None:
    """Without the exception, lintian and rpmlint object."""
    binary = tmp_path / "binary" / "example-linux-amd64"
    binary.parent.mkdir()
    shutil.copy(dist / "example-1.2.3-linux-amd64", binary)
    shutil.copy(dist / "example-1.2.3-linux-amd64.NOTICE.txt", binary.with_name(f"{binary.name}.NOTICE.txt"))
    with pytest.raises(StepFailedError) as caught:
        build(binary, "1.2.3", tmp_path, wanted, changes={path: (exception, "\n")})
    assert finding in str(caught.value)


def test_the_install_list_fails_on_a_file_that_is_missing(tmp_path: Path) -> None:
    require_tool("make")
    folder = tmp_path / "files"
    shutil.copytree(PROJECT / "packaging" / "products" / "seaweedfs", folder)
    for name in ("weed", "release", "NOTICE"):
        (folder / name).write_text("x")
    argv = ["make", "-C", str(folder), "install", "FORMAT=deb", f"DESTDIR={tmp_path / 'root'}"]
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 0
    (folder / "systemd" / "weed.target").rename(tmp_path / "weed.target")
    (folder / "config" / "weed.conf").unlink()
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "weed.conf" in done.stderr


@dataclass(frozen=True)
class Key:
    """A private RSA key with its fingerprint."""

    private: bytes
    fingerprint: str


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    for tool in ("gpg", "rpmsign"):
        require_tool(tool)
    home = tmp_path_factory.mktemp("k")
    home.chmod(0o700)
    gpg = ("gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "")
    said(*gpg, "--quick-generate-key", "key@test", "rsa3072", "sign", "2y")
    listed = said(*gpg, "--with-colons", "--list-keys")
    fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
    private = said(*gpg, "--armor", "--export-secret-keys").encode()
    said("gpgconf", "--homedir", home, "--kill", "all")
    return Key(private, fingerprint)


def program(name: str, params: Dataclass) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a program of `pipeline/programs` in a short path, for gpg's sockets; return also what it leaves there."""
    with tempfile.TemporaryDirectory(prefix="w-", dir="/tmp") as folder:
        done = run_program(name, params, Path(folder), SOURCE_DATE_EPOCH="1700000000")
        return done, [path.name for path in Path(folder).iterdir()]


def sign_again(dist: Path, key: Key, folder: Path) -> Path:
    """Sign the packages of the SELinux module with `key`, and return where they are."""
    given, secrets = folder / "in", folder / "secrets"
    given.mkdir(parents=True)
    secrets.mkdir()
    for package in dist.glob("*.noarch.rpm"):
        shutil.copy(package, given / package.name)
        said("rpmsign", "--delsign", given / package.name)
    (secrets / "signing-key").write_bytes(key.private)
    chosen = ChosenKey(key.fingerprint, secrets_dir=secrets)
    done, left = program("sign.rpm_sign", rpm_sign.Parameters(chosen, given, folder / "out"))
    assert (done.returncode, left) == (0, []), done.stderr
    return folder / "out"


def test_released_rpms_verify_with_our_key_alone(dist: Path, tmp_path: Path) -> None:
    require_tool("rpmkeys")
    database = ("--dbpath", str(tmp_path / "db"))
    signed = [*rpms(dist), *dist.glob("*src.rpm")]
    assert len(signed) == 16
    before = subprocess.run(["rpmkeys", *database, "--checksig", *signed], capture_output=True, check=False)
    assert before.returncode != 0, "without a key nothing verifies"
    said("rpmkeys", *database, "--import", dist / "signing-key.asc")
    checked = said("rpmkeys", *database, "--checksig", "--verbose", *signed)
    assert len(rpm_sign.GOOD.findall(checked)) == len(signed)


def test_a_changed_rpm_does_not_verify(dist: Path, tmp_path: Path) -> None:
    require_tool("rpmkeys")
    database = ("--dbpath", str(tmp_path / "db"))
    said("rpmkeys", *database, "--import", dist / "signing-key.asc")
    copy = tmp_path / "changed.rpm"
    data = bytearray((dist / "example-selinux-1.2.3-1.el9.noarch.rpm").read_bytes())
    data[-1000] ^= 1
    copy.write_bytes(data)
    done = subprocess.run(["rpmkeys", *database, "--checksig", copy], capture_output=True, text=True, check=False)
    assert done.returncode != 0


def test_the_same_key_and_commit_give_the_same_signed_bytes(dist: Path, key: Key, tmp_path: Path) -> None:
    one, two = (sign_again(dist, key, tmp_path / name) for name in ("a", "b"))
    names = sorted(path.name for path in one.iterdir())
    assert len(names) == 2
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_a_key_of_one_run_signs_the_rpms_the_index_and_every_file(dist: Path, tmp_path: Path) -> None:
    require_tool("rpmsign")
    given = tmp_path / "given"
    given.mkdir()
    name = "example-selinux-1.2.3-1.el9.noarch.rpm"
    shutil.copy(dist / name, given / name)
    said("rpmsign", "--delsign", given / name)
    (given / "scan.md").write_text("found nothing\n")
    (tmp_path / "statements").mkdir()
    described = (Described(name, "package", "application/x-rpm"), Described("scan.md", "scan-report", "text/markdown"))
    out = tmp_path / "out"
    params = sign_once.Parameters(
        key=ChosenKey(ephemeral_identity=EPHEMERAL_IDENTITY),
        index=index.Parameters(example_index(), described, artifacts_dir=given, out=out),
        packages=(name,),
        statements_dir=tmp_path / "statements",
    )
    done, _ = program("sign.sign_once", params)
    assert done.returncode == 0, done.stderr
    shutil.copy(given / "scan.md", out)
    found = verify.verify(verify.Parameters(str(out)))
    assert found.problems == ()
    assert len(found.signed_by) == 1
    sums = {entry.name: entry.sha256 for entry in document.load(ReleaseIndex, out / "release.json").artifacts}
    assert sums[name] == hashlib.sha256((out / name).read_bytes()).hexdigest()
    database = ("--dbpath", str(tmp_path / "db"))
    said("rpmkeys", *database, "--import", out / "signing-key.asc")
    assert rpm_sign.GOOD.search(said("rpmkeys", *database, "--checksig", "--verbose", out / name))
