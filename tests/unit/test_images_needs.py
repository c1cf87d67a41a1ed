"""What images.toml says that steps need: whether it is everything, and what is said of an image that lacks it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import pytest

from pipeline.config.images import EVERY_STEP, ImageSpecs, ProgramSpec, load_images
from pipeline.config.product import load_product
from pipeline.engine.failure import failed
from pipeline.errors import ImageError, StoreError
from pipeline.images import needs
from pipeline.images.catalog import Catalog
from pipeline.images.lock import Lock
from pipeline.images.needs import Check, program_of
from pipeline.images.tools import executable
from pipeline.model.graph import steps_of
from pipeline.model.image import Base, Image
from pipeline.model.step import Step
from pipeline.model.tree import Files, Given, Merge
from pipeline.release.plan import plan
from pipeline.stages import index as finish
from pipeline.stages.checkout import checkout, parameters
from pipeline.stages.context import Context, Databases
from pipeline.stages.package import load_packaging
from tests.unit.test_release_graph import PRODUCTS, context

PACKAGING = PRODUCTS.parent
RUNNERS = {"attempt", "run", "said"}
"""The functions of `pipeline/programs` whose first argument is a program."""
OPTIONAL = {"referencing"}
"""Modules without which a program does its work in another way."""
ELSEWHERE = {
    ("deb-ubuntu22.04", "contents"): {"rpm", "rpm2cpio"},
    ("rpm-ol8", "contents"): {"dpkg-deb"},
    ("rpm-ol9", "contents"): {"dpkg-deb"},
    ("rpm-ol8", "rpm_source"): {"rpmlint"},
    ("rpm-ol9", "rpm_source"): {"rpmlint"},
}
"""What the modules of a program start, and not in that image: a package of another format is not read there, and the
rules for source packages are those of packages but for their lints."""


@pytest.fixture(scope="module")
def specs() -> ImageSpecs:
    return load_images(PACKAGING)


def every_step(specs: ImageSpecs) -> set[Step]:
    """Return the steps of all that the project does: releases of both products, keys, checks."""
    catalog = Catalog(specs, home=Path("/nonexistent"), lock=Lock())
    images = {name: catalog.image(name) for name in catalog.names()}
    found: set[Step] = set()
    for name in ("example", "seaweedfs"):
        product = load_product(PRODUCTS / name)
        packaging = load_packaging(PRODUCTS / name, product)
        base = replace(context(), product=product, packaging=packaging, images=images)
        for each in variations(base) if name == "example" else [base]:
            release = plan(each)
            found |= {*steps_of(release.tree), *steps_of(release.tree, release.prebuilt)}
    general = images["debian"]
    given = {"release": Given("release", "sha256:1"), "key": Given("key", "sha256:2")}
    for step in (
        finish.inspect_key(general),
        finish.verify(general, given, key="", fingerprint=""),
        checkout(Given("repository", "sha256:3"), parameters(context().product, context().version), image=general),
    ):
        found.add(step)
    return found


def variations(base: Context) -> Iterator[Context]:
    """Yield `base` with every choice that brings steps of its own."""
    options = base.options
    yield replace(base, options=replace(options, require_openssl_fips=True))
    yield replace(base, options=replace(options, ephemeral_key=True))
    yield replace(base, options=replace(options, databases=Databases.FEED))
    binaries = [binary.name for binary in plan(base).binaries]
    yield replace(base, prebuilt={binaries[0]: Given("leg", "sha256:4")})


def literal(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def first(node: ast.expr) -> str:
    """Return the literal text that `node`, or a list that it is, begins with; empty for anything else."""
    return literal(node.elts[0]) if isinstance(node, ast.List | ast.Tuple) and node.elts else literal(node)


def called(source: bytes, known: set[str]) -> set[str]:
    """Return the programs that a program of `pipeline/programs` starts, and the modules that it imports of libraries.

    They are the first arguments of what runs programs, and every list that begins with a known one.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[argv, *_]) if name in RUNNERS:
                found.add(first(argv))
            case ast.Call(func=ast.Attribute(value=ast.Name(id="subprocess")), args=[argv, *_]):
                found.add(first(argv))
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[name]) if literal(name) not in OPTIONAL:
                found.add(f"python3:{literal(name)}")
            case ast.List() | ast.Tuple() if isinstance(node.ctx, ast.Load) and first(node) in known:
                found.add(first(node))
    return found - {""}


