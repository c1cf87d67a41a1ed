"""Sources from real git repositories, over the file system and over HTTP."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import pytest

from pipeline.config.product import Product, parse_product
from pipeline.errors import SourceError, VersionError
from pipeline.model.tree import BASE_EPOCH
from pipeline.model.version import parse_tag
from pipeline.source.resolve import Checkout, dirty_paths, list_tags, resolve, tags_at_head
from tests.conftest import require_tool

EPOCH = 1_700_000_000
PRODUCT = """
name = "thing"
title = "A thing"
summary = "Does things"
homepage = "https://example.org/thing"
license = "Apache-2.0"
maintainer = "Some Body <some@example.org>"
vendor = "Example"
[version]
scheme = "dotted"
[source]
git = "https://example.org/thing.git"
tag = "{version}"
[build]
binary = "thing"
targets = ["linux/amd64"]
version_output = "thing {{ version }}"
[[build.variants]]
name = "standard"
suffix = ""
"""
OWN = PRODUCT.replace('git = "https://example.org/thing.git"', 'path = "examples/thing"')


def product(text: str = PRODUCT) -> Product:
    return parse_product(text, where="product.toml")


@dataclass
class Repository:
    """A repository as a person has one, made with git itself."""

    path: Path
    env: dict[str, str] = field(default_factory=dict)

    def git(self, *arguments: str) -> str:
        env = {
            "PATH": os.environ["PATH"], "HOME": str(self.path.parent), "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_AUTHOR_DATE": f"{EPOCH} +0200",
            "GIT_COMMITTER_NAME": "C", "GIT_COMMITTER_EMAIL": "c@example.org", "GIT_COMMITTER_DATE": f"{EPOCH} +0200",
            **self.env,
        }  # fmt: skip
        done = subprocess.run(["git", *arguments], cwd=self.path, env=env, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.path / name.replace("__", "/").replace("_mod", ".mod")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())

    def commit(self, message: str = "change") -> str:
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    require_tool("git")
    path = tmp_path / "upstream"
    path.mkdir()
    found = Repository(path)
    found.git("init", "--quiet", "--initial-branch=main")
    found.write(go_mod="module example.org/thing\n\ngo 1.24.0\n", main="one\n")
    return found


def get(tmp_path: Path, tag: str, where: str | Path | None, text: str = PRODUCT, **options: object) -> Checkout:
    wanted = product(text)
    version = parse_tag(tag, wanted.version.scheme)
    call = partial(
        resolve, wanted, version, home=tmp_path / "home", where=None if where is None else str(where),
        **{"project": tmp_path, **options},  # type: ignore[arg-type]
    )  # fmt: skip
    return anyio.run(call)


@pytest.mark.parametrize("annotated", [False, True])
@pytest.mark.parametrize("bare", [False, True])
def test_a_tag_of_a_local_repository(tmp_path: Path, repository: Repository, annotated: bool, bare: bool) -> None:
    commit = repository.commit()
    repository.git("tag", *(("--annotate", "--message", "x") if annotated else ()), "4.07")
    repository.write(main="two\n")
    repository.commit()
    where = repository.path
    if bare:
        repository.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare.git"))
        where = tmp_path / "bare.git"
    for tag in ("v4.07", "4.07"):
        found = get(tmp_path, tag, where)
        source = found.source
        assert (source.revision, source.ref, source.epoch) == (commit, "4.07", EPOCH)
        assert source.identity == "git-tree:" + repository.git("rev-parse", f"{commit}^{{tree}}")
        assert (source.url, source.module, source.go_directive) == (
            "https://example.org/thing.git", "example.org/thing", "1.24.0",
        )  # fmt: skip
        assert source.verified
        assert (source.snapshot, source.dirty, source.vendored) == (False, False, False)
        assert (found.path / "main").read_text() == "one\n"
        assert not (found.path / ".git").exists()


def test_the_tree_is_exact_whatever_attributes_and_configuration_say(tmp_path: Path, repository: Repository) -> None:
    """`git archive` would drop or rewrite these files, and a checkout with the user's settings would convert them."""
    content = {
        ".gitattributes": b"secret export-ignore\nstamp export-subst\n*.crlf eol=crlf\n*.id ident\n* filter=evil\n",
        "secret": b"kept\n",
        "stamp": b"$Format:%H$\n",
        "a.crlf": b"unix\n",
        "b.id": b"$Id$\n",
        "bytes": bytes(range(256)),
        "sp ace/\u00fcn\u00efcode": b"x",
        ".gitignore": b"ignored\n",
        "ignored": b"committed all the same\n",
    }
    for name, data in content.items():
        (repository.path / name).parent.mkdir(exist_ok=True)
        (repository.path / name).write_bytes(data)
    (repository.path / "run").write_text("#!/bin/sh\n")
    (repository.path / "run").chmod(0o755)
    (repository.path / "link").symlink_to("nowhere")
    marker = tmp_path / "ran"
    commit = repository.commit()
    repository.git("tag", "1.0")
    (repository.path.parent / ".gitconfig").write_text(
        f"[core]\nautocrlf = true\nhooksPath = {tmp_path}/hooks\nfsmonitor = touch {marker}\n"
        f'[filter "evil"]\nsmudge = touch {marker}\nclean = touch {marker}\nrequired = true\n'
    )
    (tmp_path / "hooks").mkdir()
    for hook in ("post-checkout", "reference-transaction", "post-index-change", "fsmonitor-watchman"):
        (tmp_path / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {marker}\n")
        (tmp_path / "hooks" / hook).chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(repository.path.parent))
        patch.setenv("GIT_DIR", "/nonexistent")
        patch.setenv("GIT_CONFIG_COUNT", "1")
        patch.setenv("GIT_CONFIG_KEY_0", "core.autocrlf")
        patch.setenv("GIT_CONFIG_VALUE_0", "true")
        found = get(tmp_path, "1.0", repository.path)
    for name, data in content.items():
        assert (found.path / name).read_bytes() == data, name
    assert (found.path / "run").stat().st_mode & 0o777 == 0o755
    assert (found.path / "secret").stat().st_mode & 0o777 == 0o644
    assert (found.path / "link").readlink() == Path("nowhere")
    assert found.source.revision == commit
    assert not marker.exists()


