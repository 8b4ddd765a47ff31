"""What is on the server: listings with stand-ins for missing UIDs, and headers."""

from __future__ import annotations

import pytest

from pop3fetch.errors import ServerErrorResponse
from pop3fetch.fetch.survey import head, headers_of, survey
from pop3fetch.headers import LIMIT as HEADERS_LIMIT
from pop3fetch.messages import stand_in_uid
from tests.fetching import Told, log_in, message, numbered
from tests.mailbox import Mailbox
from tests.server import StartServer

THREE = numbered(3)
NO_UIDL = (b"TOP", b"PIPELINING", b"SASL PLAIN")
NEITHER = (b"PIPELINING", b"SASL PLAIN")
REFUSED = b"-ERR no\r\n"


def headers(octets: bytes) -> bytes:
    head, end, _ = octets.partition(b"\r\n\r\n")
    return head + end


def test_a_listing_has_numbers_sizes_and_uids(server: StartServer) -> None:
    told = Told()
    with log_in(server(Mailbox(THREE))) as client:
        listing = survey(client, told)
        assert [(m.number, m.size, m.uid) for m in listing] == [
            (number, len(octets), b"uid-%d" % number) for number, octets in enumerate(THREE, 1)
        ]
    assert (told.notices, told.warnings) == ([], [])


def test_headers_stand_in_where_there_is_no_uidl(server: StartServer) -> None:
    mailbox = Mailbox(THREE, capabilities=NO_UIDL, replies={b"UIDL\r\n": REFUSED})
    told = Told()
    with log_in(server(mailbox)) as client:
        assert [m.uid for m in survey(client, told)] == [
            stand_in_uid(headers(octets), len(octets)) for octets in THREE
        ]
    assert told.notices == ["the server has no UIDL: headers stand in for unique-ids"]


def test_headers_stand_in_for_an_empty_uid_alone(server: StartServer) -> None:
    mailbox = Mailbox(THREE, uids=[b"one", b"", b"three"])
    scripted = server(mailbox)
    with log_in(scripted) as client:
        uids = [m.uid for m in survey(client, Told())]
    scripted.stop()
    assert uids == [b"one", stand_in_uid(headers(THREE[1]), len(THREE[1])), b"three"]
    assert [line for line in scripted.commands if line.startswith(b"TOP")] == [b"TOP 2 0\r\n"]


def test_identical_messages_with_stand_ins_are_told_apart_by_their_order(server: StartServer) -> None:
    mailbox = Mailbox([THREE[0]] * 2, capabilities=NO_UIDL, replies={b"UIDL\r\n": REFUSED})
    with log_in(server(mailbox)) as client:
        first, second = survey(client, Told())
    assert first.uid == second.uid
    assert (first.occurrence, second.occurrence) == (0, 1)


def test_a_message_whose_stand_in_cannot_be_had_is_left_out_and_counted(server: StartServer) -> None:
    mailbox = Mailbox(
        THREE, uids=[b"one", b"", b"three"], replies={b"TOP 2 0\r\n": REFUSED, b"RETR 2\r\n": REFUSED}
    )
    told = Told()
    with log_in(server(mailbox)) as client:
        listing = survey(client, told)
    assert [m.uid for m in listing] == [b"one", b"three"]
    assert listing.unpaired == 1
    assert told.warnings == ["LIST and UIDL disagree: 1 messages are in one of them only"]


def test_messages_that_one_list_alone_names_are_said_to_be(server: StartServer) -> None:
    mailbox = Mailbox(THREE, replies={b"UIDL\r\n": b"+OK\r\n1 one\r\n3 three\r\n.\r\n"})
    told = Told()
    with log_in(server(mailbox)) as client:
        assert [m.number for m in survey(client, told)] == [1, 3]
    assert told.warnings == ["LIST and UIDL disagree: 1 messages are in one of them only"]


def test_headers_are_not_asked_for_where_list_does_not_name_the_message(server: StartServer) -> None:
    without_two = b"+OK\r\n1 %d\r\n3 %d\r\n.\r\n" % (len(THREE[0]), len(THREE[2]))
    mailbox = Mailbox(
        THREE, uids=[b"one", b"", b"three"], capabilities=NEITHER, replies={b"LIST\r\n": without_two}
    )
    with log_in(server(mailbox)) as client:
        assert [m.number for m in survey(client, Told())] == [1, 3]
        assert client.retrieved == set()


def test_a_refused_list_is_an_error(server: StartServer) -> None:
    mailbox = Mailbox(THREE, replies={b"LIST\r\n": REFUSED})
    with log_in(server(mailbox)) as client, pytest.raises(ServerErrorResponse):
        survey(client, Told())


# -- headers ---------------------------------------------------------------------------------------


def test_headers_come_by_top_in_the_order_they_are_asked_for(server: StartServer) -> None:
    scripted = server(Mailbox(THREE))
    with log_in(scripted) as client:
        survey(client, Told())
        assert list(headers_of(client, [2, 0])) == [(2, headers(THREE[2])), (0, headers(THREE[0]))]
        assert client.retrieved == set()
    scripted.stop()
    assert scripted.commands[-2:] == [b"TOP 3 0\r\n", b"TOP 1 0\r\n"]


def test_headers_come_by_retr_where_there_is_no_top(server: StartServer) -> None:
    with log_in(server(Mailbox(THREE, capabilities=NEITHER))) as client:
        assert list(headers_of(client, [0, 1])) == [(0, THREE[0]), (1, THREE[1])]
        assert client.retrieved == {0, 1}


def test_headers_come_by_retr_where_top_alone_is_refused(server: StartServer) -> None:
    with log_in(server(Mailbox(THREE, replies={b"TOP 2 0\r\n": REFUSED}))) as client:
        assert dict(headers_of(client, [0, 1])) == {0: headers(THREE[0]), 1: THREE[1]}
        assert client.retrieved == {1}


def test_headers_are_none_where_both_are_refused(server: StartServer) -> None:
    mailbox = Mailbox(THREE, replies={b"TOP 2 0\r\n": REFUSED, b"RETR 2\r\n": REFUSED})
    with log_in(server(mailbox)) as client:
        assert dict(headers_of(client, [1])) == {1: None}
        assert client.retrieved == set()


def test_headers_are_cut_and_the_rest_is_read(server: StartServer) -> None:
    large = message(1, b"x" * 3 * HEADERS_LIMIT)
    with log_in(server(Mailbox([large, THREE[1]], capabilities=NEITHER))) as client:
        assert list(headers_of(client, [0, 1])) == [(0, large[:HEADERS_LIMIT]), (1, THREE[1])]


def test_a_head_is_the_first_64_kib_whatever_the_blocks() -> None:
    blocks = [b"a" * 40_000, b"b" * 40_000, b"c" * 40_000]
    assert head(iter(blocks)) == b"".join(blocks)[:65536]
