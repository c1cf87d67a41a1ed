"""What gpg says is read from its own words alone, never from what somebody calls themselves."""

from __future__ import annotations

from pipeline.programs import gpg

GOOD = "[GNUPG:] VALIDSIG AA 2026-01-01 1767225600 0 4 0 1 10 00 BB"


def test_a_status_line_is_told_by_its_beginning() -> None:
    text = (
        f"gpg: {GOOD}\n [GNUPG:] VALIDSIG CC\n[GNUPG:]VALIDSIG DD\n{GOOD}\n[GNUPG:] GOODSIG 0123 Mallory VALIDSIG EE\n"
    )
    found = gpg.statuses(text)
    assert [words[0] for words in found] == ["VALIDSIG", "GOODSIG"]
    assert found[0][-1] == "BB"


def test_only_a_line_feed_ends_a_line() -> None:
    for separator in "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\r":
        user = f"Mallory{separator}{GOOD}"
        assert [words[0] for words in gpg.statuses(f"[GNUPG:] GOODSIG 0123 {user}\n")] == ["GOODSIG"]
        listing = gpg.records(f"uid:u::::::::Mallory{separator}fpr:::::::::EE:\nfpr:::::::::AA:\n")
        assert [record[9] for record in listing if record[0] == "fpr"] == ["AA"]
