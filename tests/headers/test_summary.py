"""The content of a header, whatever program wrote it."""

from __future__ import annotations

import re
import time
from base64 import b64encode
from datetime import UTC, datetime, timedelta, timezone
from email.utils import getaddresses
from inspect import signature
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from webencodings.labels import LABELS

from pop3fetch.headers.charsets import decoder
from pop3fetch.headers.fields import LIMIT, identity
from pop3fetch.headers.summary import Summary, one_line, summarize
from pop3fetch.printable import printable
from tests.support import header_table as table
from tests.support.header_table import ORDINARY


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
        cc=None,
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
def test_absent_fields_are_none(headers: bytes) -> None:
    assert summarize(headers) == Summary(None, None, None, None, None, None)


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
    assert summarize(b"Subject:\r\nTo: \r\n") == Summary(None, None, "", None, "", None)


def test_a_header_with_many_recipients_is_read_to_its_end() -> None:
    people = b",\r\n ".join(b'"Person number %d" <person%d@example.org>' % (n, n) for n in range(3000))
    summary = summarize(b"To: " + people + b"\r\nSubject: to all of you\r\n")
    assert summary.subject == "to all of you"
    assert summary.to is not None and summary.to.endswith("<person2999@example.org>")


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, ""),
        ("", ""),
        ("a b", "a b"),
        ("one\ttwo", "one two"),
        ("one\r\n two\n", "one  two"),
        ("a\x1b\x85", "a\x1b\x85"),
    ],
)
def test_one_line_has_no_tabs_and_line_ends(text: str | None, shown: str) -> None:
    assert one_line(text) == shown


# The table


def octets_of(name: bytes, value: bytes) -> bytes:
    return name + b": " + value + b"\r\n"


def test_the_table_has_hundreds_of_headers() -> None:
    assert table.SIZE >= 300


@pytest.mark.parametrize(("value", "text"), table.SUBJECTS)
def test_encoded_words_are_decoded(value: bytes, text: str) -> None:
    assert subject(value) == text


def test_every_label_of_the_encoding_standard_is_known() -> None:
    unknown = set()
    for label in LABELS:
        try:
            assert decoder(label)(b"a")
        except LookupError:
            unknown.add(label)
    # Browsers show U+FFFD instead of all but the last one, which is for octets that are not text.
    assert unknown <= {"replacement", "iso-2022-cn", "iso-2022-cn-ext", "x-user-defined"}


@pytest.mark.parametrize("value", table.UNDECODED)
def test_a_malformed_word_stays_as_it_is(value: str) -> None:
    assert subject(value.encode()) == value


@pytest.mark.parametrize(("value", "text"), table.ADDRESSES)
def test_addresses_are_taken_apart_before_they_are_decoded(value: str, text: str) -> None:
    fields = (octets_of(name, value.encode()) for name in (b"From", b"To", b"Cc"))
    summary = summarize(b"".join(fields))
    assert (summary.sender, summary.to, summary.cc) == (text, text, text)


@pytest.mark.parametrize(("value", "iso"), table.DATES)
def test_a_date_is_read_or_unknown(value: bytes, iso: str | None) -> None:
    read = date(value)
    assert (read and read.isoformat()) == iso


@pytest.mark.parametrize(("value", "content_type", "text"), table.RAW)
def test_raw_text_is_utf_8_or_in_the_charset_of_the_message_or_western(
    value: bytes, content_type: bytes, text: str
) -> None:
    fields = [octets_of(b"Subject", value), octets_of(b"Content-Type", content_type)]
    for headers in (fields, fields[::-1]):
        assert summarize(b"".join(headers)).subject == text


@pytest.mark.parametrize(("value", "shown"), table.SHOWN)
def test_blanks_and_joiners_are_shown_as_such_and_controls_as_escapes(value: str, shown: str) -> None:
    assert printable(one_line(subject(encoded(value).encode()))) == shown


@pytest.mark.parametrize(("headers", "fields"), table.HEADERS, ids=range(len(table.HEADERS)))
def test_a_header_has_these_fields(headers: bytes, fields: dict[str, str | None]) -> None:
    summary = summarize(headers)
    assert {name: getattr(summary, name) for name in fields} == fields


# Addresses


# Since 2024 Python finds nothing in a field that has one malformed address, unless it is told otherwise.
LENIENT: dict[str, Any] = {"strict": False} if "strict" in signature(getaddresses).parameters else {}


def addresses(text: str) -> list[str]:
    """Return the addresses that Python finds; it takes every other malformed word for one, too."""
    found = (address for _, address in getaddresses([text], **LENIENT))
    return [address for address in found if re.fullmatch(r"[\w.]+@[\w.]+", address)]


def encoded(text: str) -> str:
    return f"=?utf-8?b?{b64encode(text.encode()).decode()}?="


ANY_NAME = st.text(st.sampled_from('ab <>@,;:."\\()[]=?é\r\n\t') | st.characters(codec="utf-8"), max_size=20)
QUOTED_NAME = ANY_NAME.map(encoded).map('"{}"'.format)
MAILBOX = st.builds("{} <{}@example.org>".format, ANY_NAME.map(encoded) | QUOTED_NAME, st.sampled_from("abc"))
COMMENTED = st.builds("{}@example.org ({})".format, st.sampled_from("abc"), ANY_NAME.map(encoded))


@given(st.lists(MAILBOX | COMMENTED, min_size=1, max_size=4).map(", ".join))
def test_decoded_names_add_no_addresses(field: str) -> None:
    sender = summarize(b"From: " + field.encode()).sender
    assert sender is not None
    assert addresses(sender) == addresses(field)


