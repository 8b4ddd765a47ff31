"""What is on the server: listings with stand-ins for missing UIDs, and headers."""

from __future__ import annotations

import pytest

from pop3fetch.errors import IncompleteMessage, ServerErrorResponse
from pop3fetch.fetch.survey import MOST_UNPAIRED, Looked, headers_of, survey, whole_of
from pop3fetch.headers.fields import LIMIT as HEADERS_LIMIT
from pop3fetch.messages import former_stand_in_uid, stand_in_uid
from tests.support.fetching import Told, log_in, message, numbered
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import StartServer

THREE = numbered(3)
NO_UIDL = (b"TOP", b"PIPELINING", b"SASL PLAIN")
NEITHER = (b"PIPELINING", b"SASL PLAIN")
REFUSED = b"-ERR no\r\n"
BLANK = b"+OK\r\n\r\n.\r\n"


def headers(octets: bytes) -> bytes:
    head, end, _ = octets.partition(b"\r\n\r\n")
    return head + end


def whole(octets: bytes) -> Looked:
    return Looked(octets, octets=len(octets))


def test_a_listing_has_numbers_sizes_and_uids(server: StartServer) -> None:
    told = Told()
    with log_in(server(Mailbox(THREE))) as client:
        listing = survey(client, told)
        assert [(m.number, m.size, m.uid) for m in listing] == [
            (number, len(octets), b"uid-%d" % number) for number, octets in enumerate(THREE, 1)
        ]
    assert (told.notices, told.warnings) == ([], [])


def test_headers_stand_in_for_unique_ids_without_uidl(server: StartServer) -> None:
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


def test_identical_messages_with_stand_ins_are_distinguished_by_their_order(server: StartServer) -> None:
    mailbox = Mailbox([THREE[0]] * 2, capabilities=NO_UIDL, replies={b"UIDL\r\n": REFUSED})
    with log_in(server(mailbox)) as client:
        first, second = survey(client, Told())
    assert first.uid == second.uid
    assert (first.occurrence, second.occurrence) == (0, 1)


def test_what_a_server_adds_to_a_message_that_was_read_changes_no_stand_in(server: StartServer) -> None:
    read = [octets.replace(b"Subject:", b"Status: RO\r\nSubject:") for octets in THREE]
    uids = []
    for messages in (THREE, read):
        mailbox = Mailbox(messages, capabilities=NO_UIDL, replies={b"UIDL\r\n": REFUSED})
        with log_in(server(mailbox)) as client:
            listing = survey(client, Told())
        uids.append(list(listing.uids))
    assert uids[0] == uids[1]
    old = [former_stand_in_uid(headers(octets), len(octets)) for octets in read]
    assert listing.former_stand_ins == dict(zip(uids[1], old, strict=True))


def test_a_message_whose_stand_in_cannot_be_had_is_named(server: StartServer) -> None:
    mailbox = Mailbox(
        THREE, uids=[b"one", b"", b"three"], replies={b"TOP 2 0\r\n": REFUSED, b"RETR 2\r\n": REFUSED}
    )
    told = Told()
    with log_in(server(mailbox)) as client:
        listing = survey(client, told)
    assert [m.uid for m in listing] == [b"one", b"three"]
    assert list(listing.unreadable) == [1]
    assert isinstance(listing.unreadable[1], ServerErrorResponse)
    assert told.warnings == ["message 2 cannot be listed: the server refused RETR 2: no"]


def test_a_message_that_comes_blank_gets_no_stand_in(server: StartServer) -> None:
    mailbox = Mailbox([b"\r\n", *THREE], uids=[b""] * 4)
    mailbox.replies = dict.fromkeys((b"TOP 2 0\r\n", b"RETR 2\r\n"), BLANK)
    with log_in(server(mailbox)) as client:
        listing = survey(client, Told())
    assert list(listing.indexes()) == [0, 2, 3], "the first one is no larger than it is listed"
    assert isinstance(listing.unreadable[1], IncompleteMessage)


def test_a_message_that_uidl_leaves_out_gets_a_stand_in(server: StartServer) -> None:
    mailbox = Mailbox(THREE, replies={b"UIDL\r\n": b"+OK\r\n1 one\r\n3 three\r\n.\r\n"})
    told = Told()
    with log_in(server(mailbox)) as client:
        listing = survey(client, told)
    stand_in = stand_in_uid(headers(THREE[1]), len(THREE[1]))
    assert [(m.number, m.uid) for m in listing] == [(1, b"one"), (2, stand_in), (3, b"three")]
    assert listing.unpaired == 1
    assert told.warnings == ["LIST and UIDL disagree: 1 message is in one of them only (2)"]


def test_a_message_that_list_leaves_out_has_no_octets_yet(server: StartServer) -> None:
    without = b"+OK\r\n1 %d\r\n3 %d\r\n.\r\n" % (len(THREE[0]), len(THREE[2]))
    with log_in(server(Mailbox(THREE, replies={b"LIST\r\n": without}))) as client:
        listing = survey(client, Told())
    assert [(m.number, m.size) for m in listing] == [(1, len(THREE[0])), (2, 0), (3, len(THREE[2]))]
    assert listing.unpaired == 1


