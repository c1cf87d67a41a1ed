"""Secrets disappear from a stream however it is cut, and everything else stays."""

from __future__ import annotations

import base64
import random

import pytest

from pipeline.engine.local.redact import MASK, Redactor, forms

KEY = b"-----BEGIN-----\nAbCdEfGhIjKlMnOp\nshort\n0123456789abcdef\n-----END-----\n"


def through(redactor: Redactor, data: bytes, sizes: list[int]) -> bytes:
    shown = b""
    position = 0
    while position < len(data):
        size = sizes[position % len(sizes)]
        shown += redactor.feed(data[position : position + size])
        position += size
    return shown + redactor.close()


@pytest.mark.parametrize("sizes", [[1], [2, 3], [5, 1, 7], [64], [10_000]])
def test_no_cut_lets_a_secret_through(sizes: list[int]) -> None:
    encoded = base64.b64encode(KEY)
    data = b"before " + KEY + b" middle AbCdEfGhIjKlMnOp, " + encoded + b" after\n"
    shown = through(Redactor([KEY]), data, sizes)
    assert shown == b"before " + MASK + b" middle " + MASK + b", " + MASK + b" after\n"


def test_random_cuts_of_random_text_give_the_same_as_one_piece() -> None:
    chance = random.Random(3)
    secrets = [b"aabaabaab", b"baabaa", b"abab"]
    for _ in range(300):
        data = bytes(chance.choice(b"ab\n") for _ in range(chance.randrange(1, 120)))
        whole = through(Redactor(secrets), data, [10_000])
        pieces = through(Redactor(secrets), data, [chance.randrange(1, 9) for _ in range(7)])
        assert pieces == whole
        assert not any(secret in whole for secret in secrets)


def test_lines_of_seven_characters_are_everyday_words() -> None:
    found = forms(b"seven77\neight888\n")
    assert b"eight888" in found
    assert b"seven77" not in found


def test_a_short_value_is_hidden_whole() -> None:
    assert through(Redactor([b"pw1"]), b"the pw1 is pw12", [4]) == b"the *** is ***2"


def test_base64_inside_of_a_longer_text_is_hidden() -> None:
    token = b"token-0123456789"
    for lead in (b"", b"u", b"us", b"user:"):
        shown = through(Redactor([token]), base64.b64encode(lead + token + b"\n"), [3])
        assert MASK in shown
        assert base64.b64encode(token)[4:-4] not in shown


def test_base64_in_lines_is_hidden() -> None:
    value = bytes(range(33, 127)) * 3
    encoded = base64.encodebytes(value)
    shown = through(Redactor([value]), encoded, [11])
    assert not any(line in shown for line in encoded.splitlines() if len(line) > 8)


def test_without_secrets_nothing_is_held_back() -> None:
    redactor = Redactor([])
    assert redactor.feed(b"abc") == b"abc"
    assert redactor.close() == b""
    assert forms(b" \n") == set()


def test_text_that_begins_no_secret_is_shown_at_once() -> None:
    redactor = Redactor([b"secret-value"])
    assert redactor.feed(b"compiling sec") == b"compiling "
    assert redactor.feed(b"tions\n") == b"sections\n"
