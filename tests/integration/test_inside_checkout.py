"""A source read inside a step is the same value as one read on this machine, whatever somebody gives."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from dagger import Ignore

from pipeline.config.product import parse_product
from pipeline.dagger_module import words as module_words
from pipeline.errors import PipelineError, SourceError, VersionError
from pipeline.host.content import digest_of
from pipeline.model.source import Source
from pipeline.model.version import parse_tag
from pipeline.programs import document
from pipeline.programs.source.checkout import Checkout
from pipeline.source.resolve import resolve
from pipeline.stages.checkout import parameters, source_of
from tests.conftest import require_tool
from tests.integration.test_source import OWN, PRODUCT, Repository, repository
from tests.programs import run_program

__all__ = ["repository"]

COMMIT = "1" * 40


def read_inside(tmp_path: Path, where: Path, text: str, **options: Any) -> tuple[Source, str]:
    """Return the source as the program finds it, and the content digest of what it laid out."""
    require_tool("git")
    product = parse_product(text, where="product.toml")
    version = parse_tag("4.07", product.version.scheme)
    work = tmp_path / "work"
    (work / "out").mkdir(parents=True)
    params = replace(parameters(product, version, **options), source=where, out=work / "out")
    done = run_program("source.checkout", params, work)
    if done.returncode:
        raise SourceError(done.stderr)
    found = source_of(document.load(Checkout, work / "out" / "source.json"), product, version)
    return found, digest_of(work / "out" / "tree")


def read_here(tmp_path: Path, where: Path, text: str, **options: Any) -> tuple[Source, str]:
    """Return the same of this machine."""
    product = parse_product(text, where="product.toml")
    version = parse_tag("4.07", product.version.scheme)

    async def work() -> tuple[Source, str]:
        found = await resolve(product, version, home=tmp_path / "home", project=tmp_path, where=str(where), **options)
        return found.source, digest_of(found.path)

    return anyio.run(work)


def tagged(repository: Repository) -> Path:
    repository.write(main="one\r\n$Id$\n")
    (repository.path / ".gitattributes").write_text("* text=auto eol=crlf ident\n")
    repository.commit()
    repository.git("tag", "--annotate", "--message", "x", "4.07")
    repository.write(main="two\n")
    repository.commit()
    return repository.path


def bare(repository: Repository) -> Path:
    tagged(repository)
    target = repository.path.with_name("bare.git")
    repository.git("clone", "--quiet", "--bare", ".", str(target))
    return target


def plain(repository: Repository) -> Path:
    repository.write(vendor__modules="x", ignored="x\n")
    (repository.path / "vendor").mkdir(exist_ok=True)
    (repository.path / "vendor" / "modules.txt").write_text("# modules\n")
    (repository.path / ".gitignore").write_text("ignored\n")
    (repository.path / "run").symlink_to("main")
    (repository.path / "main").chmod(0o755)
    (repository.path / ".git").rename(repository.path.parent / "elsewhere")
    return repository.path


def dirty(repository: Repository) -> Path:
    (repository.path / ".gitignore").write_text("ignored\n")
    repository.commit()
    repository.write(main="changed\n", new="new\n", ignored="not in it\n")
    return repository.path


def clean(repository: Repository) -> Path:
    repository.commit()
    return repository.path


def own(repository: Repository) -> Path:
    repository.write(examples__thing__go_mod="module example.org/own\n\ngo 1.26\n", examples__thing__a="a\n")
    repository.commit()
    return repository.path


def own_dirty(repository: Repository) -> Path:
    own(repository)
    repository.write(examples__thing__a="b\n")
    return repository.path


@pytest.mark.parametrize(
    ("prepare", "text", "options"),
    [
        (tagged, PRODUCT, {}),
        (bare, PRODUCT, {}),
        (tagged, PRODUCT, {"snapshot": True}),
        (plain, PRODUCT, {}),
        (plain, PRODUCT, {"commit": COMMIT}),
        (plain, OWN, {"commit": COMMIT, "snapshot": True}),
        (dirty, PRODUCT, {"snapshot": True}),
        (clean, PRODUCT, {"snapshot": True}),
        (own, OWN, {}),
        (own_dirty, OWN, {}),
    ],
)
def test_the_same_source_as_on_this_machine(
    tmp_path: Path,
    repository: Repository,
    prepare: Callable[[Repository], Path],
    text: str,
    options: dict[str, Any],
) -> None:
    where = prepare(repository)
    here = read_here(tmp_path, where, text, **options)
    assert read_inside(tmp_path, where, text, **options) == here
    assert here[0].identity.startswith("git-tree:")


def with_ignored(repository: Repository) -> Path:
    (repository.path / ".gitignore").write_text("*.log\n")
    own(repository)
    repository.git("fetch", "--quiet", ".")
    (repository.path / "examples" / "thing" / "run.log").write_text("not in it\n")
    return repository.path


@pytest.mark.parametrize("make", [own, own_dirty, with_ignored])
def test_the_module_reads_a_folder_of_its_own_repository_from_what_dagger_passes_of_it(
    tmp_path: Path, repository: Repository, make: Callable[[Repository], Path]
) -> None:
    top = make(repository)
    here, content = read_here(tmp_path, top, OWN)
    (only,) = (part.patterns for part in module_words.CONTEXT["repository"] if isinstance(part, Ignore))
    kept = {pattern.removeprefix("!") for pattern in only if pattern.startswith("!")}
    for path in [path for path in top.iterdir() if path.name not in {*kept, "examples"}]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in [path for pattern in only if pattern.startswith(".git/") for path in top.glob(pattern)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert {path.name for path in (top / ".git").iterdir()} >= {"HEAD", "objects", "refs"}
    assert not (top / ".git" / "index").exists()
    assert read_inside(tmp_path, top, OWN) == (here, content)
    assert here.snapshot is here.dirty is (make is own_dirty)


def test_a_fetched_commit_needs_no_tag(tmp_path: Path, repository: Repository) -> None:
    where = tagged(repository)
    commit = repository.git("rev-parse", "4.07^{commit}")
    repository.git("tag", "--delete", "4.07")
    found, _ = read_inside(tmp_path, where, PRODUCT, revision=commit)
    assert (found.revision, found.ref, found.verified) == (commit, "4.07", True)
    assert found.identity == "git-tree:" + repository.git("rev-parse", f"{commit}^{{tree}}")
    assert found.url == "https://example.org/thing.git"


def test_a_tag_that_is_not_there_is_the_same_error(tmp_path: Path, repository: Repository) -> None:
    repository.commit()
    repository.git("tag", "4.08")
    errors: list[PipelineError] = []
    for read in (read_here, read_inside):
        with pytest.raises(VersionError) as caught:
            read(tmp_path, repository.path, PRODUCT)
        errors.append(caught.value)
    assert errors[0].brief == errors[1].brief


@pytest.mark.parametrize("options", [{}, {"snapshot": True}])
def test_another_commit_than_was_said_is_refused(
    tmp_path: Path,
    repository: Repository,
    options: dict[str, Any],
) -> None:
    where = tagged(repository)
    for read in (read_here, read_inside):
        with pytest.raises(SourceError, match=f"not {COMMIT}"):
            read(tmp_path, where, PRODUCT, commit=COMMIT, **options)


def test_submodules_and_pointers_are_refused(tmp_path: Path, repository: Repository) -> None:
    (repository.path / ".gitattributes").write_text("big filter=lfs\n")
    repository.write(big="version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n")
    repository.commit()
    repository.git("tag", "4.07")
    with pytest.raises(SourceError, match="pointer of Git LFS"):
        read_inside(tmp_path, repository.path, PRODUCT)
