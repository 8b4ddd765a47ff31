"""What is read of a header as octets: the time of arrival, and what tells messages apart."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pop3fetch.headers.fields import IDENTITY_LIMIT, Identity, former_identity, identity, proves, received_at
from pop3fetch.headers.summary import summarize
from tests.support.header_table import ORDINARY

RECEIVED = {
    "the topmost": (ORDINARY, datetime(2026, 3, 2, 9, tzinfo=UTC)),
    "several": (b"Received: a; 3 Mar 2026 09:00 GMT\nReceived: b; 1 Jan 2020 00:00 GMT\n",
                datetime(2026, 3, 3, 9, tzinfo=UTC)),
    "folded, with semicolons and a comment": (
        b"Received: from a (b; c)\r\n\tby d;\r\n Tue, 3 Mar 2026\r\n 09:00:00 -0000 (UTC)\r\n",
        datetime(2026, 3, 3, 9, tzinfo=UTC),
    ),
    "the date, without any": (b"Date: 3 Mar 2026 09:00 +0000\n", datetime(2026, 3, 3, 9, tzinfo=UTC)),
    "no date beside one that cannot be read": (b"Received: by a; then\nDate: 3 Mar 2026 09:00 +0000\n", None),
    "no date beside one without": (b"Date: 3 Mar 2026 09:00 +0000\nReceived: by a\n", None),
    "octets": (b"Received: \xff; \xff\n", None),
    "a date in the body": (b"Subject: x\n\nDate: 3 Mar 2026 09:00 +0000\n", None),
    "nothing": (b"", None),
}  # fmt: skip


@pytest.mark.parametrize(("headers", "expected"), RECEIVED.values(), ids=RECEIVED)
def test_the_time_of_arrival_is_read(headers: bytes, expected: datetime | None) -> None:
    assert received_at(headers) == expected


def test_an_identity_has_no_part_in_what_is_behind_its_limit() -> None:
    headers = b"Date: x\r\nX: " + b"x" * IDENTITY_LIMIT + b"\r\nMessage-ID: <1@example.com>\r\n"
    assert identity(headers) == identity(headers[:IDENTITY_LIMIT])
    assert summarize(headers).message_id == "<1@example.com>"


def test_an_identity_is_sixteen_octets_that_never_change() -> None:
    assert identity(ORDINARY) == Identity(bytes.fromhex("86730504afe27a42c510a988c26d3725"), proves=True)


@pytest.mark.parametrize(
    "headers",
    [
        ORDINARY.replace(b"\r\n", b"\n"),
        ORDINARY.replace(b": ", b":\r\n\t"),
        ORDINARY.replace(b"10:00:00 +", b"10:00:00\r\n  +"),
        ORDINARY.replace(b"Subject: Lunch", b"Subject: [SPAM] Lunch"),
        b"X-Added: by a server\r\n" + ORDINARY,
        ORDINARY.partition(b"\r\n\r\n")[0],
        b"MESSAGE-ID: <1@example.com>\n"
        b"FROM: Bob Example <bob@example.com>\n"
        b"DATE: Mon, 2 Mar 2026 10:00:00 +0100",
    ],
)
def test_an_identity_survives_what_servers_do_to_headers(headers: bytes) -> None:
    assert identity(headers) == identity(ORDINARY)


@pytest.mark.parametrize(
    "headers",
    [
        ORDINARY.replace(b"<1@", b"<2@"),
        ORDINARY.replace(b"10:00:00", b"10:00:01"),
        ORDINARY.replace(b"Bob", b"Rob"),
        ORDINARY.replace(b"Date:", b"X-Date:"),
        ORDINARY.replace(b"From:", b"X:").replace(b"Message-ID:", b"From:").replace(b"X:", b"Message-ID:"),
    ],
)
def test_another_message_has_another_identity(headers: bytes) -> None:
    assert identity(headers) != identity(ORDINARY)


@pytest.mark.parametrize(
    "headers", [b"", b"X-Added: x\r\n", b"From:\r\nDate: \r\nMessage-ID:\r\n\t\r\n", b"\r\n" + ORDINARY]
)
def test_headers_without_facts_have_no_identity(headers: bytes) -> None:
    assert identity(headers) is None


WEAK = b"Received: from a by b; today\r\nTo: root\r\nSubject: backup done\r\n\r\n"


def test_without_the_usual_fields_others_prove_that_two_are_two_and_no_more() -> None:
    assert proves(identity(ORDINARY)) and not proves(identity(WEAK)) and not proves(identity(b""))
    assert identity(WEAK) == identity(b"Status: RO\n" + WEAK.replace(b"\r\n", b"\n"))
    for old, new in ((b"today", b"tomorrow"), (b"root", b"bob"), (b"done", b"failed")):
        assert identity(WEAK.replace(old, new)) not in (None, identity(WEAK))


BARE = b"From: cron\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\nSubject: done\r\n"


def test_without_message_id_more_fields_are_compared_and_only_received_proves() -> None:
    stamped = b"Received: by mx id 1\r\n" + BARE
    assert [proves(identity(headers)) for headers in (BARE, stamped, b"Message-ID: <1@x>\r\n")] == [
        False,
        True,
        True,
    ]
    others = [BARE.replace(b"done", b"lost"), BARE.replace(b"00:00:00", b"00:00:01"), stamped,
              stamped.replace(b"id 1", b"id 2")]  # fmt: skip
    assert len({identity(headers) for headers in (BARE, *others)}) == 5


def test_records_of_older_versions_have_an_identity_of_sender_and_date() -> None:
    assert former_identity(ORDINARY) == identity(ORDINARY)
    assert former_identity(BARE) == former_identity(BARE.replace(b"done", b"lost"))
    assert former_identity(WEAK) is None