def test_a_checkout_that_somebody_changed_is_made_again(tmp_path: Path, repository: Repository) -> None:
    repository.write(other="x\n")
    repository.commit()
    repository.git("tag", "1.0")
    first = get(tmp_path, "1.0", repository.path)
    stamp = (first.path / "main").stat()
    for damage in ("change", "remove", "add", "mode"):
        match damage:
            case "change":
                (first.path / "main").write_text("two\n")
                os.utime(first.path / "main", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
            case "remove":
                (first.path / "main").unlink()
            case "add":
                (first.path / "more").write_text("x")
            case "mode":
                (first.path / "main").chmod(0o755)
        again = get(tmp_path, "1.0", repository.path)
        assert again == first
        assert (again.path / "main").read_text() == "one\n"
        assert sorted(path.name for path in again.path.iterdir()) == ["go.mod", "main", "other"]
        assert not (again.path / "main").stat().st_mode & 0o100


def test_an_untouched_checkout_is_used_again(tmp_path: Path, repository: Repository) -> None:
    repository.commit()
    repository.git("tag", "1.0")
    first = get(tmp_path, "1.0", repository.path)
    inode = (first.path / "main").stat().st_ino
    second = get(tmp_path, "1.0", repository.path)
    assert (second.path / "main").stat().st_ino == inode


def test_a_moved_tag_is_refused_until_somebody_accepts_it(tmp_path: Path, repository: Repository) -> None:
    old = repository.commit()
    repository.git("tag", "1.0")
    get(tmp_path, "1.0", repository.path)
    repository.write(main="evil\n")
    new = repository.commit()
    repository.git("tag", "--force", "1.0")
    with pytest.raises(SourceError, match=f"the tag 1.0 has moved: it was {old}, and is {new} now") as caught:
        get(tmp_path, "1.0", repository.path)
    assert "--accept-moved-tag" in caught.value.resolution
    assert get(tmp_path, "1.0", repository.path, accept_moved_tag=True).source.revision == new
    assert get(tmp_path, "1.0", repository.path).source.revision == new
    repository.git("tag", "--force", "1.0", old)
    with pytest.raises(SourceError, match="has moved"):
        get(tmp_path, "1.0", repository.path)


def test_damaged_pins_are_not_taken_for_none(tmp_path: Path, repository: Repository) -> None:
    repository.commit()
    repository.git("tag", "1.0")
    get(tmp_path, "1.0", repository.path)
    (tmp_path / "home" / "pins" / "thing.json").write_text("{")
    with pytest.raises(SourceError, match="pinned tags cannot be read"):
        get(tmp_path, "1.0", repository.path)


def test_an_unknown_tag_names_its_neighbours_and_the_v(tmp_path: Path, repository: Repository) -> None:
    repository.commit()
    for tag in ("4.07", "4.09", "v4.10"):
        repository.git("tag", tag)
    with pytest.raises(VersionError, match=r"no tag 4\.08") as caught:
        get(tmp_path, "v4.08", repository.path)
    assert "the nearest tags are 4.07, 4.09" in caught.value.resolution
    assert "--snapshot" in caught.value.resolution
    with pytest.raises(VersionError, match=r"no tag 4\.10, but it has v4\.10") as caught:
        get(tmp_path, "4.10", repository.path)
    assert 'source.tag = "v{version}"' in caught.value.resolution


def test_a_shallow_clone_without_the_tag_says_so(tmp_path: Path, repository: Repository) -> None:
    repository.commit()
    repository.git("tag", "1.0")
    repository.write(main="two\n")
    repository.commit()
    repository.git("clone", "--quiet", "--depth=1", f"file://{repository.path}", str(tmp_path / "shallow"))
    with pytest.raises(VersionError) as caught:
        get(tmp_path, "1.0", tmp_path / "shallow")
    assert "git fetch --unshallow --tags" in caught.value.resolution


def test_the_commit_can_be_demanded(tmp_path: Path, repository: Repository) -> None:
    commit = repository.commit()
    repository.git("tag", "1.0")
    assert get(tmp_path, "1.0", repository.path, commit=commit).source.revision == commit
    with pytest.raises(SourceError, match=f"the tag 1.0 is commit {commit}, not {'0' * 40}"):
        get(tmp_path, "1.0", repository.path, commit="0" * 40)
    with pytest.raises(SourceError, match="is not a commit"):
        get(tmp_path, "1.0", repository.path, commit="main")


def test_submodules_and_lfs_pointers_are_refused_by_name(tmp_path: Path, repository: Repository) -> None:
    commit = repository.commit()
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},deps/lib")
    repository.git("commit", "--quiet", "--message", "submodule")
    repository.git("tag", "1.0")
    with pytest.raises(SourceError, match=r"submodules, whose files are not in it: deps/lib"):
        get(tmp_path, "1.0", repository.path)
    repository.git("rm", "--quiet", "--cached", "deps/lib")
    (repository.path / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    (repository.path / "x.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    repository.commit()
    repository.git("tag", "1.1")
    with pytest.raises(SourceError, match=r"x\.bin is a pointer of Git LFS"):
        get(tmp_path, "1.1", repository.path)


def test_a_plain_directory_has_the_tree_that_git_would_give_it(tmp_path: Path, repository: Repository) -> None:
    repository.write(vendor__modules_txt="", **{".gitignore": "vendor\n"})
    (repository.path / "vendor" / "modules.txt").write_text("# x\n")
    commit = repository.commit()
    repository.git("tag", "1.0")
    tagged = get(tmp_path, "1.0", repository.path)
    plain = tmp_path / "unpacked"
    subprocess.run(["cp", "--recursive", str(tagged.path), str(plain)], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SOURCE_DATE_EPOCH", raising=False)
        snapshot = get(tmp_path, "1.0", plain).source
    assert snapshot.identity == tagged.source.identity
    assert (snapshot.snapshot, snapshot.revision, snapshot.epoch) == (True, "", BASE_EPOCH)
    assert snapshot.vendored
    assert snapshot.commit.startswith("tree-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", str(EPOCH))
        told = get(tmp_path, "1.0", plain, commit=commit).source
    assert (told.snapshot, told.revision, told.epoch, told.verified) == (False, commit, EPOCH, False)
    (plain / "main").write_text("two\n")
    assert get(tmp_path, "1.0", plain, commit=commit).source.identity != tagged.source.identity


def test_a_directory_inside_a_repository_is_not_that_repository(tmp_path: Path, repository: Repository) -> None:
    repository.write(sub__go_mod="module sub\ngo 1.24\n")
    repository.commit()
    repository.git("tag", "1.0")
    source = get(tmp_path, "1.0", repository.path / "sub").source
    assert (source.module, source.snapshot, source.revision) == ("sub", True, "")


def test_a_work_tree_as_it_is(tmp_path: Path, repository: Repository) -> None:
    (repository.path / ".gitignore").write_text("*.o\n")
    commit = repository.commit()
    (repository.path / "x.o").write_text("ignored")
    clean = get(tmp_path, "9.99", repository.path, snapshot=True).source
    assert (clean.revision, clean.dirty, clean.snapshot, clean.verified) == (commit, False, True, True)
    (repository.path / "new").write_text("x")
    dirty = get(tmp_path, "9.99", repository.path, snapshot=True)
    assert (dirty.source.commit, dirty.source.verified) == (f"{commit}-dirty", False)
    assert (dirty.path / "new").exists()
    assert not (dirty.path / "x.o").exists()


def test_a_product_of_the_projects_own_repository(tmp_path: Path, repository: Repository) -> None:
    repository.write(examples__thing__go_mod="module example.org/own\ngo 1.24\n", elsewhere="x\n")
    commit = repository.commit()
    here = {"text": OWN, "project": repository.path}
    source = get(tmp_path, "v1.2.3", None, **here).source  # type: ignore[arg-type]
    assert source.identity == "git-tree:" + repository.git("rev-parse", "HEAD:examples/thing")
    assert (source.revision, source.epoch, source.module) == (commit, EPOCH, "example.org/own")
    assert source.verified
    assert not source.snapshot
    repository.write(elsewhere="changed\n")
    assert get(tmp_path, "v1.2.3", None, **here).source == source  # type: ignore[arg-type]
    repository.write(examples__thing__more="x\n")
    changed = get(tmp_path, "v1.2.3", None, **here).source  # type: ignore[arg-type]
    assert (changed.snapshot, changed.dirty, changed.commit) == (True, True, f"{commit}-dirty")


def test_a_product_in_a_project_that_is_no_repository(tmp_path: Path, repository: Repository) -> None:
    folder = tmp_path / "project" / "examples" / "thing"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module x\ngo 1.24\n")
    source = get(tmp_path, "v1.2.3", None, text=OWN, project=tmp_path / "project").source
    assert (source.snapshot, source.revision) == (True, "")


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("nowhere", "nowhere does not exist"),
        ("file", "is a file, not a directory"),
        ("empty", "no readable go.mod"),
        ("https://127.0.0.1:1/x.git", "cannot read the repository https://127.0.0.1:1/x.git"),
        ("ftp://example.org/x", "unsupported URL scheme ftp://"),
    ],
)
def test_a_source_that_cannot_be_had(tmp_path: Path, where: str, said: str) -> None:
    require_tool("git")
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError) as caught:
        get(tmp_path, "1.0", where if "://" in where else tmp_path / where)
    assert said in caught.value.brief
    assert caught.value.resolution
    assert caught.value.exit_code == 5


