"""Source packages as values: what each is made from, and what the programs do that make them."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.product import load_product
from pipeline.model.artifact import Kind
from pipeline.model.distribution import DISTRIBUTIONS
from pipeline.model.graph import predecessors
from pipeline.model.step import Step
from pipeline.model.tree import Files
from pipeline.programs import common, document
from pipeline.programs.package import package, rpm, rpm_source
from pipeline.programs.scan.scan_documents import Approval, Approved
from pipeline.release.plan import plan
from pipeline.stages.package import Prebuilt, rendered
from tests.unit.test_release_graph import PRODUCTS, context, made, titles


def parameters(step: Step) -> dict[str, object]:
    program = dict(step.inputs)["program"]
    assert isinstance(program, Files)
    found: dict[str, object] = json.loads(dict(program.entries)["params.json"].content)
    return found


def test_a_package_is_built_from_its_source_package() -> None:
    steps = titles(made())
    rpms = {title: step for title, step in steps.items() if title.startswith("rpm ")}
    assert len(rpms) == 10
    for title, step in rpms.items():
        source = dict(step.inputs)["source"]
        _, distribution, *_, last = title.split()
        assert steps[f"source rpm {distribution} {last}"] in predecessors(step), title
        assert source.digest == steps[f"source rpm {distribution} {last}"].out.digest


def test_a_source_package_names_the_programs_of_all_architectures_and_holds_their_notices() -> None:
    step = titles(made())["source rpm ol9 fips"]
    names = [f"example-1.2.3-linux-{arch}-fips" for arch in ("amd64", "arm64")]
    params = parameters(step)
    assert params["named"] == names
    assert params["held"] == [f"{name}.NOTICE.txt" for name in names]
    assert step.outputs == ("example-fips-1.2.3-1.el9.nosrc.rpm",)
    files = dict(step.inputs)["files"]
    assert isinstance(files, Files)
    spec = dict(files.entries)["rpm/weed.spec"].content.decode()
    lines = [f"Source{number}:        {name}" for number, name in ((1, names[0]), (3, names[1]))]
    for line in (*lines, "NoSource:       1", "NoSource:       3", "ExclusiveArch:  x86_64 aarch64"):
        assert f"\n{line}\n" in spec, line
    assert "\n%ifarch aarch64\n%global program %{SOURCE3}\n%global notice %{SOURCE4}\n%endif\n" in spec


def test_source_packages_are_signed_and_listed_as_such_and_wait_for_no_gate() -> None:
    release = plan(context())
    sources = [artifact for artifact in release.artifacts if artifact.kind is Kind.SOURCE_PACKAGE]
    assert len(sources) == 6
    steps = titles(release)
    assert {artifact.name for artifact in sources} <= set(steps["sign rpms"].outputs)
    assert {artifact.made_by for artifact in sources} == {steps["sign rpms"]}
    for title, step in steps.items():
        if title.startswith("source rpm "):
            assert steps["gate"] not in predecessors(step), "it holds no program, and is ready when the gate is"


@pytest.mark.parametrize("spec", ["rpm/weed.spec", "rpm/weed-selinux.spec"])
def test_the_spec_itself_says_what_makes_its_bytes_the_same_anywhere(spec: str) -> None:
    """An auditor's rpmbuild has neither our command line nor our environment."""
    product = load_product(PRODUCTS / "seaweedfs")
    c = replace(context(), product=product)
    prebuilt = (Prebuilt("x86_64", "a", "b"),)
    files = rendered(c, c.packaging, DISTRIBUTIONS["ol8"], product.variant("standard"), prebuilt)
    text = dict(files.entries)[spec].content.decode()
    assert '\n%{lua: posix.setenv("SOURCE_DATE_EPOCH", "1700000000")}\n' in text
    before = text.partition("\nName:")[0]
    for line in ("_buildhost reproducible", "_binary_payload w0T2.xzdio", "_source_payload w6.xzdio"):
        assert f"\n%global {line}\n" in before


def test_the_archive_of_the_packaging_files_is_without_the_folder_of_the_spec(tmp_path: Path) -> None:
    for name in ("files/rpm/deep", "files/rpmx"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("Makefile", "rpm/x.spec", "rpm/deep/y", "rpmx/z"):
        (tmp_path / "files" / name).write_text(name)
    folder = tmp_path / "files"
    rpm_source.pack(folder, tmp_path / "files.tar", 1_700_000_000, without=folder / "rpm")
    with tarfile.open(tmp_path / "files.tar") as tar:
        found = {member.name: (member.mtime, member.uid, member.uname) for member in tar.getmembers()}
    assert found == dict.fromkeys(("Makefile", "rpmx", "rpmx/z"), (1_700_000_000, 0, "root"))


def test_a_program_that_is_only_named_has_its_size_and_nothing_of_its_content(tmp_path: Path) -> None:
    given, folder = tmp_path / "given", tmp_path / "SOURCES"
    given.mkdir()
    folder.mkdir()
    (given / "weed").write_bytes(b"program" * 1000)
    (given / "NOTICE.txt").write_text("licenses")
    params = rpm_source.Parameters(
        name="x", spec="x.spec", out=Path("x"), sources=given, named=("weed",), held=("NOTICE.txt",)
    )
    rpm_source.place(params, folder)
    assert (folder / "weed").read_bytes() == bytes(7000)
    assert (folder / "NOTICE.txt").read_text() == "licenses"


def test_a_spec_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    (tmp_path / "given").mkdir()
    params = rpm_source.Parameters(files=tmp_path / "given", spec="rpm/weed.spec", name="x", out=Path("x.src.rpm"))
    with pytest.raises(common.Problem, match=r"the packaging files have no rpm/weed\.spec"):
        rpm_source.build(params, tmp_path / "work")


def test_only_an_approved_program_becomes_an_rpm(tmp_path: Path) -> None:
    program, approval = tmp_path / "weed-1", tmp_path / "approval.json"
    program.write_bytes(b"program")
    packaged = package.PackagedBinary("weed-1", approval, folder=tmp_path)
    params = rpm.Parameters(arch="x86_64", source=Path("x.nosrc.rpm"), out=Path("x.rpm"), packaged=packaged)
    document.write(approval, Approval((Approved("weed-1", "0" * 64),)))
    with pytest.raises(common.Problem, match="did not approve this weed-1"):
        rpm.build(params, tmp_path / "refused")
    document.write(approval, Approval((Approved("weed-1", common.sha256_of(program)),)))
    assert package.approved(packaged) == program
