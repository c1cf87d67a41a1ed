"""Pictures of a graph: every step, every arrow, valid XML, nothing that breaks out of its quotes."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from pipeline.model.image import Base, Image
from pipeline.model.step import Effect, Step
from pipeline.model.tree import Tree
from pipeline.release.drawing import mermaid, svg

IMAGE = Image("base", Base("base", "sha256:1"))
SVG = "{http://www.w3.org/2000/svg}"


def graph() -> Tree:
    fetch = Step(title="fetch", image=IMAGE, argv=("1",), effect=Effect.FETCH)
    left = Step(title='left "quoted" <b>', image=IMAGE, argv=("2",), inputs=(("a", fetch.out),))
    right = Step(title="right", image=IMAGE, argv=("3",), inputs=(("a", fetch.out),))
    return Step(title="last " + "x" * 60, image=IMAGE, argv=("4",), inputs=(("a", left.out), ("b", right.out))).out


def test_mermaid_has_a_node_a_step_and_an_arrow_an_input() -> None:
    lines = mermaid(graph()).splitlines()
    assert lines[0] == "flowchart LR"
    assert sum(" --> " in line for line in lines) == 4
    assert sum('["' in line or '[/"' in line for line in lines) == 4
    assert any('[/"fetch"/]' in line for line in lines)
    assert not any('"quoted"' in line for line in lines)


def test_svg_is_xml_with_a_box_a_step_and_a_curve_an_input() -> None:
    root = ET.fromstring(svg(graph()))
    boxes = root.findall(f"{SVG}g")
    assert len(boxes) == 4
    assert len(root.findall(f"{SVG}path")) == 4
    titles = {(group.findtext(f"{SVG}title") or "").splitlines()[0] for group in boxes}
    assert 'left "quoted" <b>' in titles


def test_svg_columns_follow_the_order_of_inputs() -> None:
    root = ET.fromstring(svg(graph()))
    columns = {
        (group.findtext(f"{SVG}title") or "").split()[0]: int(group.find(f"{SVG}rect").attrib["x"])  # type: ignore[union-attr]
        for group in root.findall(f"{SVG}g")
    }
    assert columns["fetch"] < columns["left"] == columns["right"] < columns["last"]


def test_no_two_boxes_lie_on_each_other() -> None:
    root = ET.fromstring(svg(graph()))
    corners = [(rect.attrib["x"], rect.attrib["y"]) for rect in root.iter(f"{SVG}rect") if "rx" in rect.attrib]
    assert len(set(corners)) == len(corners) == 4
