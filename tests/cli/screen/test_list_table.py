"""The table: whatever is in it, it fits."""

from __future__ import annotations

import io
import time
import weakref
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.screen.list_table import Row, columns, show, shown_date
from pop3fetch.headers.summary import Summary
from pop3fetch.messages import Message
from pop3fetch.printable import printable
from tests.cli.screen.test_console import Tty

NOON = datetime(2026, 2, 12, 12, 0, tzinfo=UTC)


def shown(width: int, *rows: Row, last: int = 9, environment: Mapping[str, str] | None = None) -> list[str]:
    out = Tty()
    console = Console(out, io.StringIO(), {"COLUMNS": str(width)})
    console.clock = NOON.timestamp
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NO_COLOR", raising=False)
        for name, value in {"TERM": "dumb", "TZ": "UTC", **(environment or {})}.items():
            patch.setenv(name, value)
        time.tzset()
        assert show(console, out, rows, last) == bool(rows)
    time.tzset()
    return out.getvalue().splitlines()


def summary(sender: str | None, subject: str | None, date: datetime | None = NOON) -> Summary:
    return Summary(date, sender, None, None, subject, None)


def row(sender: str | None = "Bob", subject: str | None = "hello", date: datetime | None = NOON) -> Row:
    return Message(0, 1234, b"uid-1"), "*", summary(sender, subject, date), True


texts = st.text() | st.none()
rows = st.builds(
    lambda number, size, mark, sender, subject: (
        Message(number, size, b"uid"),
        mark,
        summary(sender, subject),
        True,
    ),
    st.integers(0, 99_999),
    st.integers(0, 2**63 - 1),
    st.sampled_from(["", "*"]),
    texts,
    texts,
)


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_a_dumb_terminal_shows_every_column(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    title, line = shown(width, row())
    assert title.split() == ["#", "date", "from", "subject", "size"]
    assert line.split()[:2] == ["1", "*"]


def test_no_row_is_kept_until_the_table_is_complete() -> None:
    alive: list[weakref.ref[Headers]] = []

    class Headers(str):
        """Text that can be referred to weakly."""

    def rows() -> Iterator[Row]:
        for _ in range(100):
            subject = Headers("x" * 1000)
            alive.append(weakref.ref(subject))
            yield row(subject=subject)
            del subject
            kept.append(sum(reference() is not None for reference in alive))

    kept: list[int] = []
    out = Tty()
    assert show(Console(out, io.StringIO(), {"COLUMNS": "80", "TERM": "dumb"}), out, rows(), 100)
    assert max(kept) < 5


@given(st.lists(rows, min_size=1, max_size=5), st.integers(40, 250))
def test_it_fits_whatever_is_in_it(listed: list[Row], width: int) -> None:
    lines = shown(width, *listed, last=99_999)
    assert len(lines) == len(listed) + 1
    assert {columns(line) for line in lines} == {width}
    assert all(cell_len(line) <= width and printable(line, None) == line for line in lines)


@given(st.binary(max_size=300), st.integers(40, 250))
def test_uids_fit_too(uid: bytes, width: int) -> None:
    lines = shown(width, (Message(7, 99, uid), "", None, True))
    assert all(columns(line) == width and printable(line, None) == line for line in lines)


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
def test_a_sender_is_shown_by_name(sender: str | None, name: str) -> None:
    line = shown(120, row(sender, subject="|"))[1]
    assert line.partition("|")[0].removeprefix("1  *  today 12:00  ").rstrip() == name


def test_without_rows_nothing_is_printed() -> None:
    assert shown(80) == []


@pytest.mark.parametrize(("width", "sender", "subject"), [(80, 20, 31), (120, 30, 61), (200, 30, 141)])
def test_a_sender_gets_two_fifths_up_to_a_limit_and_the_subject_the_rest(
    width: int, sender: int, subject: int
) -> None:
    header, line = shown(width, row("S" * 200, "T" * 200))
    assert line.count("S") + 1 == sender
    assert line.count("T") + 1 == subject
    assert header.index("from") == line.index("S")
    assert line.endswith("T…  1.2 kB")


def test_an_ellipsis_follows_the_last_whole_character() -> None:
    assert "東" * 15 + "…   1.2 kB" in shown(81, row(subject="東" * 17))[1]


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("plain", 5),
        ("東京", 4),
        ("a\u0301", 1),
        ("שלום", 4),
        ("हिन्दी", 5),  # its vowels are beside the letters in some terminals
        ("\U0001f469\u200d\U0001f467", 4),  # mother and child, side by side if they are not joined
        ("\U0001f44d\U0001f3fd", 4),
        ("\u2764\ufe0f", 2),
        ("\U0001f1e9\U0001f1ea", 2),
    ],
)
def test_a_text_has_as_many_columns_as_any_terminal_gives_it(text: str, most: int) -> None:
    assert columns(text) == most