def test_a_repository_that_lacks_files_is_explained(tmp_path: Path, repository: Repository) -> None:
    repository.commit()
    repository.git("tag", "1.0")
    blob = repository.git("rev-parse", "HEAD:main")
    (repository.path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(SourceError) as caught:
        get(tmp_path, "1.0", repository.path)
    assert "partial clone" in caught.value.resolution


def test_what_a_killed_process_left_behind_is_no_obstacle(tmp_path: Path, repository: Repository) -> None:
    repository.commit()
    repository.git("tag", "1.0")
    get(tmp_path, "1.0", repository.path)
    cache = tmp_path / "home" / "git"
    for name in ("repository/shallow.lock", "repository/config.lock", "repository/packed-refs.lock"):
        (cache / name).touch()
    (cache / "trees" / ".new-left").mkdir()
    repository.write(main="two\n")
    repository.commit()
    repository.git("tag", "1.1")
    assert get(tmp_path, "1.1", repository.path).source.ref == "1.1"
    assert [path.name for path in (cache / "trees").iterdir() if path.name.startswith(".")] == []


def test_two_at_once_share_the_cache(tmp_path: Path, repository: Repository) -> None:
    for number in range(4):
        repository.write(main=f"{number}\n")
        repository.commit()
        repository.git("tag", f"1.{number}")
    found: dict[int, Checkout] = {}

    def one(number: int) -> None:
        found[number] = get(tmp_path, f"1.{number}", repository.path)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(found[number].path / "main").read_text() for number in range(4)] == ["0\n", "1\n", "2\n", "3\n"]


