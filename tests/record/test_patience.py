"""Temporary failures of an account: how many, since when, and when to report them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pop3fetch.errors import RecordError
from pop3fetch.record.patience import Failures, Patience
from pop3fetch.record.place import RecordPlace
from tests.support.file_modes import mode, umask

ADDRESS = "alice@mail.example.org"
NOW = 1_800_000_000.5  # seconds since the epoch
START = int(NOW)
MINUTE, HOUR, DAY = 60, 3600, 86_400


@pytest.fixture
def place(tmp_path: Path) -> RecordPlace:
    return RecordPlace(tmp_path / "state", ADDRESS)


@pytest.fixture
def patience(place: RecordPlace) -> Patience:
    return Patience(place, 6 * HOUR)


def fail(patience: Patience, now: float) -> tuple[bool, bool]:
    """Let a run fail as `get` does; return whether patience is over, and whether the run reports it."""
    failures = patience.failed(now)
    is_over = patience.is_over(failures, now)
    is_due = is_over and failures.is_due(now)
    if is_due:
        patience.reported(failures, now)
    return is_over, is_due


def test_failures_are_counted_from_the_first(patience: Patience) -> None:
    assert patience.failed(NOW) == Failures(START, 1)
    assert patience.failed(NOW + 10 * MINUTE) == Failures(START, 2)


def test_patience_is_over_when_the_failures_have_lasted_as_long(patience: Patience) -> None:
    assert fail(patience, NOW) == (False, False)
    assert fail(patience, NOW + 6 * HOUR - 1) == (False, False)
    assert fail(patience, NOW + 6 * HOUR) == (True, True)


def test_lasting_failures_are_reported_once_a_day(patience: Patience) -> None:
    for hour in range(100):
        is_over, is_due = fail(patience, NOW + hour * HOUR)
        assert is_over == (hour >= 6)
        assert is_due == (hour in (6, 30, 54, 78))


def test_a_success_between_failures_begins_anew(patience: Patience) -> None:
    fail(patience, NOW)
    assert patience.succeeded() is None
    assert patience.failed(NOW + 6 * HOUR) == Failures(START + 6 * HOUR, 1)


def test_the_end_of_reported_failures_is_reported_once(patience: Patience, tmp_path: Path) -> None:
    fail(patience, NOW)
    fail(patience, NOW + 6 * HOUR)
    fail(patience, NOW + 7 * HOUR)
    assert patience.succeeded() == Failures(START, 3, START + 6 * HOUR)
    assert patience.succeeded() is None
    assert list((tmp_path / "state").iterdir()) == []


def test_a_success_without_failures_writes_nothing(patience: Patience, tmp_path: Path) -> None:
    assert patience.succeeded() is None
    assert not (tmp_path / "state").exists()


def test_each_account_has_failures_of_its_own(patience: Patience, tmp_path: Path) -> None:
    fail(patience, NOW)
    bobs = Patience(RecordPlace(tmp_path / "state", "bob@mail.example.org"), 6 * HOUR)
    assert bobs.failed(NOW + HOUR) == Failures(START + HOUR, 1)


def test_another_limit_applies_to_failures_that_have_begun(patience: Patience, place: RecordPlace) -> None:
    fail(patience, NOW)
    assert fail(Patience(place, HOUR), NOW + HOUR) == (True, True)
    assert fail(patience, NOW + 2 * HOUR) == (False, False)


@pytest.mark.parametrize("earlier", [1, 6 * HOUR, 1_000_000_000])
def test_a_clock_that_was_set_back_begins_the_time_anew(patience: Patience, earlier: int) -> None:
    fail(patience, NOW)
    assert patience.failed(NOW - earlier) == Failures(START - earlier, 2)
    assert fail(patience, NOW - earlier + 6 * HOUR) == (True, True)


def test_a_report_in_the_future_of_a_clock_that_was_set_back_does_not_count(patience: Patience) -> None:
    fail(patience, NOW)
    assert fail(patience, NOW + 300 * DAY) == (True, True)
    assert fail(patience, NOW + 10 * DAY) == (True, True)
    assert fail(patience, NOW + 10 * DAY + HOUR) == (True, False)


@pytest.mark.parametrize(
    "octets",
    [b"", b"\n", b"1800000000", b"1800000000 1\n", b"1 2 3 4\n", b"x 1 0\n", b"-5 1 0\n", b"\xff\xfe",
     b"\0" * 9, b"1e9 1 0\n", b"9" * 5000 + b" 1 0\n", b"1800000000 1 " + b"9" * 12],
    ids=lambda octets: repr(octets[:30]),
)  # fmt: skip
def test_a_torn_or_foreign_file_is_as_good_as_none(
    patience: Patience, place: RecordPlace, octets: bytes
) -> None:
    place.make()
    place.beside("failing").write_bytes(octets)
    assert patience.failed(NOW) == Failures(START, 1)


@given(octets=st.binary(max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_file_whatever_is_in_it_is_in_the_way(
    patience: Patience, place: RecordPlace, octets: bytes
) -> None:
    place.make()
    place.beside("failing").write_bytes(octets)
    assert patience.failed(NOW).since <= START
    patience.succeeded()
    assert patience.failed(NOW) == Failures(START, 1)


@pytest.mark.parametrize("mask", [0, 0o777])
def test_the_file_is_for_its_owner_alone_whatever_the_umask(
    patience: Patience, tmp_path: Path, mask: int
) -> None:
    with umask(mask):
        patience.failed(NOW)
    (written,) = (tmp_path / "state").iterdir()
    assert written.read_bytes() == b"1800000000 1 0\n"
    assert mode(written) == 0o600
    assert mode(written.parent) == 0o700


def test_failures_that_cannot_be_kept_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    patience = Patience(RecordPlace(tmp_path / "file" / "state", ADDRESS), 6 * HOUR)
    with pytest.raises(RecordError):
        patience.failed(NOW)
    assert patience.succeeded() is None
