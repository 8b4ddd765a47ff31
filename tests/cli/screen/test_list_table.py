"""The table: whatever is in it, it fits."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.screen.list_table import Row, show
from pop3fetch.headers import Summary
from pop3fetch.messages import Message
from tests.cli.screen.test_console import Tty

NOON = datetime(2026, 2, 12, 12, 0, tzinfo=UTC)


def shown(width: int, *rows: Row) -> list[str]:
    out = Tty()
    show(Console(out, io.StringIO(), {"COLUMNS": str(width), "TERM": "dumb"}), out, rows)
    return out.getvalue().splitlines()


def row(sender: str | None = "Bob", subject: str | None = "hello", date: datetime | None = NOON) -> Row:
    return Message(0, 1234, b"uid-1"), "*", Summary(date, sender, None, subject, None)


texts = st.text() | st.none()
rows = st.builds(
    lambda number, size, mark, sender, subject: (
        Message(number, size, b"uid"),
        mark,
        Summary(NOON, sender, None, subject, None),
    ),
    st.integers(0, 99_999),
    st.integers(0, 10**10),
    st.sampled_from(["", "*"]),
    texts,
    texts,
)


@given(st.lists(rows, min_size=1, max_size=5), st.integers(40, 250))
def test_it_fits_whatever_is_in_it(listed: list[Row], width: int) -> None:
    lines = shown(width, *listed)
    assert len(lines) == len(listed) + 1
    assert {cell_len(line) for line in lines} <= set(range(width + 1))
    assert len({cell_len(line) for line in lines}) == 1
    assert all(line.isprintable() for line in lines)


@given(st.binary(max_size=300), st.integers(40, 250))
def test_uids_fit_too(uid: bytes, width: int) -> None:
    lines = shown(width, (Message(7, 99, uid), "", None))
    assert all(cell_len(line) <= width and line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("sender", "name"),
    [
        ("Bob <bob@example.com>", "Bob"),
        ('"Picnic, The" <picnic@example.com>', "Picnic, The"),
        ("bob@example.com", "bob@example.com"),
        ("<bob@example.com>", "<bob@example.com>"),
        ('"" <bob@example.com>', '"" <bob@example.com>'),
        ("  Bob  <bob@example.com> ", "Bob"),
        ("Bob <bob@example.com> (work)", "Bob <bob@example.com> (work)"),
        (None, ""),
    ],
)
def test_a_sender_is_named_by_his_name(sender: str | None, name: str) -> None:
    line = shown(120, row(sender, subject="|"))[1]
    assert line.partition("|")[0].removeprefix("1  *  2026-02-12 12:00  ").rstrip() == name


def test_a_sender_keeps_two_fifths_and_the_subject_the_rest() -> None:
    header, line = shown(80, row("S" * 100, "T" * 100))
    assert line.count("S") + 1 == 18
    assert line.count("T") + 1 == 28
    assert header.index("from") == line.index("S")
    assert line.endswith("…  1.2 kB")


def test_room_that_one_text_does_not_need_is_the_others() -> None:
    line = shown(80, row("S" * 38, "T" * 5))[1]
    assert "S" * 38 in line
    line = shown(80, row("S" * 5, "T" * 40))[1]
    assert "T" * 40 in line


def test_what_is_missing_is_blank() -> None:
    assert shown(80, row(None, None, None))[1].split() == ["1", "*", "1.2", "kB"]


def test_narrow_terminals_get_short_dates() -> None:
    assert "02-12 " in shown(50, row())[1]
    assert "2026-02-12 12:00" in shown(70, row())[1]
