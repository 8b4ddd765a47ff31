"""The pause between logins: what is remembered of it, and what is believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pop3fetch.errors import LoginTooSoon
from pop3fetch.record.place import RecordPlace
from pop3fetch.sessions.login_delay import LONGEST, LoginDelay
from pop3fetch.status import Status
from tests.support.file_modes import mode, umask

ADDRESS = "alice@mail.example.org"
NOW = 1_800_000_000.5  # seconds since the epoch
MINUTE = ["60"]


@pytest.fixture
def delay(tmp_path: Path) -> LoginDelay:
    return LoginDelay(RecordPlace(tmp_path / "state", ADDRESS))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the file in which the delay is remembered; its folder is there."""
    (tmp_path / "state").mkdir(mode=0o700)
    return tmp_path / "state" / f"{ADDRESS}.login"


def wait(delay: LoginDelay, now: float) -> int:
    """Return how long a login has to wait, 0 where it may be made."""
    return delay.left(now)


def test_a_first_login_is_allowed(delay: LoginDelay) -> None:
    assert wait(delay, NOW) == 0


@pytest.mark.parametrize(("later", "seconds"), [(0, 60), (1, 59), (30.75, 29), (59, 1), (59.5, 0), (60, 0)])
def test_the_next_login_waits_until_the_delay_is_over(delay: LoginDelay, later: float, seconds: int) -> None:
    delay.remember(NOW, MINUTE)
    assert wait(delay, NOW + later) == seconds


def test_the_error_shows_when_the_next_login_is_allowed(delay: LoginDelay) -> None:
    delay.remember(NOW, MINUTE)
    with pytest.raises(LoginTooSoon) as raised:
        delay.await_end(49, lambda: NOW + 10)
    assert str(raised.value) == f"not logging in: {ADDRESS} allows it in 50 s (LOGIN-DELAY)"
    assert raised.value.exit_status is Status.TRY_LATER


def test_the_last_login_counts(delay: LoginDelay) -> None:
    delay.remember(NOW, MINUTE)
    delay.remember(NOW + 50, MINUTE)
    assert wait(delay, NOW + 61) == 49


def test_each_account_has_a_delay_of_its_own(delay: LoginDelay, tmp_path: Path) -> None:
    delay.remember(NOW, MINUTE)
    bobs = LoginDelay(RecordPlace(tmp_path / "state", "bob@mail.example.org"))
    assert wait(bobs, NOW) == 0


@pytest.mark.parametrize(
    "arguments",
    [None, [], ["-60"], ["+60"], ["1_0"], ["６０"], ["soon", "60"], ["9" * 10], ["9" * 5000]],
    ids=lambda arguments: " ".join(arguments or ["none"])[:20],
)
def test_without_a_sensible_number_nothing_is_remembered(
    delay: LoginDelay, arguments: list[str] | None, tmp_path: Path
) -> None:
    delay.remember(NOW, arguments)
    assert wait(delay, NOW) == 0
    assert not (tmp_path / "state").exists()


def test_none_is_not_remembered_and_ends_what_was(delay: LoginDelay, tmp_path: Path) -> None:
    delay.remember(NOW, ["0"])
    assert not (tmp_path / "state").exists()
    delay.remember(NOW, ["900", "USER"])
    delay.remember(NOW, ["0"])
    assert list((tmp_path / "state").iterdir()) == []


@pytest.mark.parametrize("nothing", [None, [], ["soon"]])
def test_a_session_without_the_capability_does_not_end_the_delay(
    delay: LoginDelay, nothing: list[str] | None
) -> None:
    delay.remember(NOW, MINUTE)
    delay.remember(NOW, nothing)
    assert wait(delay, NOW) == 60


def test_the_longest_delay_of_all_users_counts_for_this_one(delay: LoginDelay) -> None:
    delay.remember(NOW, ["900", "USER"])
    assert wait(delay, NOW) == 900


def test_a_server_cannot_prevent_logins_for_more_than_a_day(delay: LoginDelay) -> None:
    delay.remember(NOW, ["999999999"])
    assert wait(delay, NOW + LONGEST - 2) > 0
    assert wait(delay, NOW + LONGEST) == 0


@pytest.mark.parametrize("earlier", [1, 60, 3600, 1_000_000_000])
def test_a_clock_that_was_set_back_does_not_prevent_logins(delay: LoginDelay, earlier: float) -> None:
    delay.remember(NOW, MINUTE)
    assert wait(delay, NOW - earlier) == 0


@pytest.mark.parametrize(
    "octets",
    [b"", b"\n", b"1800000000", b"18000", b"1800000000 \n", b"1 2 3\n", b"x 60\n", b"1e9 60\n", b"\xff\xfe",
     b"\0" * 16, b"1800000000 -60\n", b"9" * 5000 + b" 60\n", b"9" * 400 + b" " + b"9" * 400],
)  # fmt: skip
def test_a_torn_or_foreign_file_is_as_good_as_none(delay: LoginDelay, file: Path, octets: bytes) -> None:
    file.write_bytes(octets)
    assert wait(delay, NOW) == 0


@given(octets=st.binary(max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_file_whatever_is_in_it_holds_up_for_longer_than_a_day(
    delay: LoginDelay, tmp_path: Path, octets: bytes
) -> None:
    (tmp_path / "state").mkdir(exist_ok=True)
    (tmp_path / "state" / f"{ADDRESS}.login").write_bytes(octets)
    assert wait(delay, NOW) <= LONGEST


def test_a_file_that_cannot_be_read_is_as_good_as_none(delay: LoginDelay, file: Path) -> None:
    file.mkdir()
    assert wait(delay, NOW) == 0


@pytest.mark.parametrize("mask", [0, 0o777])
def test_the_file_is_for_its_owner_alone_whatever_the_umask(
    delay: LoginDelay, tmp_path: Path, mask: int
) -> None:
    with umask(mask):
        delay.remember(NOW, MINUTE)
    (written,) = (tmp_path / "state").iterdir()
    assert written.read_bytes() == b"1800000000 60\n"
    assert mode(written) == 0o600
    assert mode(written.parent) == 0o700


def test_a_link_that_was_placed_before_is_not_followed(delay: LoginDelay, file: Path, tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_bytes(b"gold")
    file.symlink_to(treasure)
    file.with_suffix(f".login-{os.getpid()}").symlink_to(treasure)
    delay.remember(NOW, MINUTE)
    assert treasure.read_bytes() == b"gold"


def test_a_state_folder_that_cannot_be_made_is_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    delay = LoginDelay(RecordPlace(tmp_path / "file" / "state", ADDRESS))
    delay.remember(NOW, MINUTE)
    assert wait(delay, NOW) == 0


@pytest.mark.parametrize(
    ("patience", "waits"), [(60.0, True), (10.0, True), (9.0, False), (None, True), (0.5, False)]
)
def test_a_delay_that_ends_in_time_is_waited_for(tmp_path: Path, patience: float | None, waits: bool) -> None:
    delay = LoginDelay(RecordPlace(tmp_path, "alice@example.org"))
    delay.remember(1000.0, ["10"])
    waited: list[float] = []
    try:
        delay.await_end(patience, lambda: 1000.0, waited.append)
    except LoginTooSoon as error:
        assert (waits, error.wait, waited) == (False, 10, [])
    else:
        assert (waits, waited) == (True, [10])
    delay.await_end(patience, lambda: 1010.0, waited.append)
    assert len(waited) == waits