def test_what_the_guard_asks_a_repository(tmp_path: Path, repository: Repository) -> None:
    repository.commit()
    repository.git("tag", "1.0")
    repository.git("tag", "--annotate", "--message", "x", "1.1")
    assert list_tags(repository.path) == ("1.0", "1.1")
    assert tags_at_head(repository.path) == ("1.0", "1.1")
    assert dirty_paths(repository.path) == ()
    (repository.path / "n\u00e9w file").touch()
    (repository.path / "main").write_text("changed\n")
    assert dirty_paths(repository.path) == ("main", "n\u00e9w file")
    repository.commit()
    assert tags_at_head(repository.path) == ()
    (tmp_path / "plain").mkdir()
    with pytest.raises(SourceError, match="git for-each-ref failed in"):
        list_tags(tmp_path / "plain")


class GitHandler(BaseHTTPRequestHandler):
    """Smart HTTP by git's own CGI program (git-http-backend(1)), with a password if the server has one."""

    server: GitServer

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers["Content-Length"])))

    def _serve(self, body: bytes) -> None:
        self.server.seen.append(self.requestline)
        wanted = self.server.password
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        if wanted and base64.b64decode(given).decode() != wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        protocol = self.headers["Git-Protocol"]
        env = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(self.server.root), "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""), "HOME": str(self.server.root),
            **({"GIT_PROTOCOL": protocol} if self.server.modern and protocol else {}),
        }  # fmt: skip
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=False)
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(rest)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep the test's output clean."""


