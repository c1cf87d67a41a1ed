"""Our reader of TOML takes and refuses what Python's own does."""

from __future__ import annotations

import datetime as dt
import math
import random
import tomllib

import pytest
from weedops import toml

from tests.unit.weed_host import PRODUCT

SAMPLE = '''
a.b.c = 1
a.b.d = "x\\u00e9\\tq"
"quoted key" = 'literal \\ '
[t]
x = [1, 2, # comment
 3,]
y = {a = 1, b.c = 'q'}
when = 2020-01-01T00:00:00Z
[[arr]]
z = 1.5e3
[[arr]]
[arr.sub]
k = 0x1F
o = 0o17
b = 0b11
big = 1_000
s = """a\\
   b"" """
l = \'\'\'x
y\'\'\'
[t.u]
v = inf
n = -nan
yes = true
no = false
'''


def plain(value: object) -> object:
    """Dates are text in ours, so they only have to be there."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, dt.date | dt.time):
        return dt.date
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    return value


def same(ours: object, theirs: object) -> bool:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return isinstance(ours, str) if theirs is dt.date else ours == theirs and type(ours) is type(theirs)


def agree(text: str) -> bool:
    """Whether both readers take `text` with the same result, or both refuse it."""
    try:
        theirs = plain(tomllib.loads(text))
    except ValueError:
        with pytest.raises(toml.TomlError, match=r"^line \d+: "):
            toml.loads(text)
        return False
    assert same(plain(toml.loads(text)), theirs), text
    return True


def test_what_the_specification_has_is_read() -> None:
    assert agree(SAMPLE)


@pytest.mark.parametrize("name", ["security", "master", "volume", "filer"])
def test_the_shipped_files_are_read(name: str) -> None:
    assert agree((PRODUCT / f"config/{name}.toml").read_text())


@pytest.mark.parametrize(
    "text",
    [
        "a", "a =", "= 1", "a = 1 b = 2", "[a", "[a]]", "[[a]", "[]", "a = [1", "a = {b = 1", "a = {b = 1,}", 'a = "x',
        "a = 'x", 'a = """x', "a = 01", "a = 1__0", "a = 1.", "a = .5", "a = 0x", "a = True", 'a = "\\q"',
        'a = "\\ud800"', "a = 1\na = 2", "[a]\n[a]", "[a]\nb.c = 1\n[a.b]", "a = [1]\n[[a]]", "a = {}\n[a.b]",
        "[[a]]\n[a]", "a.b = 1\na.b.c = 2", "a = {b = 1}\na.c = 2", "a = 2020-13-01", 'a = "\x01"', "a = 1 # \x01",
        "\ufeffa = 1", "a b = 1", '"""a""" = 1',
    ],
)  # fmt: skip
def test_what_it_does_not_have_is_refused(text: str) -> None:
    assert not agree(text)


def test_both_agree_on_three_thousand_damaged_texts() -> None:
    chance = random.Random(20260822)
    taken = 0
    for _ in range(3000):
        text = list(SAMPLE)
        for _ in range(chance.choice([1, 1, 2, 3])):
            at = chance.randrange(len(text))
            if chance.random() < 0.5:
                del text[at : at + chance.choice([1, 1, 5])]
            else:
                text.insert(at, chance.choice("[]{}=.\"'#\n,\\a01_-+e:T \t"))
        taken += agree("".join(text))
    assert 300 < taken < 2700
