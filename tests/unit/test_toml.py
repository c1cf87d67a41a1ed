"""Where a key is in a TOML text."""

from __future__ import annotations

from pipeline.config.toml import positions, show_key

TEXT = '''\
top = 1
text = """
[not.a.table]
inner = 2
"""
dotted.key = 1
[a]
b = [
  "x",
  { c = 1 },
]
[[a.list]]
name = "one"
[[a.list]]  # second
name = "two"
[a.list.deep]
"quoted" = 1
plain = 3
'''


def test_positions_of_tables_arrays_of_tables_and_keys() -> None:
    found = positions(TEXT)
    assert found[("top",)] == 1
    assert found[("text",)] == 2
    assert ("inner",) not in found
    assert ("not", "a", "table") not in found
    assert found[("dotted", "key")] == 6
    assert found[("a",)] == 7
    assert found[("a", "b")] == 8
    assert found[("a", "list")] == 12
    assert found[("a", "list", 0, "name")] == 13
    assert found[("a", "list", 1)] == 14
    assert found[("a", "list", 1, "name")] == 15
    assert found[("a", "list", 1, "deep", "plain")] == 18


def test_a_key_is_shown_as_people_write_it() -> None:
    assert show_key(("build", "variants", 1, "name")) == "build.variants[1].name"
    assert show_key(("name",)) == "name"