class GitServer(ThreadingHTTPServer):
    """A git server on the loopback device. One that is not `modern` speaks protocol version 0 only."""

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), GitHandler)
        self.root = root
        self.password = ""
        self.modern = True
        self.seen: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/upstream/.git"


@pytest.fixture
def server(repository: Repository) -> Iterator[GitServer]:
    with GitServer(repository.path.parent) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        try:
            yield found
        finally:
            found.shutdown()
            thread.join()


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize("annotated", [False, True])
def test_a_tag_over_http(
    tmp_path: Path, repository: Repository, server: GitServer, modern: bool, annotated: bool
) -> None:
    """A server of protocol version 0 refuses a commit that no ref names, so an annotated tag needs its ref there."""
    server.modern = modern
    repository.write(main="before\n")
    repository.commit()
    repository.write(main="one\n")
    commit = repository.commit()
    repository.git("tag", *(("--annotate", "--message", "x") if annotated else ()), "1.0")
    repository.write(main="after\n")
    repository.commit()
    said: list[str] = []
    found = get(tmp_path, "1.0", server.url, say=said.append)
    assert (found.source.revision, found.source.url) == (commit, server.url)
    assert (found.path / "main").read_text() == "one\n"
    assert said == [f"fetching 1.0 from {server.url}"]
    cache = tmp_path / "home" / "git" / "repository"
    count = subprocess.run(["git", "-C", str(cache), "rev-list", "--all", "--count"], capture_output=True, check=True)
    assert count.stdout.strip() == b"1", "only the one commit is fetched, not its history"
    assert get(tmp_path, "1.0", server.url, say=said.append) == found
    assert len(said) == 1, "what was fetched once is not fetched again"


def test_credentials_in_the_address_reach_the_server_and_nothing_else(
    tmp_path: Path, repository: Repository, server: GitServer
) -> None:
    secret = "s3cr3t-t0k%n/x"
    server.password = f"robot-user:{secret}"
    repository.commit()
    repository.git("tag", "1.0")
    with pytest.raises(SourceError) as caught:
        get(tmp_path, "1.0", server.url)
    assert "credential helper" in caught.value.resolution
    address = server.url.replace("://", "://robot-user:s3cr3t-t0k%25n%2Fx@")
    said: list[str] = []
    source = get(tmp_path, "1.0", address, say=said.append).source
    assert source.url == server.url
    with pytest.raises(SourceError) as caught:
        get(tmp_path, "1.0", address.replace("s3cr3t", "wr0ng"))
    with pytest.raises(VersionError) as unknown:
        get(tmp_path, "2.0", address)
    shown = "\n".join([repr(source), *said, str(caught.value), str(unknown.value), *server.seen])
    stored = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert len(stored) > 5
    for word in (secret, "s3cr3t", "wr0ng", "robot-user"):
        assert word not in shown
        assert not [path for path in stored if word.encode() in path.read_bytes()]


def test_a_server_whose_tag_moves_during_the_fetch(tmp_path: Path, repository: Repository, server: GitServer) -> None:
    """The commit that the tag had when it was looked up is what is built, or nothing."""
    old = repository.commit()
    repository.git("tag", "1.0")
    repository.write(main="evil\n")
    new = repository.commit()

    def move(_: str) -> None:
        repository.git("tag", "--force", "1.0", new)

    assert get(tmp_path, "1.0", server.url, say=move).source.revision == old
    with pytest.raises(SourceError, match="has moved"):
        get(tmp_path, "1.0", server.url)
