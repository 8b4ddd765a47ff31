"""Refused secrets: how long each waits, and what is kept of it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pop3fetch.errors import LoginPaused, LoginRefused
from pop3fetch.record.place import RecordPlace
from pop3fetch.sessions.refused_logins import LONGEST_PAUSE, MOST_SECRETS, Refused, RefusedLogins
from pop3fetch.status import Status
from tests.support.file_modes import mode, umask

ADDRESS = "alice@mail.example.org"
NOW = 1_800_000_000.5  # seconds since the epoch
REFUSAL = LoginRefused("PASS", b"[AUTH] wrong password", b"AUTH", "alice")
WHY = "the server refused the login of alice (PASS): [AUTH] wrong password"
MINUTE, HOUR = 60, 3600


@pytest.fixture
def refused(tmp_path: Path) -> RefusedLogins:
    return RefusedLogins(RecordPlace(tmp_path / "state", ADDRESS), ADDRESS)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the file of the refused secrets; its folder exists."""
    (tmp_path / "state").mkdir(mode=0o700)
    return tmp_path / "state" / f"{ADDRESS}.refused"


def pause(refused: RefusedLogins, now: float, secret: str = "old") -> int:
    """Return for how many seconds ``secret`` must not be tried."""
    try:
        refused.check(secret, now)
    except LoginPaused as error:
        return error.wait
    return 0


def test_a_secret_that_was_never_refused_is_tried(refused: RefusedLogins) -> None:
    assert pause(refused, NOW) == 0


def test_each_refusal_doubles_the_pause_up_to_six_hours(refused: RefusedLogins) -> None:
    now, pauses = NOW, []
    for _ in range(8):
        refused.remember("old", REFUSAL, now)
        pauses.append(pause(refused, now))
        assert pause(refused, now + pauses[-1] - 1) == 1
        now += pauses[-1]
        assert pause(refused, now) == 0
    minutes = [15, 30, 60, 120, 240, 360, 360, 360]
    assert pauses == [minute * MINUTE for minute in minutes]


def test_the_error_has_the_end_of_the_pause_and_the_reason(refused: RefusedLogins) -> None:
    refused.remember("old", REFUSAL, NOW)
    with pytest.raises(LoginPaused) as raised:
        refused.check("old", NOW + 5 * MINUTE)
    assert raised.value.exit_status is Status.TRY_LATER
    assert raised.value.wait == 10 * MINUTE
    assert raised.value.why == WHY
    assert datetime.fromisoformat(raised.value.until).timestamp() == 1_800_000_000 + 15 * MINUTE


@pytest.mark.parametrize(
    ("text", "code", "seconds"),
    [
        (b"[AUTH] no", b"AUTH", 15 * MINUTE),
        (b"[auth] no", b"auth", 15 * MINUTE),
        (b"no", None, 15 * MINUTE),
        (b"[X-ODD] no", b"X-ODD", 15 * MINUTE),
        (b"[SYS/PERM] no", b"SYS/PERM", 0),
        (b"[sys/perm/x] no", b"sys/perm/x", 0),
        (b"[SYS/TEMP] no", b"SYS/TEMP", 0),
        (b"[IN-USE] no", b"IN-USE", 0),
        (b"try again later", None, 0),
    ],
)
def test_only_a_refusal_that_blames_the_user_is_remembered(
    refused: RefusedLogins, text: bytes, code: bytes | None, seconds: int
) -> None:
    refused.remember("old", LoginRefused("PASS", text, code, "alice"), NOW)
    assert pause(refused, NOW) == seconds


def test_another_secret_is_tried_at_once(refused: RefusedLogins) -> None:
    refused.remember("old", REFUSAL, NOW)
    assert pause(refused, NOW, "new") == 0


def test_two_secrets_in_turn_wait_each_for_itself(refused: RefusedLogins) -> None:
    refused.remember("one", REFUSAL, NOW)
    refused.remember("two", REFUSAL, NOW + 1)
    refused.remember("one", REFUSAL, NOW + 15 * MINUTE)
    assert pause(refused, NOW + 15 * MINUTE, "one") == 30 * MINUTE
    assert pause(refused, NOW + 15 * MINUTE, "two") == 1


def test_only_the_latest_secrets_are_remembered(refused: RefusedLogins) -> None:
    for number in range(MOST_SECRETS + 1):
        refused.remember(f"secret {number}", REFUSAL, NOW)
    pauses = [pause(refused, NOW, f"secret {number}") for number in range(MOST_SECRETS + 1)]
    assert [bool(seconds) for seconds in pauses] == [False, *[True] * MOST_SECRETS]


