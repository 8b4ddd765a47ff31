"""SIZE, DURATION and WHEN, as a command line and a file give them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from pop3fetch import quantities

NOW = datetime(2026, 11, 8, 12, 0, tzinfo=UTC)


pytestmark = pytest.mark.usefixtures("berlin")  # a zone with summer time


@pytest.mark.parametrize(
    ("word", "octets"),
    [
        ("0", 0),
        ("500000", 500_000),
        ("0500", 500),
        ("64K", 64 * 1024),
        ("64k", 64 * 1024),
        ("10M", 10 * 1024**2),
        ("1G", 1024**3),
    ],
)
def test_a_size_is_read(word: str, octets: int) -> None:
    assert quantities.size(word) == octets


@pytest.mark.parametrize(
    "word", ["", "K", "-1", "+1", "1.5M", "1 M", "10MB", "10T", "1_0", "٣", "1" * 19, "1\n"]
)
def test_a_wrong_size_is_shown_with_right_ones(word: str) -> None:
    with pytest.raises(ValueError, match="must be a number of octets such as 500000, 64K or 10M") as error:
        quantities.size(word)
    assert str(error.value).endswith(f", not {word!r}")


@pytest.mark.parametrize(
    ("word", "time"),
    [
        ("0s", timedelta(0)),
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("4w", timedelta(weeks=4)),
        ("36500d", timedelta(days=36_500)),
    ],
)
def test_a_duration_is_read(word: str, time: timedelta) -> None:
    assert quantities.duration(word) == time


@pytest.mark.parametrize(
    "word", ["", "5", "m", "-5m", "+5m", "1.5h", "5 m", "5M", "1h30m", "5y", "٣d", "5m\n"]
)
def test_a_wrong_duration_is_shown_with_right_ones(word: str) -> None:
    with pytest.raises(ValueError, match="must be a duration such as 90s, 5m, 12h, 7d or 4w") as error:
        quantities.duration(word)
    assert str(error.value).endswith(f", not {word!r}")


@pytest.mark.parametrize("word", ["36501d", "5215w", "9" * 18 + "s"])
def test_a_duration_of_more_than_a_century_is_wrong(word: str) -> None:
    with pytest.raises(ValueError, match=f"must be at most 36500d, not '{word}'"):
        quantities.duration(word)


@pytest.mark.parametrize(
    ("word", "moment"),
    [
        ("2026-11-01", datetime(2026, 10, 31, 23, 0, tzinfo=UTC)),
        ("2026-07-01", datetime(2026, 6, 30, 22, 0, tzinfo=UTC)),  # in summer
        ("2026-11-01T12:00", datetime(2026, 11, 1, 11, 0, tzinfo=UTC)),
        ("2026-11-01 12:00", datetime(2026, 11, 1, 11, 0, tzinfo=UTC)),
        ("2026-11-01t12:00:59", datetime(2026, 11, 1, 11, 0, 59, tzinfo=UTC)),
        ("2026-11-01T12:00Z", datetime(2026, 11, 1, 12, 0, tzinfo=UTC)),
        ("2026-11-01T12:00-05:00", datetime(2026, 11, 1, 17, 0, tzinfo=UTC)),
        ("2026-11-01T12:00+0530", datetime(2026, 11, 1, 6, 30, tzinfo=UTC)),
        ("1970-01-01", datetime(1969, 12, 31, 23, 0, tzinfo=UTC)),
        ("2100-01-01", datetime(2099, 12, 31, 23, 0, tzinfo=UTC)),
        ("12h", datetime(2026, 11, 8, 0, 0, tzinfo=UTC)),
        ("7d", datetime(2026, 11, 1, 12, 0, tzinfo=UTC)),
        ("4w", datetime(2026, 10, 11, 12, 0, tzinfo=UTC)),
        ("0d", NOW),
    ],
)
def test_when_is_a_moment(word: str, moment: datetime) -> None:
    assert quantities.moment(quantities.when(word), NOW) == moment


def test_an_age_is_of_any_zone() -> None:
    now = NOW.astimezone(timezone(timedelta(hours=9)))
    assert quantities.moment(quantities.when("12h"), now) == NOW - timedelta(hours=12)


@pytest.mark.parametrize(
    "word",
    [
        *("", "yesterday", "7", "d", "-7d", "7 d", "1.5d", "7D", "7y", "٣d", "7d\n"),
        *("90s", "6m"),  # an m could mean months
        *("20261101", "2026-11", "2026-11-1", "26-11-01", "2026/11/01", "01.11.2026", "2026-W44-7"),
        *("2026-13-01", "2026-02-30", "2026-11-01T", "2026-11-01T12", "2026-11-01T25:00", "2026-11-01Z"),
        *("2026-11-01T12:00 CET", "2026-11-01\n", "0000-01-01", "0001-01-01", "٢٠٢٦-١١-٠١"),
    ],
)
def test_a_wrong_when_is_shown_with_right_ones(word: str) -> None:
    with pytest.raises(ValueError, match="must be a date such as 2026-11-01 or 2026-11-01T12:00") as error:
        quantities.when(word)
    assert "such as 12h, 7d or 4w" in str(error.value)
    assert str(error.value).endswith(f", not {word!r}")


def test_an_age_of_more_than_a_century_is_wrong() -> None:
    with pytest.raises(ValueError, match="must be at most 36500d, not '9999w'"):
        quantities.when("9999w")
