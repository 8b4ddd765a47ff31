"""The console: which line goes to which stream, at which verbosity, and that nothing hostile passes it."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fetch.ahead import Interrupts
from pop3fetch.cli.screen.console import Console
from pop3fetch.errors import ConnectionLost, DeliveryError
from pop3fetch.printable import printable


class Tty(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


class Full(io.StringIO):
    """A stream on a full disk, or without a reader."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def write(self, text: str) -> int:
        raise self._error


def at_once(talk: Callable[[], object]) -> object:
    return talk()


def on_terminal(environment: Mapping[str, str] | None = None) -> Console:
    return Console(Tty(), Tty(), {"TERM": "xterm"} if environment is None else environment)


def in_cron() -> Console:
    return Console(io.StringIO(), io.StringIO(), {})


def said(console: Console) -> str:
    assert isinstance(console.err, io.StringIO)
    return console.err.getvalue()


def printed(console: Console) -> str:
    assert isinstance(console.out, io.StringIO)
    return console.out.getvalue()


# -- data ------------------------------------------------------------------------------------


@given(st.lists(st.text() | st.binary() | st.integers() | st.none(), min_size=1, max_size=5))
def test_a_row_is_one_line_with_as_many_columns(cells: list[str | bytes | int | None]) -> None:
    console = in_cron()
    console.row(*cells)
    line = printed(console)
    assert line.endswith("\n")
    columns = line[:-1].split("\t")
    assert len(columns) == len(cells)
    assert all(printable(column, None) == column for column in columns)


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_an_object_is_one_line_of_ascii_and_comes_back(value: dict[str, object]) -> None:
    console = in_cron()
    console.json(value)
    assert printed(console).isascii()
    assert printed(console).count("\n") == 1
    assert json.loads(printed(console)) == value


@pytest.mark.parametrize("stream", [in_cron(), on_terminal()], ids=["cron", "terminal"])
def test_the_account_precedes_everything(stream: Console) -> None:
    console = stream.for_account("wo\trk", at_once, Interrupts())
    console.row(1, b"uid")
    console.text("words")
    console.json({"number": 1})
    console.error("wrong")
    assert printed(console) == 'wo\\trk\t1\tuid\nwo\\trk: words\n{"account": "wo\\trk", "number": 1}\n'
    assert said(console) == "pop3fetch: wo\\trk: wrong\n"


def test_a_reader_that_left_is_distinguished_from_a_full_disk() -> None:
    with pytest.raises(BrokenPipeError):
        Console(Full(BrokenPipeError()), io.StringIO(), {}).row(1)
    with pytest.raises(DeliveryError, match=r"standard output: No space left"):
        Console(Full(OSError(28, "No space left on device")), io.StringIO(), {}).row(1)


# -- everything else -------------------------------------------------------------------------

LINES = {"error": -1, "warn": 0, "notice": 1}  # the least verbosity that shows it


@pytest.mark.parametrize("verbosity", [-1, 0, 1, 2])
@pytest.mark.parametrize("kind", LINES)
def test_verbosity_decides_what_is_printed(kind: str, verbosity: int) -> None:
    console = in_cron()
    console.verbosity = verbosity
    getattr(console, kind)("a word\x1b")
    assert said(console) == ("pop3fetch: a word\\x1b\n" if verbosity >= LINES[kind] else "")


@pytest.mark.parametrize(
    ("console", "verbosity", "expected"),
    [
        (on_terminal, -1, ""),
        (on_terminal, 0, "done\n"),
        (on_terminal, 1, "done\n"),
        (in_cron, 0, ""),
        (in_cron, 1, "pop3fetch: done\n"),
    ],
)
def test_a_remark_is_shown_on_a_terminal(
    console: Callable[[], Console], verbosity: int, expected: str
) -> None:
    heard = console()
    heard.verbosity = verbosity
    heard.remark("done")
    assert said(heard) == expected


def test_causes_are_shown_only_with_vv() -> None:
    error = ConnectionLost("host", "while waiting")
    error.__cause__ = OSError("broken \x1b pipe")
    for verbosity, lines in ((0, 1), (1, 1), (2, 2)):
        console = in_cron()
        console.verbosity = verbosity
        console.fail(error)
        assert said(console).count("\n") == lines
        assert "\x1b" not in said(console)


