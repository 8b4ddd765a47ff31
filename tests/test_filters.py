"""Filters, each by a table: which headers and which sizes match."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import combinations

import pytest

from pop3fetch import filters
from pop3fetch.filters import Filters
from pop3fetch.headers.summary import Summary, summarize

NOW = datetime(2026, 11, 8, 12, 0, tzinfo=UTC)
BARE = Summary(*[None] * 6)


def headers(**fields: str) -> Summary:
    lines = (f"{name.title()}: {value}\r\n" for name, value in fields.items())
    return summarize("".join(lines).encode() + b"\r\n")


@pytest.mark.parametrize("field", ["sender", "to", "subject"])
@pytest.mark.parametrize(
    ("text", "value", "matches"),
    [
        ("bob@example.com", "Bob <bob@example.com>", True),
        ("Bob <bob@example.com>", "Bob <bob@example.com>", True),
        ("BOB", "Bob <bob@example.com>", True),
        ("bob", "BOB <B@EXAMPLE.COM>", True),
        ("@example.com>", "Bob <bob@example.com>", True),
        ("carol", "Bob <bob@example.com>", False),
        ("Bob  <", "Bob <bob@example.com>", False),
        ("grüße", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", True),
        ("GRÜSSE", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", True),
        ("GR\u0075\u0308SSE", "Grüße", True),  # an u with an umlaut, in two characters
        ("grusse", "Grüße", False),
        ("strasse", "Straße", True),
        ("=?utf-8?q?Gr", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", False),
        ("two words", "=?utf-8?q?two?=\r\n =?utf-8?q?_words?=", True),
        ("two words", "two\r\n words", True),
        ("two words", "two\twords", True),  # as a list shows it
        ("10 000 \u00ad€", "10\u202f000\u00a0€", True),
        ("software", "=?utf-8?q?soft=C2=ADware?=", True),
        ("東京 大阪", "東京\u3000大阪", True),
        ("می\u200cخواهم", "می\u200cخواهم", True),
        ("\\u202e", "a\u202eb", True),
        ("(?i).*", "Bob", False),
        ("花見", "=?iso-2022-jp?b?GyRCMlY4KxsoQg==?=", True),
    ],
)
def test_a_text_is_looked_for_in_the_decoded_field(field: str, text: str, value: str, matches: bool) -> None:
    name = {"sender": "from"}.get(field, field)
    assert Filters(**{field: text}).match_headers(headers(**{name: value}), NOW) is matches  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wanted",
    [Filters(sender="x"), Filters(to="x"), Filters(subject="x"), Filters(since=NOW), Filters(before=NOW)],
)
def test_what_is_absent_does_not_match(wanted: Filters) -> None:
    assert not wanted.match_headers(BARE, NOW)


def test_a_text_is_not_looked_for_in_other_fields() -> None:
    seen = headers(**{"from": "a", "to": "b", "subject": "c", "cc": "d", "message-id": "e"})
    for field, others in (("sender", "bcde"), ("to", "acde"), ("subject", "abde")):
        for other in others:
            assert not Filters(**{field: other}).match_headers(seen, NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["", " ", "\t", "\n", "\u00a0", "\u200b", "\u00ad "])
def test_a_blank_text_is_wrong(word: str) -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        filters.text(word)


def test_a_text_keeps_its_blanks() -> None:
    assert filters.text(" re: ") == " re: "


NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
AGE = NOW - NOON


@pytest.mark.parametrize("when", [NOON, NOON.astimezone(timezone(timedelta(hours=-9))), AGE])
@pytest.mark.parametrize(
    ("date", "is_since"),
    [
        ("Sun, 1 Nov 2026 11:59:59 +0000", False),
        ("Sun, 1 Nov 2026 12:00:00 +0000", True),
        ("Sun, 1 Nov 2026 12:00:01 +0000", True),
        ("Sun, 1 Nov 2026 13:00:00 +0100", True),
        ("Sun, 1 Nov 2026 12:59:00 +0100", False),
        ("Sun, 1 Nov 2026 07:00:00 EST", True),
        ("Mon, 1 Jan 2035 00:00:00 +0000", True),  # a clock that was wrong
        ("Thu, 1 Jan 1970 00:00:00 +0000", False),
    ],
)
def test_since_includes_its_moment_and_before_excludes_it(
    when: datetime | timedelta, date: str, is_since: bool
) -> None:
    seen = headers(date=date)
    assert Filters(since=when).match_headers(seen, NOW) is is_since
    assert Filters(before=when).match_headers(seen, NOW) is not is_since


@pytest.mark.parametrize("date", ["", "yesterday", "Sun, 1 Nov 2026 12:00:00", "Sun, 1 Nov 2026 12:00 XST"])
def test_a_date_of_no_known_value_is_neither_since_nor_before(date: str) -> None:
    seen = headers(date=date)
    assert not Filters(since=datetime(1900, 1, 1, tzinfo=UTC)).match_headers(seen, NOW)
    assert not Filters(before=datetime(9000, 1, 1, tzinfo=UTC)).match_headers(seen, NOW)
    assert Filters().match_headers(seen, NOW)


@pytest.mark.parametrize(
    ("wanted", "sizes"),
    [
        (Filters(), [0, 1023, 1024, 1025]),
        (Filters(larger=1024), [1025]),
        (Filters(smaller=1024), [0, 1023]),
        (Filters(larger=1023, smaller=1025), [1024]),
        (Filters(larger=1024, smaller=1024), []),
        (Filters(larger=0), [1023, 1024, 1025]),
        (Filters(smaller=0), []),
    ],
)
def test_sizes_exclude_their_bounds(wanted: Filters, sizes: list[int]) -> None:
    assert [size for size in (0, 1023, 1024, 1025) if wanted.match_size(size)] == sizes


EACH: dict[str, object] = {
    "sender": "bob",
    "to": "alice",
    "subject": "hello",
    "since": datetime(2026, 11, 1, tzinfo=UTC),
    "before": timedelta(days=1),
}
ALL = Filters(**EACH)  # type: ignore[arg-type]
ONE = {"from": "Bob", "to": "Alice", "subject": "Hello", "date": "Mon, 2 Nov 2026 00:00:00 +0000"}


def test_a_message_that_matches_all_filters_matches_any_of_them() -> None:
    for count in range(len(EACH) + 1):
        for names in combinations(EACH, count):
            some = Filters(**{name: EACH[name] for name in names})  # type: ignore[arg-type]
            assert some.match_headers(headers(**ONE), NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"from": "Carol"},
        {"to": "Carol"},
        {"subject": "Bye"},
        {"date": "Sat, 31 Oct 2026 00:00:00 +0000"},
        {"date": "Sun, 8 Nov 2026 00:00:00 +0000"},
    ],
)
def test_one_filter_that_does_not_match_is_enough(changed: dict[str, str]) -> None:
    assert not ALL.match_headers(headers(**ONE | changed), NOW)


@pytest.mark.parametrize(
    ("wanted", "size", "date", "read"),
    [
        (Filters(), False, False, False),
        (Filters(larger=0), True, False, False),
        (Filters(smaller=0), True, False, False),
        (Filters(sender="x"), False, False, True),
        (Filters(to="x"), False, False, True),
        (Filters(subject="x"), False, False, True),
        (Filters(since=timedelta(0)), False, True, True),
        (Filters(before=timedelta(0)), False, True, True),
    ],
)
def test_a_filter_needs_no_more_than_it_must(wanted: Filters, size: bool, date: bool, read: bool) -> None:
    assert (wanted.need_size, wanted.need_date, wanted.need_headers) == (size, date, read)