def test_an_emoji_that_is_cut_leaves_no_joiner() -> None:
    family = "\U0001f469\u200d\U0001f467\u200d\U0001f466"
    line = shown(80, row(subject="x" * 26 + family))[1]
    assert "x" * 26 + "\U0001f469\u200d\U0001f467…  " in line


def test_what_is_missing_is_blank() -> None:
    assert shown(80, row(None, None, None))[1].split() == ["1", "*", "1.2", "kB"]


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        (
            {"TERM": "xterm"},
            "1  \x1b[1;32m*\x1b[0m  \x1b[36mtoday 12:00\x1b[0m  Bob                   "
            "\x1b[1mhello                          \x1b[0m  1.2 kB",
        ),
        (
            {"TERM": "xterm", "NO_COLOR": "1"},  # no-color.org: bold is not a colour
            "1  \x1b[1m*\x1b[0m  today 12:00  Bob                   "
            "\x1b[1mhello                          \x1b[0m  1.2 kB",
        ),
        (
            {"TERM": "dumb"},
            "1  *  today 12:00  Bob                   hello                            1.2 kB",
        ),
    ],
    ids=["colours", "NO_COLOR", "dumb"],
)
def test_new_messages_stand_out(variables: dict[str, str], line: str) -> None:
    assert shown(80, row(), environment=variables)[1] == line


# Dates

NOW = datetime.fromisoformat("2026-03-31T14:05:00+02:00")  # a Tuesday; summer time began on Sunday


@pytest.mark.parametrize(
    ("date", "wide", "narrow"),
    [
        ("2026-03-31T14:05:00+02:00", "today 14:05", "14:05"),
        ("2026-03-31T00:00:00+02:00", "today 00:00", "00:00"),
        ("2026-03-30T23:30:00+01:00", "today 00:30", "00:30"),  # its day is that of the reader
        ("2026-03-30T23:59:59+02:00", "Mon 23:59", "Mon"),
        ("2026-03-29T00:30:00+00:00", "Sun 01:30", "Sun"),  # still winter time
        ("2026-03-25T09:00:00+01:00", "Wed 09:00", "Wed"),
        ("2026-03-24T23:59:59+01:00", "24 Mar", "24 Mar"),  # the same weekday as today
        ("2026-01-01T00:00:00+01:00", "1 Jan", "1 Jan"),
        ("2026-01-01T00:00:00+02:00", "2025-12-31", "2025-12"),
        ("2025-11-03T14:05:00+01:00", "2025-11-03", "2025-11"),
        ("1970-01-01T00:00:00+00:00", "1970-01-01", "1970-01"),
        # from the future: a wrong clock, or a forged date
        ("2026-03-31T23:00:00+02:00", "today 23:00", "23:00"),
        ("2026-04-01T00:00:00+02:00", "1 Apr", "1 Apr"),
        ("2026-12-24T18:00:00+01:00", "24 Dec", "24 Dec"),
        ("2027-01-01T00:00:00+01:00", "2027-01-01", "2027-01"),
        ("9998-12-31T23:59:59-23:59", "9999-01-02", "9999-01"),
    ],
)
def test_dates_are_shown_as_people_write_them(berlin: None, date: str, wide: str, narrow: str) -> None:
    then = datetime.fromisoformat(date)
    assert shown_date(then, NOW) == wide
    assert shown_date(then, NOW, narrow=True) == narrow


def test_early_in_a_year_the_last_week_is_still_named_by_its_days() -> None:
    then, now = datetime(2025, 12, 31, 9, 0, tzinfo=UTC), datetime(2026, 1, 2, 9, 0, tzinfo=UTC)
    assert shown_date(then, now, UTC) == "Wed 09:00"


@given(st.datetimes(datetime(1900, 1, 1), datetime(9998, 12, 31)), st.integers(-14 * 60, 14 * 60))
def test_every_date_fits_its_column(date: datetime, minutes: int) -> None:
    then = date.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert 1 <= len(shown_date(then, NOW, UTC)) <= len("today 14:05")
    assert 1 <= len(shown_date(then, NOW, UTC, narrow=True)) <= len("2025-11")


def test_narrow_terminals_get_short_dates() -> None:
    assert "12:00 " in shown(69, row())[1] and "today" not in shown(69, row())[1]
    assert "today 12:00" in shown(70, row())[1]
