"""A real registry server, with images pushed by skopeo: resolve, lock, pull, and archives on disk."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from pipeline.config.images import ImageSpec, ImageSpecs, load_images
from pipeline.errors import ImageError
from pipeline.host import content
from pipeline.images.catalog import Catalog
from pipeline.images.lock import Lock, load_lock, save_lock
from pipeline.images.pull import archived, materialise, pulled
from pipeline.model.identity import sha256_hex
from pipeline.oci.export import export
from pipeline.oci.manifest import INDEX, MANIFEST
from pipeline.oci.reference import NoSuchImageError, Reference
from pipeline.oci.skopeo import ask_registry, digest_on_disk
from pipeline.roots.root import Root, Roots, make_mount_points
from tests.conftest import require_tool
from tests.unit.test_images_spec import write
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("hasty")

USER = base64.b64encode(b"builder:secret").decode()
HTPASSWD = "builder:$2b$05$Q0bVJX1vTeaZcXyl4JzD7uV5tCSBRpxTb5yzwrxZW5V9luc3TBkoy\n"
"""The same user for the server: the password's bcrypt hash."""

NOW = "2026-01-01T00:00:00Z"

CONFIGURATION = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:0"}}
log: {{level: info, accesslog: {{disabled: true}}}}
{auth}
"""


@contextlib.contextmanager
def registry(folder: Path, auth: str = "") -> Iterator[str]:
    """Run a registry and yield its host name with the port."""
    program = require_tool("docker-registry")
    folder.mkdir()
    (folder / "config.yml").write_text(CONFIGURATION.format(folder=folder, auth=auth))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(folder / "config.yml")], stdout=log, stderr=log)
        try:
            yield _wait(folder / "log", process)
        finally:
            process.terminate()
            process.wait(60)


def _wait(log: Path, process: subprocess.Popen[bytes]) -> str:
    """Return where it listens, once it does."""

    def address() -> str:
        assert process.poll() is None, log.read_text()
        found = re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text())
        return found[1] if found else ""

    return until(address, lambda: f"the registry does not answer: {log.read_text()}")


def skopeo(*arguments: str) -> str:
    """Run skopeo and return what it prints."""
    argv = [require_tool("skopeo"), "--insecure-policy", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "HOME": "/nonexistent"})
    assert done.returncode == 0, done.stderr
    return done.stdout


def small_root(folder: Path, text: str) -> Path:
    """Make a root file system of a few files."""
    (folder / "usr/bin").mkdir(parents=True)
    (folder / "usr/bin/tool").write_text(text)
    (folder / "usr/bin/tool").chmod(0o755)
    (folder / "bin").symlink_to("usr/bin")
    make_mount_points(folder, ())
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    export(folder / "one.tar", [("/", small_root(folder / "root", "one"))], path=("/bin",), name="one", compress=True)
    return folder / "one.tar"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> Iterator[str]:
    with registry(tmp_path_factory.mktemp("registry") / "open") as name:
        skopeo("copy", "--dest-tls-verify=false", f"oci-archive:{archive}", f"docker://{name}/team/one:v1")
        yield name


def push_json(host: str, path: str, media_type: str, document: dict[str, object]) -> None:
    """Put a manifest into the registry."""
    request = urllib.request.Request(
        f"http://{host}/v2/{path}", json.dumps(document).encode(), {"Content-Type": media_type}, method="PUT"
    )
    urllib.request.urlopen(request, timeout=60).close()


def specs_for(folder: Path, reference: str) -> ImageSpecs:
    """Return an images.toml whose image `tool` has `reference`."""
    write(folder)
    text = (folder / "images.toml").read_text()
    text = text.replace("golang:1.26", reference).replace("example.org/tool:v1", reference)
    text = text.replace('manager = "apt"\npackages = ["git"]\n', "")
    (folder / "images.toml").write_text(text)
    return load_images(folder)


def plain_spec(reference: str) -> ImageSpec:
    return ImageSpec.model_validate({"reference": reference, "bootstrap": {"root": "small"}})


def pull(place: Reference | Path, home: Path) -> Root:
    """Unpack an image below `home`."""

    async def both() -> Root:
        if isinstance(place, Path):
            source = await archived(place, ())
        else:
            source = pulled(place.at(await ask_registry(place)), plain_spec("x"), ())
        return await materialise(source, Roots(home), progress=lambda _: None)

    return anyio.run(both)


def resolve(reference: Reference) -> str:
    """Return the digest that a registry has for `reference`."""
    return anyio.run(ask_registry, reference)


def test_skopeo_accepts_what_we_export(archive: Path) -> None:
    said = json.loads(skopeo("inspect", f"oci-archive:{archive}"))
    assert (said["Os"], said["Architecture"], len(said["Layers"])) == ("linux", "amd64", 1)
    assert said["Env"] == ["PATH=/bin"]
    assert anyio.run(digest_on_disk, archive) == said["Digest"]


def test_a_tag_is_resolved_to_the_digest_that_others_see(host: str) -> None:
    reference = Reference.parse(f"{host}/team/one:v1")
    digest = resolve(reference)
    assert digest == json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{reference}"))["Digest"]
    assert resolve(Reference.parse(f"{host}/team/one").at(digest)) == digest


def push_index(host: str, repository: str, tag: str, *architectures: str) -> tuple[str, str]:
    """Give the image `v1` of `repository` an index called `tag`; return the digests of the index and of the image."""
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{host}/{repository}:v1").encode()
    digest = "sha256:" + sha256_hex(raw)
    mine = {"mediaType": json.loads(raw).get("mediaType", MANIFEST), "digest": digest, "size": len(raw)}
    entries = [{**mine, "platform": {"os": "linux", "architecture": name}} for name in architectures]
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    push_json(host, f"{repository}/manifests/{tag}", INDEX, index)
    return "sha256:" + sha256_hex(json.dumps(index).encode()), digest


def test_an_index_is_resolved_to_its_own_digest_from_which_the_platforms_follows(host: str, tmp_path: Path) -> None:
    whole, digest = push_index(host, "team/one", "many", "arm64", "amd64")
    reference = Reference.parse(f"{host}/team/one:many")
    assert resolve(reference) == whole != digest
    assert pull(reference.at(whole), tmp_path).facts.manifest == digest
    foreign, _ = push_index(host, "team/one", "foreign", "riscv64")
    with pytest.raises(ImageError, match="no image for linux/amd64") as caught:
        resolve(reference.at(foreign))
    assert caught.value.details == "it has: linux/riscv64"


@pytest.mark.parametrize("form", ["gzip", "zstd", "docker"])
def test_an_image_is_pulled_as_it_was_pushed(host: str, archive: Path, tmp_path: Path, form: str) -> None:
    options = {"gzip": [], "zstd": ["--dest-compress-format=zstd"], "docker": ["--format=v2s2"]}[form]
    source = archive
    if form == "zstd":
        require_tool("zstd")
        source = tmp_path / "plain.tar"  # skopeo compresses what is not compressed yet
        export(source, [("/", archive.parent / "root")], path=("/bin",), name="plain")
    reference = Reference.parse(f"{host}/team/{form}:v1")
    skopeo("copy", "--dest-tls-verify=false", *options, f"oci-archive:{source}", f"docker://{reference}")
    manifest = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{reference}"))
    (layer,) = manifest["layers"]
    assert layer["mediaType"].endswith({"docker": ".tar.gzip"}.get(form, f"+{form}"))
    root = pull(reference, tmp_path)
    assert content.digest_of(root.path) == content.digest_of(archive.parent / "root")
    assert (root.facts.manifest, root.facts.path) == (resolve(reference), ("/bin",))
    assert sorted(path.name for path in root.path.parent.iterdir()) == ["root.json", "rootfs"]


def test_a_missing_image_and_a_missing_registry_are_errors_for_people(host: str) -> None:
    with pytest.raises(ImageError, match="there is no image") as caught:
        resolve(Reference.parse(f"{host}/team/one:v2"))
    assert "manifest unknown" in caught.value.details
    with socket.socket() as deaf:  # its port is taken, and nobody listens
        deaf.bind(("127.0.0.1", 0))
        with pytest.raises(ImageError, match="could not get") as caught:
            resolve(Reference.parse(f"127.0.0.1:{deaf.getsockname()[1]}/a:b"))
    assert "connection refused" in caught.value.details
    assert "https_proxy" in caught.value.resolution
    assert "oci-archive" in caught.value.resolution


def test_a_registry_with_users_needs_one(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "users").write_text(HTPASSWD)
    auth = f"auth: {{htpasswd: {{realm: test, path: {tmp_path}/users}}}}"
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(variable, raising=False)
    with registry(tmp_path / "closed", auth) as name:
        target = f"docker://{name}/private:v1"
        skopeo("copy", "--dest-tls-verify=false", "--dest-creds=builder:secret", f"oci-archive:{archive}", target)
        reference = Reference.parse(f"{name}/private:v1")
        with pytest.raises(ImageError, match="refuses access to") as caught:
            resolve(reference)
        assert "skopeo login" in caught.value.resolution
        file = tmp_path / ".docker/config.json"
        file.parent.mkdir()
        wrong = base64.b64encode(b"builder:wrong").decode()
        file.write_text(json.dumps({"auths": {name: {"auth": wrong}}}))
        with pytest.raises(ImageError, match="refuses access to") as caught:
            resolve(reference)
        assert "builder:wrong" not in str(caught.value)
        assert wrong not in str(caught.value)
        file.write_text(json.dumps({"auths": {name: {"auth": USER}}}))
        assert resolve(reference).startswith("sha256:")
        assert (pull(reference, tmp_path / "home").path / "usr/bin/tool").read_text() == "one"
        monkeypatch.setenv("HOME", "/nonexistent")
        monkeypatch.setenv("DOCKER_CONFIG", str(file.parent))
        assert resolve(reference).startswith("sha256:")
        helper = tmp_path / "bin/docker-credential-test"
        helper.parent.mkdir()
        answer = json.dumps({"Username": "builder", "Secret": "secret"})
        helper.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{answer}'\n")
        helper.chmod(0o755)
        file.write_text(json.dumps({"credHelpers": {name: "test"}}))
        monkeypatch.setenv("PATH", f"{helper.parent}:{os.environ['PATH']}")
        assert resolve(reference).startswith("sha256:")


async def unasked(reference: Reference) -> str:
    """Fail: what is pinned and unpacked here needs no registry."""
    raise AssertionError(f"asked for {reference}")


def test_the_lock_from_resolving_to_stale(host: str, archive: Path, tmp_path: Path) -> None:
    specs = specs_for(tmp_path / "packaging", f"{host}/team/moving:v1")
    target = f"docker://{host}/team/moving:v1"
    skopeo("copy", "--dest-tls-verify=false", f"oci-archive:{archive}", target)
    path = tmp_path / "packaging/images.lock"
    catalog = Catalog(specs, home=tmp_path / "home", pull=True)
    current = anyio.run(catalog.current)
    assert catalog.lock.staleness(current).missing == (f"{host}/team/moving:v1",)
    save_lock(path, catalog.lock.updated(current, NOW))
    catalog = Catalog(specs, home=tmp_path / "home", pull=True)
    assert not catalog.lock.staleness(current)
    assert not catalog.base("tool").known
    anyio.run(partial(catalog.prepare, ["tool"], progress=lambda _: None))
    assert catalog.base("tool").content == load_lock(path).entries[0].digest
    assert (catalog.roots()[catalog.base("tool").content] / "opt/tool").is_dir()
    row = next(row for row in catalog.describe() if row.name == "tool")
    assert (row.ready, row.used) == (True, f"{host}/team/moving:v1@{row.digest} + tool")

    export(tmp_path / "two.tar", [("/", small_root(tmp_path / "two", "two"))], path=("/bin",), name="two")
    skopeo("copy", "--dest-tls-verify=false", f"oci-archive:{tmp_path / 'two.tar'}", target)
    moved = catalog.lock.staleness(anyio.run(catalog.current)).moved
    assert [name for name, _, _ in moved] == [f"{host}/team/moving:v1"]
    fresh = Catalog(specs, home=tmp_path / "home", pull=True, ask=unasked)
    assert fresh.base("tool") == catalog.base("tool"), "the lock decides, not the tag"
    anyio.run(partial(fresh.prepare, ["tool"], progress=lambda _: None))


def test_an_override_by_tag_is_resolved_when_it_is_prepared(host: str, tmp_path: Path) -> None:
    specs = specs_for(tmp_path / "packaging", "unreachable.invalid/x:1")
    for local in (True, False):
        overrides = {"go": f"{host}/team/one:v1"}
        catalog = Catalog(specs, home=tmp_path / "home", overrides=overrides, local=local, lock=Lock())
        assert not catalog.base("go").known
        anyio.run(partial(catalog.prepare, ["go"], progress=lambda _: None))
        assert catalog.base("go").content == resolve(Reference.parse(f"{host}/team/one:v1"))
        assert catalog.base("go").packages == ()


def test_a_mirror_serves_what_images_toml_names(host: str, archive: Path, tmp_path: Path) -> None:
    specs = specs_for(tmp_path / "packaging", "debian:trixie-slim")
    target = f"docker://{host}/hub/library/debian:trixie-slim"
    skopeo("copy", "--dest-tls-verify=false", f"oci-archive:{archive}", target)
    fresh = Catalog(specs, home=tmp_path, overrides={"*": f"{host}/hub"}, lock=Lock())
    lock = fresh.lock.updated(anyio.run(fresh.current), NOW)
    assert [entry.reference for entry in lock.entries] == ["docker.io/library/debian:trixie-slim"]
    catalog = Catalog(specs, home=tmp_path, overrides={"*": f"{host}/hub"}, lock=lock, pull=True)
    anyio.run(partial(catalog.prepare, ["go"], progress=lambda _: None))
    assert catalog.roots().keys() == {lock.entries[0].digest}


def test_archives_and_layouts_on_disk(archive: Path, tmp_path: Path) -> None:
    require_tool("skopeo")
    skopeo("copy", f"oci-archive:{archive}", f"oci:{tmp_path / 'layout'}:one")
    expected = content.digest_of(archive.parent / "root")
    for number, path in enumerate((archive, tmp_path / "layout")):
        assert content.digest_of(pull(path, tmp_path / str(number)).path) == expected
    damaged = tmp_path / "damaged"
    shutil.copytree(tmp_path / "layout", damaged)
    largest = max((damaged / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1] + b"x")
    home = tmp_path / "home"
    with pytest.raises(ImageError, match="cannot read an image from"):
        pull(damaged, home)
    assert [path.suffix for path in (home / "images").iterdir()] == [".lock"], "nothing half is left"


def test_mirrors_are_those_of_registries_conf(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry itself decides whether an image is gone: a mirror may only lack it."""
    settings = tmp_path / ".config/containers/registries.conf"
    settings.parent.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))

    def mirror(of: str, at: str) -> None:
        place = f'[[registry]]\nlocation = "{of}"\ninsecure = true\n'
        settings.write_text(f'{place}[[registry.mirror]]\nlocation = "{at}"\ninsecure = true\n')

    with socket.socket() as deaf:  # its port is taken, and nobody listens
        deaf.bind(("127.0.0.1", 0))
        down = f"127.0.0.1:{deaf.getsockname()[1]}"
        mirror(down, host)
        reference = Reference.parse(f"{down}/team/one:v1")
        assert resolve(reference) == resolve(Reference.parse(f"{host}/team/one:v1"))
        assert (pull(reference, tmp_path / "home").path / "usr/bin/tool").read_text() == "one"
        with pytest.raises(ImageError, match="could not get") as caught:
            resolve(Reference.parse(f"{down}/team/one:gone"))
        assert not isinstance(caught.value, NoSuchImageError)
        assert "manifest unknown" in caught.value.details
        mirror(host, down)
        with pytest.raises(NoSuchImageError):
            resolve(Reference.parse(f"{host}/team/one:gone"))


def test_without_skopeo_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageError, match="skopeo is not installed") as caught:
        resolve(Reference.parse("debian:trixie-slim"))
    assert "apt-get install skopeo" in caught.value.resolution
