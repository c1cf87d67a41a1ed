"""The picture that Graphviz makes of a graph: valid XML, with every step, every arrow and every word as it is."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import anyio
import pytest

from pipeline.errors import EngineError
from pipeline.model.image import Base, Image
from pipeline.model.step import Step
from pipeline.model.tree import Tree
from pipeline.release.drawing import svg
from tests.conftest import require_tool

IMAGE = Image("base", Base("base", "sha256:1"))
SVG = "{http://www.w3.org/2000/svg}"
ODD = 'left "quoted" <b> \\N \\ &lt; ü'


def graph() -> Tree:
    first = Step(title="first", image=IMAGE, argv=("1",))
    left = Step(title=ODD, image=IMAGE, argv=("2",), inputs=(("a", first.out),))
    right = Step(title="right", image=IMAGE, argv=("3",), inputs=(("a", first.out),))
    return Step(title="last", image=IMAGE, argv=("4",), inputs=(("a", left.out), ("b", right.out))).out


def test_it_has_a_box_a_step_with_its_words_and_an_arrow_an_input() -> None:
    require_tool("dot")
    groups = ET.fromstring(anyio.run(svg, graph())).findall(f".//{SVG}g")
    nodes = [group for group in groups if group.get("class") == "node"]
    texts = {text.text: float(text.attrib["x"]) for group in nodes for text in group.iter(f"{SVG}text")}
    assert set(texts) == {"first", ODD, "right", "last"}
    assert texts["first"] < min(texts[ODD], texts["right"]) <= max(texts[ODD], texts["right"]) < texts["last"]
    assert sum(1 for group in groups if group.get("class") == "edge") == 4


def test_without_graphviz_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError) as caught:
        anyio.run(svg, graph())
    assert "the program dot is not installed" in str(caught.value)
    assert "apt-get install graphviz" in str(caught.value)
