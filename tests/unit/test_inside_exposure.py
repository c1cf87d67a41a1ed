"""The judgement of units: what is judged, what closes, and what a release says of it. systemd is not asked here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.product import load_product, parse_product
from pipeline.model.artifact import Kind
from pipeline.model.graph import predecessors
from pipeline.model.step import Step
from pipeline.model.tree import Files
from pipeline.programs.common import Problem
from pipeline.programs.package import exposure
from pipeline.programs.package.package_documents import Exposed, Service
from pipeline.release.plan import plan
from pipeline.stages.context import Context
from tests.unit.test_release_graph import PRODUCTS, context, made, titles

ROW = Exposed("PrivateNetwork=", 0.5, "Service has access to the host's network")


class Systemd:
    """What systemd says of the units of packages: by package its units, their scores, and complaints."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.units: dict[str, dict[str, bytes]] = {}
        self.scores: dict[bytes, float] = {}
        self.said: dict[str, list[str]] = {}
        self.judged: list[str] = []
        monkeypatch.setattr(exposure, "version", lambda: "252.1")
        monkeypatch.setattr(exposure, "install", lambda package, *_: Path(package.label))
        monkeypatch.setattr(exposure, "units_of", lambda root: self.units[root.name])
        monkeypatch.setattr(exposure, "complaints", lambda root, _: self.said.get(root.name, []))
        monkeypatch.setattr(exposure, "exposure", self.score)

    def score(self, root: Path, unit: str, limit: int) -> Service:
        self.judged.append(f"{root.name} {unit}")
        score = self.scores[self.units[root.name][unit]]
        return Service(unit, score, "accepted" if score * 10 <= limit else "over the limit", (), (ROW,))

    def judge(self, folder: Path) -> dict[str, Any]:
        packages = tuple(exposure.CheckedPackage(label, "weed", "deb", folder) for label in self.units)
        out = folder / "exposure.json"
        exposure.main(exposure.Parameters(packages, "weed", 13, out))
        content: dict[str, Any] = json.loads(out.read_text())
        return content


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> Systemd:
    said = Systemd(monkeypatch)
    said.units = {label: {"a@.service": b"good", "a.target": b""} for label in ("deb", "rpm")}
    said.scores = {b"good": 1.2, b"bad": 2.1}
    return said


def test_what_all_packages_have_is_judged_once(systemd: Systemd, tmp_path: Path) -> None:
    found = systemd.judge(tmp_path)
    assert systemd.judged == ["deb a@.service"]
    assert (found["systemd"], found["limit"]) == ("252.1", 1.3)
    (unit,) = found["units"]
    assert (unit["unit"], unit["exposure"], unit["packages"]) == ("a@.service", 1.2, ["deb", "rpm"])


def test_what_differs_between_packages_is_judged_twice(systemd: Systemd, tmp_path: Path) -> None:
    systemd.units["rpm"] = {"a@.service": b"other", "a@.service.d/x.conf": b""}
    systemd.scores[b"other"] = 1.3
    found = systemd.judge(tmp_path)["units"]
    assert [(unit["exposure"], unit["packages"]) for unit in found] == [(1.2, ["deb"]), (1.3, ["rpm"])]


def test_a_service_over_the_limit_closes_and_is_told_with_its_score_and_what_counts(
    systemd: Systemd, tmp_path: Path
) -> None:
    systemd.units["rpm"] = {"a@.service": b"bad"}
    with pytest.raises(Problem) as problem:
        systemd.judge(tmp_path)
    refused, worst, hint = problem.value.lines
    assert refused == "a@.service (rpm): its exposure is 2.1, and 1.3 is allowed; worst:"
    assert worst == "  0.5 PrivateNetwork= Service has access to the host's network"
    assert hint.startswith("to do: ")
    assert not (tmp_path / "exposure.json").exists()


def test_a_complaint_closes_and_is_told_once_with_the_packages(systemd: Systemd, tmp_path: Path) -> None:
    systemd.said = {label: ["a@1.service: Command /x is not executable"] for label in systemd.units}
    with pytest.raises(Problem, match=r"\na@1\.service: Command /x is not executable \(deb, rpm\)\n"):
        systemd.judge(tmp_path)


