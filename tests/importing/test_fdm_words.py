"""The words of an fdm.conf, as fdm's own lexer takes them apart."""

from __future__ import annotations

import pytest

from pop3fetch.importing.fdm_words import Words, loader
from pop3fetch.importing.foreign import Broken
from tests.support.foreign_files import HOME, where

MARKS = {"word": "{}", "text": "<{}>", "number": "({})", "symbol": "{}", "command": "!{}!", "unknown": "?{}?"}


def shown(text: str) -> list[str]:
    """Return the words; ``$x = "a"`` defines a macro."""
    words = Words("conf", text.encode(), loader("conf", where().load))
    found = []
    while (word := words.take()).kind != "end":
        if word.kind == "define":
            words.macros[word.text] = words.take()
        else:
            found.append(MARKS[word.kind].format(word.text))
    return found


CASES = {
    "account 'a' keep": ["account", "<a>", "keep"],
    "set maximum-size 10M # large": ["set", "maximum-size", "(10)", "M"],
    "'no \\n $ ${x} \" escapes'": ['<no \\n $ ${x} " escapes>'],
    r'"\r\n\t\"\\\x"': ['<\r\n\t"\\x>'],
    '$x = "a" $x ${x} "${x}b%{x}c${y}"': ["<a>", "<a>", "<abc>"],
    '$x = "a" \'${x}\' "$x $ %x"': ["<${x}>", "<$x $ %x>"],
    '%n = 5 %n "%{n}"': ["(5)", "<5>"],
    "$x == 'a'": [],
    "$(pass show 'a (b' | (cat)) x": ["!pass show 'a (b' | (cat)!", "x"],
    "%(echo 5)": ["!echo 5!"],
    '$x = $(id) "a${x}"': ["?aid?"],
    "a == b != c ! ~ + ( ) , < > { } *": ["a", "==", "b", "!=", "c", *"!~+(),<>{}*"],
    "ifdef $x a endif b": ["b"],
    "ifndef $x a endif b": ["a", "b"],
    '$x = "1" ifdef ${x} a ifndef $x b endif c endif d': ["a", "d"],
    "ifdef %x 'a # \" endif' $undefined endif": [],
    "'two\nlines'": ["<two\nlines>"],
    "\t\r\n": [],
}


@pytest.mark.parametrize("text", CASES)
def test_words(text: str) -> None:
    if text == "$x == 'a'":  # a comparison with a macro that is not defined
        with pytest.raises(Broken):
            shown(text)
        return
    assert shown(text) == CASES[text]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n$x", 2),
        ("\n\n'a", 3),
        ('"a\n\n', 3),
        ("$(a", 1),
        ("endif", 1),
        ("ifdef $x\na\n", 3),
        ("ifdef x", 1),
        ("a\n@", 2),
        ("$\n", 1),
    ],
)
def test_a_broken_word_is_named(text: str, line: int) -> None:
    with pytest.raises(Broken) as broken:
        shown(text)
    assert (broken.value.line, broken.value.file) == (line, "conf")


def test_macros_that_double_are_broken_before_they_fill_the_memory() -> None:
    lines = ['$a0 = "xxxxxxxx"', *(f'$a{n} = "${{a{n - 1}}}${{a{n - 1}}}"' for n in range(1, 40))]
    with pytest.raises(Broken, match="longer than"):
        shown("\n".join(lines))


def test_files_are_included_from_beside_the_main_one() -> None:
    files = {
        f"{HOME}/one": b"a include_me_not\n'x",
        "/abs/two": b"\nb",
        f"{HOME}//abs/three": b"c",
    }
    load = loader(f"{HOME}/conf", where(files).load)
    assert load("one") == (f"{HOME}/one", files[f"{HOME}/one"])
    assert load("/abs/two") == ("/abs/two", b"\nb")
    words = Words("conf", b"x\ny", load)
    origins = []
    words.take()
    words.include("/abs/two", words.peek().origin)
    while (word := words.take()).kind != "end":
        origins.append((word.text, *word.origin))
    assert origins == [("y", "conf", 2), ("b", "/abs/two", 2)]


def test_a_missing_file_and_a_circle_are_broken() -> None:
    words = Words("conf", b"x", loader("conf", where({"conf": b"x"}).load))
    origin = words.peek().origin
    with pytest.raises(Broken, match="nosuch: No such file"):
        words.include("nosuch", origin)
    with pytest.raises(Broken, match="too many"):
        while True:
            words.include("conf", origin)
