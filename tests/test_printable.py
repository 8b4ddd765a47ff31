"""The one door between foreign text and a terminal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fetch.printable import LIMIT, printable


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        (b"", ""),
        ("", ""),
        (b"2 messages", "2 messages"),
        ("grüße, 日本語 ☃", "grüße, 日本語 ☃"),
        ("grüße".encode(), "grüße"),
        (b"gr\xfc\xdfe", "gr\\xfc\\xdfe"),
        (b"\x1b[31mred", "\\x1b[31mred"),
        (b"\x9b31m", "\\x9b31m"),
        ("\x9b31m", "\\x9b31m"),  # C1 as a character
        (b"\xc2\x9b31m", "\\x9b31m"),
        (b"one\r\ntwo\tthree\0\x7f", "one\\r\\ntwo\\tthree\\x00\\x7f"),
        ("over\u202eride", "over\\u202eride"),
        ("line\u2028separator", "line\\u2028separator"),
        ("no\u00a0break", "no break"),
        ("10\u202f000 日本\u3000東京", "10 000 日本 東京"),
        ("می\u200cخواهم \U0001f468\u200d\U0001f4bb", "می\u200cخواهم \U0001f468\u200d\U0001f4bb"),
        (
            "\ufeffsoft\u00adware zero\u200bwidth word\u2060joiner \u200fש\u200e",
            "software zerowidth wordjoiner ש",
        ),
        ("عدد \u0600١٢ \u06dd", "عدد \u0600١٢ \u06dd"),
        ("\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f flag", "\U0001f3f4 flag"),
        (
            "new \U0001fae8\U0001faea\U0001face \U0002ebf0 \U0002fa20",
            "new \U0001fae8\U0001faea\U0001face \U0002ebf0 \U0002fa20",
        ),
        ("\U0001ffff\U0002ffff\ue000\ufff9", "\\U0001ffff\\U0002ffff\\ue000\\ufff9"),
        ("a\u2062b\u180ec", "abc"),
        ("\u2066isolated\u2069", "\\u2066isolated\\u2069"),
        ("\U000e0001", "\\U000e0001"),
        ("half \ud83d a pair", "half \\ud83d a pair"),
        ("gr\udcfc\udcdfe", "gr\\xfc\\xdfe"),
        ("back\\slash [/x] :smile:", "back\\slash [/x] :smile:"),
    ],
)
def test_what_is_not_printable_becomes_an_escape(foreign: bytes | str, shown: str) -> None:
    assert printable(foreign) == shown


def test_long_text_is_cut_after_it_was_made_printable() -> None:
    assert printable("x" * LIMIT) == "x" * LIMIT
    assert printable("x" * (LIMIT + 1)) == "x" * (LIMIT - 1) + "…"
    assert printable(b"\x1b" * LIMIT) == ("\\x1b" * LIMIT)[: LIMIT - 1] + "…"
    assert printable("abcdef", 5) == "abcd…"
    assert printable("abcde", 5) == "abcde"


def test_without_a_limit_nothing_is_cut() -> None:
    assert printable("x" * 100_000, None) == "x" * 100_000


JOINERS = "\u200c\u200d"
SIGNS = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
NEW = re.compile(
    "[\U0001f000-\U0001faff\U00020000-\U0002fffd]"
)  # perhaps assigned after this Python was made


@given(foreign=st.one_of(st.binary(), st.text(st.characters(codec=None))), limit=st.integers(1, 50))
def test_nothing_else_comes_through(foreign: bytes | str, limit: int) -> None:
    shown = printable(foreign, limit)
    assert NEW.sub("", shown.translate(dict.fromkeys(map(ord, JOINERS + SIGNS)))).isprintable()
    assert len(shown) <= limit
    assert printable(shown, limit) == shown