def test_of_many_unpaired_messages_some_are_believed(server: StartServer) -> None:
    count = MOST_UNPAIRED + 50
    mailbox = Mailbox([THREE[0]] * count, uids=[b"%d" % n for n in range(count)])
    mailbox.replies[b"LIST\r\n"] = b"+OK\r\n.\r\n"
    scripted = server(mailbox)
    told = Told()
    with log_in(scripted) as client:
        listing = survey(client, told)
    scripted.stop()
    assert (len(listing), listing.unpaired) == (MOST_UNPAIRED, count)
    numbers = ", ".join(map(str, range(1, 11)))
    assert told.warnings == [
        f"LIST and UIDL disagree: {count} messages are in one of them only ({numbers}, …)"
    ]


def test_a_refused_list_is_an_error(server: StartServer) -> None:
    mailbox = Mailbox(THREE, replies={b"LIST\r\n": REFUSED})
    with log_in(server(mailbox)) as client, pytest.raises(ServerErrorResponse):
        survey(client, Told())


# -- headers ---------------------------------------------------------------------------------------


def test_headers_come_by_top_in_the_order_they_are_asked_for(server: StartServer) -> None:
    scripted = server(Mailbox(THREE))
    with log_in(scripted) as client:
        survey(client, Told())
        assert list(headers_of(client, [2, 0])) == [
            (2, Looked(headers(THREE[2]))),
            (0, Looked(headers(THREE[0]))),
        ]
        assert client.retrieved == set()
    scripted.stop()
    assert scripted.commands[-2:] == [b"TOP 3 0\r\n", b"TOP 1 0\r\n"]


def test_headers_of_many_messages_are_asked_for_while_others_arrive(server: StartServer) -> None:
    count = 250
    asked = [b"TOP %d 0\r\n" % number for number in range(1, count + 1)]
    # No reply comes before the last command.
    replies = {**dict.fromkeys(asked, b""), asked[-1]: b"+OK\r\nSubject: x\r\n\r\n.\r\n" * count}
    scripted = server(Mailbox(numbered(count), replies=replies))
    with log_in(scripted) as client:
        survey(client, Told())
        assert [index for index, _ in headers_of(client, range(count))] == list(range(count))


def test_no_headers_are_asked_for_before_a_refused_one_has_come_by_retr(server: StartServer) -> None:
    count = 600
    refused = {b"TOP %d 0\r\n" % number: REFUSED for number in (3, 4, 590)}
    scripted = server(Mailbox(numbered(count), replies=refused))
    with log_in(scripted) as client:
        survey(client, Told())
        found = list(headers_of(client, range(count)))
        assert [index for index, _ in found] == list(range(count))
        assert {index for index, looked in found if looked.octets} == client.retrieved == {2, 3, 589}
    scripted.stop()
    tops = [int(line.split()[1]) for line in scripted.commands if line.startswith(b"TOP")]
    assert tops == list(range(1, count + 1))
    first = scripted.commands.index(b"RETR 3\r\n")
    assert scripted.commands[first + 1] == b"RETR 4\r\n"
    assert int(scripted.commands[first - 1].split()[1]) <= 300, "a window of them, and not all"


def test_headers_come_by_retr_without_top(server: StartServer) -> None:
    with log_in(server(Mailbox(THREE, capabilities=NEITHER))) as client:
        assert list(headers_of(client, [0, 1])) == [(0, whole(THREE[0])), (1, whole(THREE[1]))]
        assert client.retrieved == {0, 1}


@pytest.mark.parametrize("reply", [REFUSED, b"+OK\r\n.\r\n", BLANK])
def test_headers_come_by_retr_if_top_shows_nothing(server: StartServer, reply: bytes) -> None:
    with log_in(server(Mailbox(THREE, replies={b"TOP 2 0\r\n": reply}))) as client:
        assert dict(headers_of(client, [0, 1])) == {0: Looked(headers(THREE[0])), 1: whole(THREE[1])}
        assert client.retrieved == {1}


def test_a_look_that_is_refused_is_reported(server: StartServer) -> None:
    mailbox = Mailbox(THREE, replies={b"TOP 2 0\r\n": REFUSED, b"RETR 2\r\n": REFUSED})
    with log_in(server(mailbox)) as client:
        ((index, looked),) = headers_of(client, [1])
        assert (index, looked.headers) == (1, b"")
        assert isinstance(looked.refusal, ServerErrorResponse)
        assert client.retrieved == set()


def test_headers_are_cut_and_the_rest_is_read(server: StartServer) -> None:
    large = message(1, b"x" * 3 * HEADERS_LIMIT)
    with log_in(server(Mailbox([large, THREE[1]], capabilities=NEITHER))) as client:
        assert list(headers_of(client, [0, 1])) == [
            (0, Looked(large[:HEADERS_LIMIT], octets=len(large))),
            (1, whole(THREE[1])),
        ]


def test_a_look_at_whole_messages_counts_their_octets(server: StartServer) -> None:
    large = message(1, b"x" * 3 * HEADERS_LIMIT)
    with log_in(server(Mailbox([large, THREE[1]]))) as client:
        assert list(whole_of(client, [0, 1])) == [
            (0, Looked(large[:HEADERS_LIMIT], None, len(large))),
            (1, Looked(THREE[1], None, len(THREE[1]))),
        ]