def test_a_line_that_cannot_be_printed_is_not_an_error() -> None:
    Console(io.StringIO(), Full(BrokenPipeError()), {}).error("wrong")


@pytest.mark.parametrize(
    ("console", "verbosity", "draws"),
    [
        (on_terminal(), 0, True),
        (on_terminal(), -1, False),
        (on_terminal({"TERM": "dumb"}), 0, False),
        (on_terminal({}), 0, False),
        (in_cron(), 0, False),
        (on_terminal().for_account("work", at_once, Interrupts()), 0, False),
    ],
)
def test_progress_is_drawn_if_the_terminal_can_redraw_a_line(
    console: Console, verbosity: int, draws: bool
) -> None:
    console.verbosity = verbosity
    assert console.shows_progress == draws


def test_a_drawn_line_is_taken_away_before_anything_else() -> None:
    console = on_terminal()
    console.draw("half")
    console.draw("all")
    console.error("wrong")
    console.error("again")
    console.draw("rest")
    console.row(1)
    assert said(console) == (
        "\rhalf\x1b[K\rall\x1b[K\r\x1b[Kpop3fetch: wrong\npop3fetch: again\n\rrest\x1b[K\r\x1b[K"
    )


@pytest.mark.parametrize(
    ("environment", "width"),
    [({}, 80), ({"COLUMNS": "40"}, 40), ({"COLUMNS": "0"}, 80), ({"COLUMNS": "x"}, 80)],
)
def test_the_width_is_the_environments_or_usual(environment: dict[str, str], width: int) -> None:
    console = on_terminal(environment)
    assert console.width(console.err) == width


# -- the person at the terminal --------------------------------------------------------------


class Keyboard(io.StringIO):
    """What a user types at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "agreed"), [("y\n", True), (" YES \n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_only_yes_is_yes(monkeypatch: pytest.MonkeyPatch, typed: str, agreed: bool) -> None:
    monkeypatch.setattr(sys, "stdin", Keyboard(typed))
    console = on_terminal()
    assert console.can_ask
    assert console.talk(lambda: console.confirm("Really\x1b?")) == agreed
    assert said(console) == "Really\\x1b? [y/N] " + ("" if typed else "\n")


def test_a_flush_does_not_wait_for_a_talk() -> None:
    written = io.BytesIO()
    console = Console(io.TextIOWrapper(written), io.StringIO(), {})
    console.text("one")

    def flushed_meanwhile() -> bytes:
        other = threading.Thread(target=console.flush_if_free)
        other.start()
        other.join()
        return written.getvalue()

    assert console.talk(flushed_meanwhile) == b""
    console.flush_if_free()
    assert written.getvalue() == b"one\n"


def test_a_talk_is_had_by_the_host() -> None:
    hosted = []

    def host(talk: Callable[[], object]) -> object:
        hosted.append(talk)
        return talk()

    assert on_terminal().for_account("work", host, Interrupts()).talk(lambda: 7) == 7
    assert len(hosted) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("caf\udce9", "caf\\xe9"),
        ("half \ud83d", "half \\ud83d"),
        ("\ude00\ud83d", "\\ude00\\ud83d"),
        ("\N{GRINNING FACE}", "\N{GRINNING FACE}"),
        ("\\ud83d", "\\ud83d"),
    ],
)
def test_an_object_holds_no_half_of_a_surrogate_pair(text: str, shown: str) -> None:
    console = in_cron()
    console.json({text: [text, {"path": text}, 1, None]})
    read = json.loads(printed(console))
    assert read == {shown: [shown, {"path": shown}, 1, None]}
    assert json.dumps(read, ensure_ascii=False).encode("utf-8")


def test_a_terminal_of_another_locale_is_shown_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    octets = io.BytesIO()
    terminal = Terminal(octets, encoding="utf-8")
    monkeypatch.setitem(sys._xoptions, "pop3fetch_terminal", "iso8859-1")
    monkeypatch.setattr(sys, "stdout", terminal)
    Console.of_process().text("Grüße ☃")
    terminal.flush()
    assert octets.getvalue() == b"Gr\xfc\xdfe \\u2603\n"