def test_complaints_and_scores_are_told_together(systemd: Systemd, tmp_path: Path) -> None:
    systemd.said, systemd.units["rpm"] = {"deb": ["a@1.service: no"]}, {"a@.service": b"bad"}
    with pytest.raises(Problem) as problem:
        systemd.judge(tmp_path)
    assert [line.partition(":")[0] for line in problem.value.lines] == [
        "systemd objects to units", "a@1.service", "to do", "a@.service (rpm)",
        f"  0.5 {ROW.directive} {ROW.why}", "to do",
    ]  # fmt: skip


def test_only_the_worst_are_told() -> None:
    exposed = tuple(replace(ROW, directive=f"D{number}=") for number in range(exposure.SHOWN + 3))
    said = exposure.refusal(Service("a.service", 9.6, "over the limit", ("x",), exposed), 13)
    assert said[-2:] == [f"  0.5 D{exposure.SHOWN - 1}= {ROW.why}", "  and 3 more"]


@pytest.mark.parametrize(
    ("unit", "loaded"),
    [
        ("a@.service", "a@1.service"),
        ("a.service", "a.service"),
        ("a@2.service", "a@2.service"),
        ("b@.socket", "b@1.socket"),
    ],
)
def test_of_a_template_an_instance_is_loaded(unit: str, loaded: str) -> None:
    assert exposure.instance(unit) == loaded


@pytest.mark.parametrize("said", ["systemd 239 (239-78.0.1.el8)\n+PAM\n", "systemd 249 (249.11)\n", "nonsense", ""])
def test_an_image_whose_systemd_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setattr(exposure, "run", lambda *_, **__: said)
    with pytest.raises(
        Problem, match=r"needs systemd 250 or later, and this image has (systemd 2\d9|nonsense|nothing)"
    ):
        exposure.version()


@pytest.mark.parametrize("said", ["systemd 252 (252.39-1~deb12u2)\n+PAM\n", "systemd 252 (252.39-1~deb12u2 x)\n"])
def test_the_version_is_that_of_the_package(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setattr(exposure, "run", lambda *_, **__: said)
    assert exposure.version() == "252.39-1~deb12u2"


def step(c: Context | None = None) -> Step:
    return titles(made(c))["exposure"]


def params(of: Step) -> dict[str, Any]:
    program = dict(of.inputs)["program"]
    assert isinstance(program, Files)
    content: dict[str, Any] = json.loads(dict(program.entries)["params.json"].content)
    return content


def test_every_package_is_judged_in_the_image_that_can_by_the_stricter_limit() -> None:
    found = params(step())
    assert found["limit"] == 13
    assert [package["label"] for package in found["packages"]] == [
        f"{distribution}-{variant}"
        for distribution in ("ubuntu22.04", "ol8", "ol9")
        for variant in ("standard", "fips")
    ]
    assert [(package["format"], package["name"]) for package in found["packages"]][1:3] == [
        ("deb", "example-fips"), ("rpm", "example"),
    ]  # fmt: skip
    assert {name for name, _ in step().inputs} == {*(package["label"] for package in found["packages"]), "program"}
    assert step().image.name == "rpm-ol9"


def test_the_judgement_is_the_same_whatever_is_built() -> None:
    assert step(context(targets=("linux/arm64",), variants=("fips",))) == step()


def test_no_package_with_a_service_is_made_and_nothing_indexed_before_the_judgement() -> None:
    steps = titles(made())
    waiting = [title for title in steps if title.startswith(("deb ", "rpm ", "index"))]
    assert len(waiting) == 15
    for title in waiting:
        assert (steps["exposure"] in predecessors(steps[title])) != title.endswith(" selinux"), title


def test_it_is_part_of_the_release_and_the_product_says_what_is_allowed() -> None:
    (artifact,) = [artifact for artifact in made().artifacts if artifact.kind is Kind.EXPOSURE]
    assert artifact.name == "exposure.json"
    text = (PRODUCTS / "example" / "product.toml").read_text().replace("selinux = true", "exposure = 2\nselinux = true")
    assert params(step(replace(context(), product=parse_product(text, where="product.toml"))))["limit"] == 20


def test_a_product_without_services_is_not_judged() -> None:
    c = context()
    kept = {path: file for path, file in c.packaging.entries if not path.endswith(".service")}
    assert "exposure" not in titles(plan(replace(c, packaging=Files.of(kept))))
    product = load_product(PRODUCTS / "example").model_copy(update={"stages": ("archive", "sbom", "scan")})
    assert "exposure" not in titles(plan(replace(c, product=product)))
