"""Messages in mboxrd form."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pop3fetch.delivery.mbox_format import HEADER_LIMIT, Encoder, Quoter, from_line
from tests.support.delivering import messages_of_mboxrd
from tests.support.segments import in_pieces, octet_by_octet

WHEN = 1_700_000_000.0
FROM = b"From MAILER-DAEMON Tue Nov 14 22:13:20 2023\n"

# What can go wrong is made of these.
PIECES = (b"From ", b"From", b"Fro", b"F", b">", b">>", b"\n", b"\r\n", b"\r", b" ", b"x", b"\0", b"\xff")
CONTENT = st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join)
SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=8)


def encoded(blocks: Iterable[bytes]) -> bytes:
    encoder = Encoder(WHEN)
    return b"".join(map(encoder.encode, blocks)) + encoder.finish()


@given(CONTENT, SIZES)
@example(b">" * 20 + b"From ", [3])
@example(b"From ", [1])
def test_however_it_is_cut_a_message_is_encoded_alike_and_can_be_read_again(
    content: bytes, sizes: list[int]
) -> None:
    ended = content if content.endswith(b"\n") or not content else content + b"\n"

    octets = encoded(in_pieces(content, sizes))

    assert octets == FROM + re.sub(rb"(?m)^(>*From )", rb">\1", ended) + b"\n"
    assert messages_of_mboxrd(octets) == [ended]


@given(st.lists(CONTENT, max_size=4))
def test_messages_one_after_another_can_be_split_again(contents: list[bytes]) -> None:
    ended = [content if content.endswith(b"\n") or not content else content + b"\n" for content in contents]

    assert messages_of_mboxrd(b"".join(encoded([content]) for content in contents)) == ended


QUOTED = [
    (b"", b""),
    (b"a\n", b"a\n"),
    (b"a", b"a\n"),
    (b"From x\n", b">From x\n"),
    (b">From x\n", b">>From x\n"),
    (b">>>From x\n", b">>>>From x\n"),
    (b"a\nFrom x\nFrom y\n", b"a\n>From x\n>From y\n"),
    (b"From\nFrom:\nfrom x\n From x\n> From x\n", b"From\nFrom:\nfrom x\n From x\n> From x\n"),
    (b"a From x\n\rFrom x\n", b"a From x\n\rFrom x\n"),
    (b"a\r\nFrom x\r\n", b"a\r\n>From x\r\n"),
    (b"a\n>>Fro", b"a\n>>Fro\n"),
]


@pytest.mark.parametrize(("content", "quoted"), QUOTED)
def test_lines_that_look_like_a_from_line_are_quoted_and_no_others(content: bytes, quoted: bytes) -> None:
    for blocks in ([content], octet_by_octet(content)):
        quoter = Quoter()
        assert b"".join(map(quoter.quote, blocks)) + quoter.finish() == quoted


def test_no_more_than_four_octets_are_held_back_whatever_a_line_holds() -> None:
    quoter = Quoter()
    written = 0
    for number, block in enumerate([b">" * 100] * 100 + octet_by_octet(b"From"), 1):
        written += len(quoter.quote(block))
        assert written >= min(number, 100) * 100
    assert quoter.quote(b" ") == b">From "


SENDERS = [
    (b"Return-Path: <alice@example.org>\n\n", b"alice@example.org"),
    (b"return-path:alice@example.org\r\n\r\n", b"alice@example.org"),
    (b"Subject: x\nReturn-Path:\n <alice@example.org>\nTo: y\n\n", b"alice@example.org"),
    (b"Return-Path: <al\xc3\xadce@example.org>\n\n", b"al\xc3\xadce@example.org"),
    (b"Return-Path: <>\nReturn-Path: <bob@example.org>\n\n", b"MAILER-DAEMON"),
    (b'Return-Path: <"a b"@example.org>\n\n', b"MAILER-DAEMON"),
    (b"Return-Path: <a@example.org\rFrom>\n\n", b"MAILER-DAEMON"),
    (b"Return-Path: <" + b"a" * 257 + b">\n\n", b"MAILER-DAEMON"),
    (b"Return-Path:\nSubject: x\n\n", b"MAILER-DAEMON"),
    (b"Subject: x\n\nReturn-Path: <alice@example.org>\n", b"MAILER-DAEMON"),
    (b"\nReturn-Path: <alice@example.org>\n", b"MAILER-DAEMON"),
    (b"X-Return-Path: <alice@example.org>\n\n", b"MAILER-DAEMON"),
    (b"", b"MAILER-DAEMON"),
]


@pytest.mark.parametrize(("content", "sender"), SENDERS)
def test_the_from_line_names_the_envelope_sender_if_the_header_has_it(content: bytes, sender: bytes) -> None:
    for blocks in ([content], octet_by_octet(content)):
        line = encoded(blocks).partition(b"\n")[0]
        assert line == b"From " + sender + b" Tue Nov 14 22:13:20 2023"


def test_the_date_is_asctime_in_utc() -> None:
    assert from_line(b"", 0.0) == b"From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n"


def test_a_header_without_end_is_not_kept_in_memory() -> None:
    encoder = Encoder(WHEN)
    block = b"X: " + b"x" * 1020 + b"\n"
    written = [encoder.encode(block) for _ in range(HEADER_LIMIT // len(block) + 2)]

    assert written[:-3] == [b""] * (len(written) - 3)
    assert b"".join(written) + encoder.finish() == FROM + block * len(written) + b"\n"
    assert all(len(late) >= len(block) - 1 for late in written[-2:])


# -- fields that readers obey ----------------------------------------------------------------------

FORGED = [
    (b"Content-Length: 5\n\nx\n", b"X-Original-Content-Length: 5\n\nx\n"),
    (b"a: b\ncontent-LENGTH : 5\n\n", b"a: b\nX-Original-content-LENGTH : 5\n\n"),
    (b"Status: RO\nX-Status: D\n\n", b"X-Original-Status: RO\nX-Original-X-Status: D\n\n"),
    (b"a: b\r\nStatus: RO\r\n\r\nx\r\n", b"a: b\r\nX-Original-Status: RO\r\n\r\nx\r\n"),
    (b"Status:\n RO\n\n", b"X-Original-Status:\n RO\n\n"),
    (b"a: b\n Status: RO\n\n", b"a: b\n Status: RO\n\n"),
    (b"My-Status: RO\nStatus-Of: x\n\n", b"My-Status: RO\nStatus-Of: x\n\n"),
    (b"a: b\n\nStatus: RO\n", b"a: b\n\nStatus: RO\n"),
    (b"\nStatus: RO\n", b"\nStatus: RO\n"),
    (b"\r\nStatus: RO\n", b"\r\nStatus: RO\n"),
    (b"Status: RO", b"X-Original-Status: RO\n"),
    (b"Status", b"Status\n"),
    (b"Status: RO\nFrom x\n\n", b"X-Original-Status: RO\n>From x\n\n"),
]


@pytest.mark.parametrize(("message", "written"), FORGED)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_fields_of_the_sender_about_the_mbox_get_a_prefix(message: bytes, written: bytes, size: int) -> None:
    assert encoded(in_pieces(message, [size])) == FROM + written + b"\n"


@pytest.mark.parametrize("size", [1000, HEADER_LIMIT - 3, HEADER_LIMIT, HEADER_LIMIT + 1])
def test_a_field_far_down_in_a_long_header_gets_it_too(size: int) -> None:
    start = (b"X: " + b"x" * 60 + b"\n") * (2 * HEADER_LIMIT // 64)
    octets = encoded(in_pieces(start + b"Content-Length: 5\n\nStatus: x\n", [size]))
    assert octets == FROM + start + b"X-Original-Content-Length: 5\n\nStatus: x\n\n"
