"""The words of a fetchmailrc, as fetchmail's own lexer takes them apart."""

from __future__ import annotations

import pytest

from pop3fetch.importing.fetchmail_words import words
from pop3fetch.importing.foreign import Broken


def shown(text: str) -> list[str]:
    """Return the words: keywords as they are, texts in <>, numbers in ()."""
    marks = {"keyword": "{}", "text": "<{}>", "number": "({})"}
    return [marks[word.kind].format(word.text) for word in words(text)][:-1]


CASES = {
    "poll x proto POP3": ["poll", "<x>", "protocol", "pop3"],
    "server x protocol pop3;": ["poll", "<x>", "protocol", "pop3"],
    "proto Pop3": ["protocol", "<Pop3>"],
    "POLL x": ["<POLL>", "<x>"],
    "user joe with password keep": ["user", "<joe>", "password", "<keep>"],
    "user keep, pass set": ["user", "<keep>", "password", "<set>"],
    "user with": ["user", "<with>"],
    "password 12345": ["password", "<12345>"],
    "auth password user x": ["auth", "password", "user", "<x>"],
    "auth any, is x here": ["auth", "any", "is", "<x>", "here"],
    "is a b here": ["is", "<a>", "<b>", "here"],
    "is limit = keep": ["is", "<limit>", "=", "<keep>"],
    "set daemon 300": ["set", "daemon", "(300)"],
    "limit -1": ["limit", "(-1)"],
    "via 127.0.0.1:110": ["via", "<127.0.0.1>", "(110)"],
    "nokeep no keep nopass8 nossl": ["no", "keep", "no", "keep", "no", "pass8bits", "<nossl>"],
    "options ssl and uidl": ["ssl", "uidl"],
    '"abc"def "a b"c': ['<"abc"def>', "<a b>", "<c>"],
    "'a\"b' \"a'b\"": ["<a\"b>", "<a'b>"],
    '"two\nlines" x': ["<two\nlines>", "<x>"],
    "a#b # comment": ["<a#b>"],
    "a #b\n#c\nd": ["<a>", "<d>"],
    "a # at the end": ["<a>"],
    r'"\x41\X4a\101\065\\\n\t\"': ["<AJe5\\\n\t>"],
    '"joined\\\nline"': ["<joinedline>"],
    "a \\\n b": ["<a>", "<b>"],
    r'"\xe9"': ["<\udce9>"],
    "bad-header accept": ["bad-header", "accept"],
    "=;:,": ["="],
}  # fmt: skip


@pytest.mark.parametrize("text", CASES)
def test_words(text: str) -> None:
    assert shown(text) == CASES[text]


def test_lines_are_counted_through_comments_texts_and_joined_lines() -> None:
    text = 'a # one\n"b\nb" c \\\nd\r\n\ne'
    assert [(word.text, word.line) for word in words(text)][:-1] == [
        ("a", 1),
        ("b\nb", 2),
        ("c", 3),
        ("d", 4),
        ("e", 6),
    ]


def test_a_quote_may_be_missing() -> None:
    assert shown('"abc') == ['<"abc>']


def test_the_end_is_a_word() -> None:
    [end] = words("\n\n")
    assert (end.kind, end.text, end.line) == ("keyword", "", 3)


def test_nothing_else_is_broken() -> None:
    try:
        list(words("\x00\x01\xff"))
    except Broken:
        pytest.fail("any other octet is part of a text")
