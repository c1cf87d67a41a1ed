"""Pictures of a graph: every step, every arrow, nothing that breaks out of its quotes."""

from __future__ import annotations

from pipeline.model.image import Base, Image
from pipeline.model.step import Step
from pipeline.model.tree import Tree
from pipeline.release.drawing import dot, mermaid

IMAGE = Image("base", Base("base", "sha256:1"))


def graph() -> Tree:
    fetch = Step(title="fetch", image=IMAGE, argv=("1",), network=True)
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


def test_dot_has_a_node_a_step_and_no_arrow_that_follows_from_others() -> None:
    first = Step(title="first", image=IMAGE, argv=("1",))
    second = Step(title="second", image=IMAGE, argv=("2",), inputs=(("a", first.out),))
    third = Step(title="third", image=IMAGE, argv=("3",), inputs=(("a", first.out), ("b", second.out)))
    lines = dot(third.out).splitlines()
    assert lines[0] == "digraph release {"
    assert lines[-1] == "}"
    assert [line.split('label="')[1].split('"')[0] for line in lines if "label=" in line] == [
        "first",
        "second",
        "third",
    ]
    name = {title: line.split()[0] for line in lines for title in ("first", "second", "third") if f'"{title}"' in line}
    arrows = {line.strip(" ;") for line in lines if "->" in line}
    assert arrows == {f"{name['first']} -> {name['second']}", f"{name['second']} -> {name['third']}"}


def test_nothing_breaks_out_of_a_string_of_dot() -> None:
    title = 'a "b" \\ \\N <c> &lt;'
    (line,) = (line for line in dot(Step(title=title, image=IMAGE, argv=("1",)).out).splitlines() if "label=" in line)
    assert 'label="a \\"b\\" \\\\ \\\\N <c> &amp;lt;" tooltip=' in line