def test_a_success_forgets_all(refused: RefusedLogins, tmp_path: Path) -> None:
    refused.remember("old", REFUSAL, NOW)
    refused.remember("older", REFUSAL, NOW)
    refused.forget()
    assert pause(refused, NOW) == 0
    assert list((tmp_path / "state").iterdir()) == []
    refused.forget()  # there is nothing left, and that is not an error


def test_each_account_has_refusals_of_its_own(refused: RefusedLogins, tmp_path: Path) -> None:
    refused.remember("old", REFUSAL, NOW)
    bobs = RefusedLogins(RecordPlace(tmp_path / "state", "bob@mail.example.org"), "bob@mail.example.org")
    assert pause(bobs, NOW) == 0


@pytest.mark.parametrize("secret", ["old", "pässwörd", "p\udca7ss", ""])
def test_the_secret_is_not_in_the_file(refused: RefusedLogins, file: Path, secret: str) -> None:
    refused.remember(secret, REFUSAL, NOW)
    assert pause(refused, NOW, secret) == 15 * MINUTE
    kept = json.loads(file.read_bytes())
    assert len(bytes.fromhex(kept["salt"])) == 16
    [entry] = kept["secrets"]
    assert len(bytes.fromhex(entry.pop("digest"))) == 32
    assert entry == {"times": 1, "last": 1_800_000_000, "why": WHY}


def test_each_file_has_a_salt_of_its_own(refused: RefusedLogins, file: Path) -> None:
    files = []
    for _ in "12":
        refused.remember("old", REFUSAL, NOW)
        files.append(json.loads(file.read_bytes()))
        refused.forget()
    assert files[0]["salt"] != files[1]["salt"]
    assert files[0]["secrets"][0]["digest"] != files[1]["secrets"][0]["digest"]


def test_a_digest_is_in_no_repr() -> None:
    assert "c0ffee" not in repr(Refused("c0ffee", 1, 1_800_000_000, WHY))


@pytest.mark.parametrize("earlier", [1, HOUR, 1_000_000_000])
def test_a_clock_that_was_set_back_holds_nothing_up(refused: RefusedLogins, earlier: float) -> None:
    refused.remember("old", REFUSAL, NOW)
    assert pause(refused, NOW - earlier) == 0


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\xff\xfe",
        b"{}",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"salt": "", "secrets": 3}',
        b'{"salt": "xx", "secrets": []}',
        b'{"salt": 3, "secrets": []}',
        b'{"salt": "00", "secrets": [3]}',
        b'{"salt": "00", "secrets": [{"digest": "00"}]}',
        b'{"salt": "00", "secrets": [{"digest": "00", "times": 1e999, "last": 0, "why": ""}]}',
        b'{"salt": "00", "secrets": [{"digest": "00", "times": null, "last": 0, "why": ""}]}',
        b'{"salt": "00", "secrets": [{"digest": "00", "times": 1, "last": NaN, "why": ""}]}',
    ],
    ids=lambda octets: repr(octets[:70]),
)
def test_a_torn_or_foreign_file_is_as_good_as_none(refused: RefusedLogins, file: Path, octets: bytes) -> None:
    file.write_bytes(octets)
    assert pause(refused, NOW) == 0
    refused.remember("old", REFUSAL, NOW)
    assert pause(refused, NOW) == 15 * MINUTE


@given(times=st.integers(), last=st.integers())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10, deadline=None)
def test_no_numbers_in_the_file_hold_up_for_longer_than_six_hours(
    refused: RefusedLogins, tmp_path: Path, times: int, last: int
) -> None:
    refused.remember("old", REFUSAL, NOW)
    file = tmp_path / "state" / f"{ADDRESS}.refused"
    kept = json.loads(file.read_bytes())
    kept["secrets"][0] |= {"times": times, "last": last}
    file.write_text(json.dumps(kept))
    assert pause(refused, NOW) <= LONGEST_PAUSE


@pytest.mark.parametrize("mask", [0, 0o777])
def test_the_file_is_for_its_owner_alone_whatever_the_umask(
    refused: RefusedLogins, tmp_path: Path, mask: int
) -> None:
    with umask(mask):
        refused.remember("old", REFUSAL, NOW)
    (written,) = (tmp_path / "state").iterdir()
    assert mode(written) == 0o600
    assert mode(written.parent) == 0o700


def test_a_state_folder_that_cannot_be_made_is_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    refused = RefusedLogins(RecordPlace(tmp_path / "file" / "state", ADDRESS), ADDRESS)
    refused.remember("old", REFUSAL, NOW)
    assert pause(refused, NOW) == 0