def test_images_toml_names_every_program_that_a_step_starts(specs: ImageSpecs) -> None:
    known = {
        command
        for spec in specs.images.values()
        for table in spec.needs.values()
        for need in table
        for command in need.split("|")
    }
    laid = {name: {executable(t.package)} if isinstance(t, ProgramSpec) else {name} for name, t in specs.tools.items()}
    tried = set()
    for step in every_step(specs):
        name = step.image.base.name
        spec = specs.images[name]
        listed = {*spec.needs[EVERY_STEP], *spec.needs.get(program_of(step), ())}
        have = {command for need in listed for command in need.split("|")}
        if step.image.layers:
            have |= {program for tool in spec.tools for program in laid[tool]}
        programs = dict(step.inputs).get("program")
        own = {path: file.content for path, file in programs.entries} if isinstance(programs, Files) else {}
        wanted = {step.argv[0].removeprefix("/bin/")}
        wanted |= set().union(*(called(text, known) for path, text in own.items() if path.endswith(".py")))
        wanted -= ELSEWHERE.get((name, program_of(step)), set())
        if "python3" in wanted:
            wanted = wanted - {"python3"} | {"python3>=3.9"}
        assert wanted <= have, f'{name}: "{step.title}" ({program_of(step)}) starts {sorted(wanted - have)}'
        tried.add((name, program_of(step)))
    for name, spec in specs.images.items():
        unused = {program for program in spec.needs if program != EVERY_STEP and (name, program) not in tried}
        assert not unused, f"no step of {name} runs {unused}"


def test_images_with_one_root_are_tested_once(specs: ImageSpecs) -> None:
    catalog = Catalog(specs, home=Path("/nonexistent"), lock=Lock())
    images = {name: catalog.image(name) for name in catalog.names()}
    shared = Base("root", "sha256:1")
    images |= {
        name: Image(name, replace(shared, name=name), image.layers, image.path) for name, image in images.items()
    }
    (test,) = needs.checks(images, {name: needs.of_image(specs, name) for name in images})
    assert test.images == ", ".join(sorted(specs.images))
    assert test.step.image.layers == ()
    assert needs.checks(images, {"go": set()}) == []


def check(*wanted: tuple[str, str, str]) -> Check:
    step = Step(title="look", image=Image("i", Base("i", "sha256:1")), argv=("/bin/sh",))
    return Check(step=step, wanted=frozenset(wanted))


@pytest.mark.parametrize(
    ("need", "found", "said"),
    [
        ("git", "git", ""),
        ("git", "gitk", 'image "i" has no git, which step "sign" needs'),
        ("a|b", "b", ""),
        ("a|b", "c", 'image "i" has no a or b, which step "sign" needs'),
        ("/etc/x", "/etc/x", ""),
        ("python3>=3.9", "python3>=3.10", ""),
        ("python3>=3.9", "python3>=3.9", ""),
        (
            "python3>=3.9",
            "python3>=3.6",
            'image "i" has no Python 3.9 or newer as python3, which step "sign" needs (it has Python 3.6)',
        ),
        ("python3>=3.9", "", 'image "i" has no Python 3.9 or newer as python3, which step "sign" needs'),
        ("python3:jsonschema", "python3:jsonschema", ""),
        ("python3:jsonschema", "python3>=3.9", 'image "i" has no Python module jsonschema, which step "sign" needs'),
    ],
)
def test_what_is_missing_is_named_with_its_image_and_its_step(need: str, found: str, said: str) -> None:
    assert check(("i", need, "sign")).missing(f"sh\n{found}\n") == ([said] if said else [])


def test_a_need_of_many_steps_is_one_line() -> None:
    assert check(("i", "git", "a"), ("i", "git", "b"), ("i", "git", "c")).missing("") == [
        'image "i" has no git, which step "a" and 2 more need'
    ]
    assert check(("i", "git", "*"), ("i", "git", "b")).missing("") == ['image "i" has no git, which every step needs']


def test_everything_that_is_missing_is_one_error() -> None:
    one, two = check(("i", "git", "checkout")), check(("j", "gpg", "sign"))

    async def nothing(_: Step) -> str:
        return ""

    with pytest.raises(ImageError) as caught:
        anyio.run(needs.verify, [one, two], nothing)
    assert caught.value.details.splitlines() == [
        '  image "i" has no git, which step "checkout" needs',
        '  image "j" has no gpg, which step "sign" needs',
    ]
    assert "packaging/images.toml" in caught.value.resolution


def test_an_image_without_a_shell_is_named() -> None:
    async def no_shell(step: Step) -> str:
        raise failed(step, "failed with exit code 127", output=["execvp /bin/sh: No such file or directory"])

    with pytest.raises(ImageError, match="an image lacks") as caught:
        anyio.run(needs.verify, [check(("i", "sh", "*"))], no_shell)
    assert "no shell runs in the image i, and every step needs /bin/sh" in caught.value.details
    assert "No such file" in caught.value.details


def test_what_has_nothing_to_do_with_the_image_stays_as_it_is() -> None:
    async def full(_: Step) -> str:
        raise StoreError("the disk is full")

    with pytest.raises(StoreError, match="full"):
        anyio.run(partial(needs.verify, run=full), [check(("i", "sh", "*"))])


def test_the_programs_of_other_trees_are_not_looked_for() -> None:
    """A literal program of a graph without images of images.toml has no needs."""
    step = Step(title="t", image=Image("x", Base("elsewhere", "sha256:1")), argv=("x",))
    specs = load_images(PACKAGING)
    assert needs.of_steps(specs, steps_of(Merge.of(step.out))) == {}