FRAGMENTS = st.sampled_from(
    [*'<>@,;:."\\()[] =?', "a", "b@c", "<m@n>", encoded("x"), encoded("x@y"), encoded("<x@y>,"), encoded('"')]
)


@settings(max_examples=300)
@given(st.lists(FRAGMENTS, max_size=14).map("".join))
def test_nothing_adds_addresses(field: str) -> None:
    sender = summarize(b"From: " + field.encode()).sender
    assert sender is not None
    assert addresses(sender) == addresses(field.strip())


SLOPPY = st.sampled_from(
    ["=?utf-8?q?a,b?=", "=?utf-8?q?a@b?=", "=?utf-8?q?<m@n>,?=", '=?utf-8?q?"m@n,"(x)?=', "=?utf-8?q?a b,?="]
)


@settings(max_examples=300)
@given(st.lists(FRAGMENTS | SLOPPY, max_size=14).map("".join))
@example("=?utf-8?q?a@b?=<m@n>")
def test_special_characters_that_are_not_encoded_add_no_addresses(field: str) -> None:
    sender = summarize(b"From: " + field.encode()).sender
    assert sender is not None
    assert set(addresses(sender)) <= set(addresses(field.strip()))


# Dates


def test_every_date_can_be_converted_to_any_zone() -> None:
    for text in (b"1 Jan 1900 00:00:00 +2359", b"31 Dec 9998 23:59:59 -2359"):
        read = date(text)
        assert read is not None
        assert read.astimezone(UTC).astimezone(timezone(timedelta(hours=14)))


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


ANY_LABEL = st.sampled_from(
    [
        "utf-8",
        "utf-7",
        "utf-16",
        "utf-32be",
        "gbk",
        "big5",
        "euc-jp",
        "iso-2022-jp",
        "iso-2022-kr",
        "hz",
        "cp1255",
    ]
) | st.text(st.sampled_from("abcdefkloistuwx0123456789-_"), max_size=12)


@given(ANY_LABEL, st.binary(max_size=60), st.sampled_from("bq"))
@example("utf-32", b"\0\xd8\0\0", "b")
def test_no_charset_makes_it_raise(label: str, octets: bytes, encoding: str) -> None:
    word = b64encode(octets).decode() if encoding == "b" else "".join(f"={octet:02X}" for octet in octets)
    fields = (
        f"Subject: =?{label}?{encoding}?{word}?=\r\nContent-Type: text/plain; charset={label}\r\n".encode()
    )
    for headers in (fields, b"From: " + octets.replace(b"\n", b"") + b"\r\n" + fields):
        summary = summarize(headers)
        assert all(text is None or text.encode() is not None for text in (summary.sender, summary.subject))


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
    "8 bit in a charset": b"Content-Type: x; charset=euc-jp\nSubject: " + b"\xff" * 60_000,
    "parameters": b"Subject: \xff\nContent-Type: " + b"; charset" * 7_000,
    "quotes in addresses": b"From: =?" + b'"\\' * 30_000,
    "comments in addresses": b"From: =?" + b"(a" * 30_000,
    "comments side by side": b"From: =?((((" + b"(a)" * 20_000,
    "escapes in addresses": b"From: =?" + b"\\(" * 30_000,
    "angles": b"From: =?" + b"<" * 60_000,
    "elements": b"From: =?" + b"a," * 30_000,
    "domains": b"From: =?" + b"@[" * 30_000,
    "names": b"From: " + b"=?utf-8?q?a(b)?= " * 4_000,
    "names without end": b"From: " + b"=?utf-8?q?a(b" * 5_000,
    "names of strange addresses": b"From: " + b"=?utf-8?q?x=40y?=, " * 3_000,
    "question marks": b"Subject: =?utf-8?q?" + b"?" * 60_000,
    "blanks in a date": b"Date: 2 Mar" + b" " * 60_000,
    "escapes": b"Subject: =?iso-2022-jp?q?" + b"=1B$B=1B(B" * 5_000 + b"?=",
}


GROWING = [
    b"(",
    b"()",
    b'"',
    b'\\"',
    b"<>",
    b"=?",
    b"=?a?q?(x)(",
    b'=?a?q?"x',
    b'=?a?q?,"x"(y)',
    b'"=?utf-8?q?a?=" ',
    b"=?utf-8?b?4pi6?= <a@x>, ",
    b"=?utf-8?b?Y?= ",
    b"=?utf-8?b?Y=?==?utf-8?q?=?= ",
    b"=?iso-8859-1?q?a?= =?koi8-r?b?YQ?= ",
    b"=?=",
    b"?=?",
    b"=?a?q?b?c",
    b"\xe4",
    b"\xc3\xa4\xff",
    b"\x1b$B",
    b'charset="',
    b';";',
    b"charset=a'",
    b"1:",
    b"1 Mar ",
]


@pytest.mark.parametrize("piece", GROWING)
@pytest.mark.parametrize("field", [b"Subject: ", b"From: =?", b"Date: ", b"Subject: \xff\nContent-Type: "])
def test_the_time_grows_with_the_length(field: bytes, piece: bytes) -> None:
    def duration(length: int) -> float:
        headers = field + piece * (length // len(piece))
        durations = []
        for _ in range(2):
            started = time.process_time()
            summarize(headers)
            durations.append(time.process_time() - started)
        return min(durations)

    duration(1000)  # compiles and imports
    assert duration(80_000) < 8 * 2.5 * duration(10_000) + 0.01


@pytest.mark.parametrize("headers", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_headers_cost_no_more_than_others(headers: bytes) -> None:
    started = time.process_time()
    summarize(headers)
    identity(headers)
    assert time.process_time() - started < 0.5  # a fiftieth is usual; what is quadratic takes seconds
