"""What a header says, whoever wrote it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pop3fetch.headers import LIMIT, Identity, Summary, identity, proves, summarize

ORDINARY = b"""\
Received: from mx.example.net by mail.example.org;\r
\tMon, 2 Mar 2026 09:00:00 +0000\r
From: Bob Example <bob@example.com>\r
To: Alice Example <alice@example.org>\r
Date: Mon, 2 Mar 2026 10:00:00 +0100\r
Subject: Lunch on Tuesday\r
Message-ID: <1@example.com>\r
Content-Type: text/plain\r
\r
Subject: not this one\r
"""


def subject(value: bytes) -> str | None:
    return summarize(b"Subject: " + value + b"\r\n").subject


def date(value: bytes) -> datetime | None:
    return summarize(b"Date: " + value + b"\r\n").date


# Fields


def test_an_ordinary_header_is_summarized() -> None:
    assert summarize(ORDINARY) == Summary(
        date=datetime(2026, 3, 2, 10, 0, tzinfo=timezone(timedelta(hours=1))),
        sender="Bob Example <bob@example.com>",
        to="Alice Example <alice@example.org>",
        subject="Lunch on Tuesday",
        message_id="<1@example.com>",
    )


def test_line_ends_make_no_difference() -> None:
    assert summarize(ORDINARY.replace(b"\r\n", b"\n")) == summarize(ORDINARY)


@pytest.mark.parametrize(
    "headers",
    [
        b"",
        b"\r\n",
        b"\r\nSubject: in the body\r\n",
        b"\nSubject: in the body\n",
        b"X: 1\r\n\r\nSubject: in the body",
        b"Received: a\r\n Subject: folded into another field\r\n",
        b"X-Subject: x\r\nSubjects: x\r\nSubject x\r\n",
        b"X: Subject: x\r\n",
        b"From bob@example.com Mon Mar  2 10:00:00 2026\r\nX: 1\r\n",
        b"no header at all",
    ],
)
def test_what_is_absent_is_none(headers: bytes) -> None:
    assert summarize(headers) == Summary(None, None, None, None, None)


@pytest.mark.parametrize(
    "line",
    [
        b"Subject: x",
        b"subject:x",
        b"SUBJECT:\tx  ",
        b"Subject \t: x",
        b"Subject:\r\n x",
        b"Subject: \r\n\t \r\n x",
    ],
)
def test_a_field_is_found_however_it_is_written(line: bytes) -> None:
    for headers in (line, line + b"\r\n", b"X: 1\r\n" + line + b"\r\nY: 2\r\n\r\nbody"):
        assert summarize(headers).subject == "x"


def test_the_first_of_two_fields_counts() -> None:
    assert summarize(b"Subject: one\r\nSUBJECT: two\r\n").subject == "one"


def test_an_empty_field_is_not_an_absent_one() -> None:
    assert summarize(b"Subject:\r\nTo: \r\n") == Summary(None, None, "", "", None)


def test_a_header_is_read_up_to_its_limit() -> None:
    filler = b"X: " + b"x" * (LIMIT - 5) + b"\r\n"
    assert len(filler) == LIMIT
    assert summarize(filler[1:] + b"Subject: x\r\n").subject is None
    assert summarize(filler[len(b"Subject: x\r\n") :] + b"Subject: x\r\n").subject == "x"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"one\r\n two", "one two"),
        (b"one \r\n\t  two\r\n three ", "one two three"),
        (b"one\n two", "one two"),
        (b"two  blanks\tand a tab", "two  blanks\tand a tab"),
        (b"a\x1b[31m\x00\r b", "a\x1b[31m\x00\r b"),
    ],
)
def test_a_value_is_unfolded_and_nothing_else(value: bytes, text: str) -> None:
    assert subject(value) == text


# Characters


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Zürich ✈ 東京".encode(), "Zürich ✈ 東京"),
        (b"Z\xfcrich \x80 5", "Zürich € 5"),
        (b"\x81\x9d", r"\x81\x9d"),
    ],
)
def test_raw_8_bit_text_is_utf_8_or_western(value: bytes, text: str) -> None:
    assert subject(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        # RFC 2047 section 8
        (b"=?ISO-8859-1?Q?a?=", "a"),
        (b"=?ISO-8859-1?Q?a?= b", "a b"),
        (b"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
        (b"=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab"),
        (b"=?ISO-8859-1?Q?a_b?=", "a b"),
        (b"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
        # mixes
        (b"Re: =?utf-8?b?WsO8cmljaA==?= (2)", "Re: Zürich (2)"),
        (b'"=?utf-8?q?J=C3=B6rg?=" <j@example.org>', '"Jörg" <j@example.org>'),
        (b"=?utf-8?q?a?==?utf-8?b?Yg==?=", "ab"),
        (b"=?UTF-8?Q?a?= =?utf-8?q?b?=", "ab"),
        (b"=?utf-8*de?q?a?=", "a"),
        (b"\xc3\xbc =?utf-8?q?=C3=BC?=", "ü ü"),
        (b"=?utf-8?q??=", ""),
        # charsets
        (b"=?us-ascii?q?a?=", "a"),
        (b"=?windows-1252?q?=80?=", "€"),
        (b"=?koi8-u?b?8NLJ18XU?=", "Привет"),
        (b"=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"),
        (b"=?gb2312?b?xOO6w5hz?=", "你好榮"),
        (b"=?iso-8859-8-i?b?+ezl7Q==?=", "שלום"),
        # against the RFC, but seen
        (b"=?utf-8?b?WsM=?= =?utf-8?b?vHJpY2g=?=", "Zürich"),
        (b"=?utf-8?b?WsO8cmljaA?=", "Zürich"),
        (b"=?utf-8?q?a b?=", "a b"),
        (b"=?utf-8?q?=C3?=", "\ufffd"),
        (b"=?utf-8?q?=1B[31m=0D=0Ax?=", "\x1b[31m\r\nx"),
    ],
)
def test_encoded_words_are_decoded(value: bytes, text: str) -> None:
    assert subject(value) == text


@pytest.mark.parametrize(
    "value",
    [
        "=?utf-8?q?no end",
        "=?utf-8?x?no such encoding?=",
        "=?utf-8?b?YWJjZ?=",
        "=?no-such-charset?q?a?=",
        "=?hex?q?41?=",
        "=?punycode?q?a?=",
        "=?unicode_escape?q?=5Cq?=",
        "=?utf-7?q?+2AA-?=",
        "=?utf-8?q?a?= =?no-such-charset?q?b?=",
        "=?" + "x" * 41 + "?q?a?=",
        "a =? b",
    ],
)
def test_a_malformed_word_stays_as_it_is(value: str) -> None:
    assert subject(value.encode()) == value


# Dates


@pytest.mark.parametrize(
    ("value", "iso"),
    [
        (b"Mon, 2 Mar 2026 10:11:12 +0100", "2026-03-02T10:11:12+01:00"),
        (b"Mon,  2 Mar 2026 10:11:12 -0530 (IST)", "2026-03-02T10:11:12-05:30"),
        (b"Mon, 02 Mar 2026 10:11:12 +0000(UTC)", "2026-03-02T10:11:12+00:00"),
        (b"2 Mar 2026 10:11 GMT", "2026-03-02T10:11:00+00:00"),
        (b"2 Mar 2026 10:11:12 UT", "2026-03-02T10:11:12+00:00"),
        (b"2 Mar 2026 10:11:12 UTC", "2026-03-02T10:11:12+00:00"),
        (b"2 Mar 2026 10:11:12 -0000", "2026-03-02T10:11:12+00:00"),
        (b"Mon,\r\n 2 Mar 2026\r\n 10:11:12 +0100", "2026-03-02T10:11:12+01:00"),
        (b"Sat, 31 Dec 2016 23:59:60 +0000", "2016-12-31T23:59:59+00:00"),
        # left to the standard library
        (b"Mon, 2 Mar 2026 10:11:12 EST", "2026-03-02T10:11:12-05:00"),
        (b"Mon, 2 MAR 26 10:11:12 +0100", "2026-03-02T10:11:12+01:00"),
        (b"Mon, 2 Mar 2026 10:11:12", "2026-03-02T10:11:12+00:00"),
        (b"Mon Mar  2 10:11:12 2026", "2026-03-02T10:11:12+00:00"),
        (b"Mon, 2 Mar 2026 10:11:12 UTCX", "2026-03-02T10:11:12+00:00"),
    ],
)
def test_a_date_is_read(value: bytes, iso: str) -> None:
    read = date(value)
    assert read is not None
    assert read.isoformat() == iso


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"yesterday",
        b"Mon, 31 Feb 2026 10:11:12 +0100",
        b"Mon, 2 Mar 2026 25:11:12 +0100",
        b"Mon, 2 Mar 2026 10:11:12 +9900",
        b"Mon, 2 Mar 9999 23:59:59 -1200",
        b"Mon, 1 Jan 0001 00:00:00 +1200",
        b"Mon, 2 Mar 99999999999999999999 10:11:12 +0100",
        b"Mon, 2 Mar 2026 10:11:12 +99999999999999999999",
    ],
)
def test_what_is_no_date_is_none(value: bytes) -> None:
    assert date(value) is None


def test_every_date_can_be_converted_to_any_zone() -> None:
    for text in (b"1 Jan 1900 00:00:00 +2359", b"31 Dec 9998 23:59:59 -2359"):
        read = date(text)
        assert read is not None
        assert read.astimezone(UTC).astimezone(timezone(timedelta(hours=14)))


# Identity


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
def test_a_header_that_says_nothing_has_no_identity(headers: bytes) -> None:
    assert identity(headers) is None


WEAK = b"Received: from a by b; today\r\nTo: root\r\nSubject: backup done\r\n\r\n"


def test_without_the_usual_fields_others_prove_that_two_are_two_and_no_more() -> None:
    assert proves(identity(ORDINARY)) and not proves(identity(WEAK)) and not proves(identity(b""))
    assert identity(WEAK) == identity(b"Status: RO\n" + WEAK.replace(b"\r\n", b"\n"))
    for old, new in ((b"today", b"tomorrow"), (b"root", b"bob"), (b"done", b"failed")):
        assert identity(WEAK.replace(old, new)) not in (None, identity(WEAK))


# Hostile octets

PIECES = [
    *(
        b"\n",
        b"\r\n",
        b"\r\n ",
        b"\n\t",
        b"\r",
        b" ",
        b":",
        b"\0",
        b"\xff",
        b"\xc3",
        b"(",
        b"\\",
        b'"',
        b"<",
        b",",
    ),
    *(b"Date: ", b"From: ", b"To: ", b"Subject: ", b"Message-ID: ", b"Date : Mon, 2 Mar 2026 10:00:00 +0100"),
    *(
        b"=?",
        b"?=",
        b"?b?",
        b"?q?",
        b"=?utf-8?q?",
        b"=?utf-16?b?",
        b"=?gb2312?b?",
        b"=?hz?q?",
        b"*en",
        b"=",
        b"=ff",
    ),
]


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=5)).map(b"".join))
@example(b"Subject: =?utf-16?b?2AA=?=")
@example(b"Subject: =?utf-32?b?AADYAA==?=")
def test_no_octets_make_it_raise(headers: bytes) -> None:
    summary = summarize(headers)
    for text in (summary.sender, summary.to, summary.subject, summary.message_id):
        assert text is None or text.encode("utf-8") is not None  # nothing that an output cannot encode
    found = identity(headers)
    assert found is None or len(found.digest) == (16 if found.proves else 8)


HOSTILE = {
    "colons": b"a: " * 10**5,
    "blanks before a colon that never comes": b"Subject" + b" " * 10**5,
    "folds": b"Subject: a" + b"\r\n b" * 30_000,
    "empty folds": b"Subject:" + b"\n " * 50_000,
    "lines": b"\n" * 10**5,
    "carriage returns": b"\r" * 10**5,
    "fields": b"To:\n" * 30_000,
    "nearly fields": b"\nSubject" * 10_000,
    "encoded words": b"Subject: " + b"=?utf-8?q?=41?= " * 5_000,
    "charsets": b"Subject: " + b"=?utf-8?q?a?= =?us-ascii?q?a?= " * 3_000,
    "charsets that are none": b"Subject: " + b"".join(b"=?x%d?q?a?= . " % n for n in range(5_000)),
    "encoded words without end": b"Subject: " + b"=?a?q?b" * 10_000,
    "beginnings": b"Subject: " + b"=?" * 40_000,
    "beginnings with a language": b"Subject: " + (b"=?" + b"a" * 39 + b"*") * 2_000,
    "blanks between encoded words": b"Subject: =?utf-8?q?a?=" + b" " * 60_000 + b"=?",
    "comments in a date": b"Date: " + b"(" * 60_000 + b")" * 60_000,
    "comments behind a date": b"Date: Mon, 2 Mar 2026 10:00:00 +0100 " + b"(x" * 30_000,
    "digits": b"Date: " + b"1" * 60_000,
    "comments": b"From: " + b"(" * 30_000 + b")" * 30_000,
    "8 bit": b"From: " + b"\xff" * 60_000,
}


@pytest.mark.parametrize("headers", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_headers_cost_no_more_than_others(headers: bytes) -> None:
    started = time.process_time()
    summarize(headers)
    identity(headers)
    assert time.process_time() - started < 0.5  # a fiftieth is usual; what is quadratic takes seconds
