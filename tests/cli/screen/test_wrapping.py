"""Wrapped lines: no word is lost or divided, and each line fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pop3fetch.cli.screen.wrapping import INDENT, LEAST, wrapped

words = st.text(st.sampled_from("ab/-é佐"), min_size=1, max_size=30)


@given(st.lists(words, max_size=20), st.integers(0, 100))
def test_every_word_is_kept_and_every_line_fits(written: list[str], width: int) -> None:
    lines = wrapped(" ".join(written), width).split("\n")
    assert " ".join(line.removeprefix(INDENT) for line in lines).split() == written
    room = max(width, LEAST)
    for line in lines:
        assert cell_len(line) <= room or any(cell_len(INDENT + word) > room for word in line.split())


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("short", ["short"]),
        ("exactly twenty chars", ["exactly twenty chars"]),
        ("one more than twenty!", ["one more than", "  twenty!"]),
        ("now run `pop3fetch list`", ["now run", "  `pop3fetch list`"]),
        ("you should use --tls starttls", ["you should use", "  --tls starttls"]),
        ('a word, --exec "sh -c x"', ["a word, --exec", '  "sh -c x"']),
        ("  names  a b c d e f g h i j", ["  names  a b c d e f", "  g h i j"]),
        ("go " + "x" * 30 + " on", ["go", "  " + "x" * 30 + " on"]),
    ],
)
def test_what_belongs_together_stays_together(text: str, lines: list[str]) -> None:
    assert wrapped(text, 20).split("\n") == lines
