"""The progress of several accounts: which lines there are, and how they are drawn and removed."""

from __future__ import annotations

import io

from pop3fetch.cli.screen.board import REDRAW, Board
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.screen.progress import ProgressLine
from pop3fetch.messages import Message
from tests.cli.screen.test_console import Tty
from tests.support.clock import Clock


def started(columns: int = 80) -> tuple[Console, Board, Clock]:
    console, clock = Console(io.StringIO(), Tty(), {"TERM": "xterm", "COLUMNS": str(columns)}), Clock(0)
    console.board = Board(3, console.draw_block, console.size, clock)
    return console, console.board, clock


def test_there_is_a_line_for_the_run_and_one_for_each_active_account() -> None:
    _, board, _ = started()
    board.begin("work")
    board.begin("home")
    assert board.lines(79, 24) == ["0/3 accounts", "work: connecting …", "home: connecting …"]
    board.show("work", "1/2 messages")
    board.end("home")
    assert board.lines(79, 24) == ["1/3 accounts", "work: 1/2 messages"]
    board.end("work")
    assert board.lines(79, 24) == ["2/3 accounts"]


def test_lines_fit_the_terminal() -> None:
    _, board, _ = started()
    for name in ("one", "two", "three"):
        board.begin(name)
    assert board.lines(8, 2) == ["0/3 acco", "one: con"]


def test_a_name_cannot_move_the_cursor() -> None:
    _, board, _ = started()
    board.begin("a\x1b[2Jb")
    assert "\x1b" not in "".join(board.lines(79, 24))


def test_lines_are_drawn_over_each_other_and_removed_before_the_next_line() -> None:
    console, board, clock = started()
    board.begin("work")
    assert console.err.getvalue() == "", "not so soon"  # type: ignore[attr-defined]
    clock.forward(2 * REDRAW)
    board.begin("home")
    block = "\r\x1b[J0/3 accounts\nwork: connecting …\nhome: connecting …\x1b[2A\r"
    assert console.err.getvalue() == block  # type: ignore[attr-defined]
    console.error("wrong")
    assert console.err.getvalue() == block + "\r\x1b[Jpop3fetch: wrong\n"  # type: ignore[attr-defined]


def test_the_progress_of_an_account_is_its_line() -> None:
    console, board, clock = started(columns=40)
    console.account = "work"
    line = ProgressLine(console, [Message(0, 1000, b"uid")], clock)
    clock.forward(2 * REDRAW)
    line.advance(octets=500)
    assert board.lines(39, 24)[1] == "work: 0/1 messages  500 B of 1.0 kB"
