"""LMTP and SMTP, at a scripted server: what is sent, what is recorded when, and what a failure means."""

from __future__ import annotations

import random
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pop3fetch.delivery.destination import Place, Settled
from pop3fetch.delivery.servers.transfer import MOST_RECEIVED, TOGETHER, Transfer
from pop3fetch.errors import DeliveryError
from pop3fetch.status import Status
from tests.support.delivering import TAG, Died, Journal, drafts, message
from tests.support.mail_destinations import MailDestinations
from tests.support.scripted_server import Talk
from tests.support.transfer_server import CHUNKED, PIPELINED, PLAIN, Accepted, TransferServer

ONE, TWO, THREE = (b"Return-Path: <bob@example.org>\r\nSubject: %d\r\n\r\nhello\r\n" % n for n in (1, 2, 3))
EXTENSIONS = {"plain": PLAIN, "pipelined": PIPELINED, "chunked": CHUNKED}
each_way = pytest.mark.parametrize("extensions", EXTENSIONS.values(), ids=EXTENSIONS)
LATER, REFUSED = Status.TRY_LATER, Status.CANNOT_DELIVER


class Relay(MailDestinations):
    """Mail servers that pass messages on."""

    def at(
        self,
        server: TransferServer,
        *,
        scheme: str = "lmtp",
        tls: str = "off",
        user: str | None = None,
        recipients: tuple[str, ...] = ("alice",),
        sender: str | None = None,
        timeout: float = 10,
    ) -> Transfer:
        settings = self.serve(
            server, scheme, user, tls=tls, timeout=timeout, recipients=recipients, sender=sender
        )
        return self.prepared(Transfer(settings, TAG, self.folder))


@pytest.fixture
def relay(tmp_path: Path, server_context: ssl.SSLContext, ca_file: Path) -> Iterator[Relay]:
    with ExitStack() as stack:
        yield Relay(tmp_path, stack, server_context, ca_file)


# -- what is sent ------------------------------------------------------------------------------------


@each_way
def test_messages_arrive_octet_for_octet_and_are_recorded(
    relay: Relay, extensions: tuple[bytes, ...]
) -> None:
    server = TransferServer(extensions)
    messages = [
        ONE,
        b".\r\n..\r\n.x\r\n\r\n.\r\n",
        b"\xff\0\r x",
        b"A: b\r\n\r\n" + b"." * 600_000 + b"\r\n.\r\nMAIL FROM:<>\r\n",
        b"no line end",
        b"",
    ]
    transfer, journal = relay.at(server), Journal()
    assert transfer.deliver(drafts(transfer, messages, (1000, 1, 2, 65536)), journal) == []
    ended = [octets if octets.endswith(b"\r\n") or extensions == CHUNKED else octets + b"\r\n"
             for octets in messages]  # fmt: skip
    assert [each.octets for each in server.accepted] == ended
    assert not server.has_bare_lf
    assert journal.delivered == [*range(len(messages))]
    assert journal.intents == {}


@each_way
def test_a_bare_line_feed_cannot_end_a_message(relay: Relay, extensions: tuple[bytes, ...]) -> None:
    server = TransferServer(extensions)
    smuggled = b"A: b\n\nhello\n.\nMAIL FROM:<x>\nRCPT TO:<y>\nDATA\nbad\n.\n"
    transfer = relay.at(server)
    assert transfer.deliver(drafts(transfer, [smuggled]), Journal()) == []
    assert server.accepted == [Accepted(b"", b"alice", smuggled.replace(b"\n", b"\r\n"))]


def test_parameters_are_sent_only_if_they_are_offered(relay: Relay) -> None:
    plain, full = TransferServer((b"ENHANCEDSTATUSCODES",)), TransferServer(PIPELINED)
    for server in (plain, full):
        transfer = relay.at(server)
        transfer.deliver(drafts(transfer, [b"a\r\n", b"\xe4\r\n"]), Journal())
    assert plain.mails == [b"MAIL FROM:<>\r\n"] * 2
    assert full.mails == [b"MAIL FROM:<> SIZE=3\r\n", b"MAIL FROM:<> SIZE=3 BODY=8BITMIME\r\n"]


@pytest.mark.parametrize(
    ("header", "sender"),
    [
        (b"Return-Path: <bob@example.org>\r\n", b"bob@example.org"),
        (b"Return-Path:\r\n <bob@example.org>\r\n", b"bob@example.org"),
        (b"Return-Path: <>\r\n", b""),
        (b"", b""),
        (b"Return-Path: <a b@example.org>\r\n", b""),
        (b"Return-Path: <a@b> SIZE=1\r\n", b""),
        (b"Return-Path: <\xff@example.org>\r\n", b""),
        (b"\r\nReturn-Path: <bob@example.org>\r\n", b""),
    ],
)
def test_the_sender_is_that_of_return_path_if_it_is_an_address(
    relay: Relay, header: bytes, sender: bytes
) -> None:
    server = TransferServer()
    transfer = relay.at(server)
    transfer.deliver(drafts(transfer, [header + b"Subject: x\r\n\r\n"]), Journal())
    assert [each.sender for each in server.accepted] == [sender]


def test_a_sender_that_is_set_comes_first(relay: Relay) -> None:
    server = TransferServer()
    transfer = relay.at(server, sender="carol@example.org")
    transfer.deliver(drafts(transfer, [ONE]), Journal())
    assert server.accepted == [Accepted(b"carol@example.org", b"alice", ONE)]


def test_a_sender_that_lmtp_refuses_is_left_out(relay: Relay) -> None:
    for extensions in EXTENSIONS.values():
        server = TransferServer(extensions, {b"MAIL": [b"550 5.1.8 no such domain\r\n"]})
        transfer, journal = relay.at(server), Journal()
        assert transfer.deliver(drafts(transfer, [ONE, TWO]), journal) == []
        assert server.accepted == [
            Accepted(b"bob@example.org", b"alice", TWO), Accepted(b"", b"alice", ONE)
        ]  # fmt: skip
        assert sorted(journal.delivered) == [0, 1]


def test_each_recipient_has_a_transaction_of_its_own(relay: Relay) -> None:
    server = TransferServer()
    transfer, journal = relay.at(server, recipients=("alice", "bob")), Journal()
    transfer.deliver(drafts(transfer, [ONE, TWO]), journal)
    assert [(each.recipient, each.octets) for each in server.accepted] == [
        (b"alice", ONE), (b"bob", ONE), (b"alice", TWO), (b"bob", TWO)
    ]  # fmt: skip
    assert journal.delivered == [0, 1]


def test_a_recipient_that_has_accepted_is_not_sent_it_again(relay: Relay, tmp_path: Path) -> None:
    replies = {b"end": [b"250 2.0.0 ok\r\n", b"554 5.6.0 no\r\n"]}
    first = TransferServer(replies=replies)
    transfer, journal = relay.at(first, recipients=("alice", "bob")), Journal()
    ((refused, error),) = transfer.deliver(drafts(transfer, [ONE]), journal)
    assert (refused.message.index, error.exit_status, journal.delivered) == (0, REFUSED, [])
    assert journal.intents == {}
    transfer.close()

    later = TransferServer()
    transfer = relay.at(later, recipients=("alice", "bob"))
    assert transfer.deliver(drafts(transfer, [ONE]), journal) == []
    assert [each.recipient for each in first.accepted + later.accepted] == [b"alice", b"bob"]
    assert journal.delivered == [0]
    transfer.close()
    assert list(tmp_path.iterdir()) == []


# -- TLS and login -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_a_login_is_made_inside_tls(relay: Relay, tls: str) -> None:
    server = TransferServer((*PIPELINED, b"STARTTLS", b"AUTH PLAIN LOGIN"))
    transfer = relay.at(server, scheme="smtp", tls=tls, user="alice", sender="bob@example.org")
    assert transfer.deliver(drafts(transfer, [ONE]), Journal()) == []
    assert [each.octets for each in server.accepted] == [ONE]


def test_a_refused_login_ends_the_delivery_and_is_remembered(relay: Relay) -> None:
    server = TransferServer((b"STARTTLS", b"AUTH PLAIN"), password="another")
    transfer = relay.at(server, scheme="smtp", tls="starttls", user="alice")
    error = relay.fails(transfer, Journal(), ONE)
    assert (error.exit_status, len(relay.refusals)) == (Status.NO_LOGIN, 1)
    assert "535 5.7.8 wrong password" in str(error)


@pytest.mark.parametrize(
    "reply",
    [
        b"secret what\r\n",
        b"250-" + b"x" * 70 + b"secret" + b"x" * 10_000,
        b"550 c2VjcmV0 is secret\r\n",
    ],
)
def test_a_server_that_repeats_the_secret_does_not_get_it_shown(relay: Relay, reply: bytes) -> None:
    server = TransferServer((b"AUTH PLAIN",), {b"MAIL": [reply]})
    error = relay.fails(relay.at(server, scheme="smtp", tls="implicit", user="alice"), Journal(), ONE)
    assert "(secret)" in str(error)
    assert "secret" not in str(error).replace("(secret)", "") and "c2VjcmV0" not in str(error)


def test_nothing_is_sent_if_starttls_is_missing(relay: Relay) -> None:
    server = TransferServer((b"AUTH PLAIN",))
    transfer = relay.at(server, scheme="smtp", tls="starttls", user="alice")
    error = relay.fails(transfer, Journal(), ONE)
    assert (error.exit_status, server.mails) == (Status.PROTOCOL, [])


def test_what_comes_before_the_handshake_is_refused(relay: Relay) -> None:
    server = TransferServer((b"STARTTLS",), {b"STARTTLS": [b"220 go\r\n250 injected\r\n"]})
    error = relay.fails(relay.at(server, tls="starttls"), Journal(), ONE)
    assert error.exit_status == Status.PROTOCOL
    assert "between its reply and the handshake" in str(error)


def test_a_certificate_that_does_not_verify_is_shown(relay: Relay, tmp_path: Path) -> None:
    import trustme

    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    relay.ca_file = tmp_path / "other.pem"
    for tls in ("implicit", "starttls"):
        error = relay.fails(relay.at(TransferServer((b"STARTTLS",)), tls=tls), Journal(), ONE)
        assert error.exit_status == Status.PROTOCOL
        assert "SHA-256" in str(error)


# -- refusals ----------------------------------------------------------------------------------------


@each_way
@pytest.mark.parametrize(
    ("reply", "status"), [(b"554 5.6.0 no\r\n", REFUSED), (b"451 4.2.0 not now\r\n", LATER)]
)
def test_a_message_that_is_refused_does_not_stop_the_others(
    relay: Relay, extensions: tuple[bytes, ...], reply: bytes, status: Status
) -> None:
    server = TransferServer(extensions, {b"end": [b"250 2.0.0 ok\r\n", reply]})
    transfer, journal = relay.at(server), Journal()
    ((refused, error),) = transfer.deliver(drafts(transfer, [ONE, TWO, THREE]), journal)
    assert (refused.message.index, error.exit_status, error.fatal) == (1, status, False)
    assert reply.strip().decode() in str(error)
    assert [each.octets for each in server.accepted] == [ONE, THREE]
    assert (journal.delivered, journal.intents) == ([0, 2], {})


@each_way
@pytest.mark.parametrize(
    ("step", "reply", "status"),
    [
        (b"greeting", b"421 4.3.2 busy\r\n", LATER),
        (b"greeting", b"554 5.7.1 go away\r\n", REFUSED),
        (b"LHLO", b"500 5.5.1 what?\r\n", Status.PROTOCOL),
        (b"MAIL", b"421 4.3.2 bye\r\n", LATER),
        (b"MAIL", b"451 4.3.0 not now\r\n", LATER),
        (b"RCPT", b"450 4.2.1 not now\r\n", LATER),
        (b"RCPT", b"550 5.1.1 nobody\r\n", REFUSED),
        (b"RCPT", b"552 5.2.2 full\r\n", REFUSED),
        (b"end", b"421 4.3.2 bye\r\n", LATER),
        (b"end", b"552 5.2.2 full\r\n", REFUSED),
        (b"MAIL", b"hello\r\n", Status.PROTOCOL),
        (b"MAIL", b"999 hello\r\n", Status.PROTOCOL),
        (b"MAIL", b"354 go on\r\n", Status.PROTOCOL),
        (b"MAIL", b"250-a\r\n" * 101, Status.PROTOCOL),
        (b"MAIL", b"250 " + b"x" * 9000, Status.PROTOCOL),
    ],
)
def test_a_refusal_that_all_messages_would_meet_ends_the_delivery(
    relay: Relay, extensions: tuple[bytes, ...], step: bytes, reply: bytes, status: Status
) -> None:
    server = TransferServer(extensions, {step: [reply]})
    transfer, journal = relay.at(server), Journal()
    error = relay.fails(transfer, journal, b"Subject: x\r\n\r\n")
    assert error.exit_status in (status, Status.BAD_DATA if status == Status.PROTOCOL else status)
    assert (server.accepted, journal.delivered) == ([], [])
    is_in_doubt = extensions == CHUNKED and (step, status) == (b"MAIL", Status.PROTOCOL)  # it was sent
    assert len(journal.intents) == is_in_doubt


@pytest.mark.parametrize("extensions", [PLAIN, PIPELINED], ids=["plain", "pipelined"])
def test_a_message_that_is_accepted_before_it_is_sent_is_in_doubt(
    relay: Relay, extensions: tuple[bytes, ...]
) -> None:
    def accept_early(talk: Talk) -> None:
        talk.say(b"354 go on\r\n250 2.0.0 ok\r\n")
        talk.stall()

    journal = Journal()
    transfer = relay.at(TransferServer(extensions, replies={b"DATA": [accept_early]}))
    error = relay.fails(transfer, journal, ONE)
    assert "accepts a message before it is sent" in str(error)
    assert (journal.delivered, [*journal.intents]) == ([], [0])


@each_way
@pytest.mark.parametrize(
    ("step", "replies"),
    [
        (b"MAIL", b"250 2.1.0 ok\r\n250 2.1.0 ok\r\n"),
        (b"RCPT", b"250 2.1.5 ok\r\n250 2.1.5 ok\r\n"),
        (b"end", b"250 2.0.0 saved\r\n250 2.0.0 saved\r\n"),
        (b"end", b"250 2.0.0 saved\r\n550 5.0.0 no\r\n"),
        (b"RCPT", b"250 2.1.5 ok\r\n451 4.2.0 not now\r\n"),
    ],
)
def test_a_reply_too_many_makes_no_message_delivered(
    relay: Relay, extensions: tuple[bytes, ...], step: bytes, replies: bytes
) -> None:
    server = TransferServer(extensions, {step: [replies]})
    transfer, journal = relay.at(server, timeout=2), Journal()
    error = relay.fails(transfer, journal, ONE, TWO, THREE)
    accepted = {(ONE, TWO, THREE).index(each.octets) for each in server.accepted}
    assert {*journal.delivered} <= accepted
    if b"\r\n2" in replies:
        assert error.exit_status == Status.PROTOCOL
        assert accepted <= {*journal.delivered, *journal.intents}
    else:  # a message counts as refused: the server may then wait for its data
        assert error.exit_status in (Status.PROTOCOL, LATER)


def test_three_messages_in_a_row_that_must_wait_end_the_delivery(relay: Relay) -> None:
    later = b"451 4.2.0 not now\r\n"
    server = TransferServer(replies={b"end": [later, later, b"250 2.0.0 ok\r\n", later, later, later]})
    transfer, journal = relay.at(server), Journal()
    error = relay.fails(transfer, journal, *[ONE] * 6)
    assert (error.exit_status, journal.delivered, journal.intents) == (LATER, [2], {})


def test_a_message_that_cannot_be_taken_is_not_sent(relay: Relay) -> None:
    server = TransferServer((b"SIZE 100",))
    loop = b"Received: x\r\n" * (MOST_RECEIVED + 1) + b"\r\n"
    transfer, journal = relay.at(server), Journal()
    refused = transfer.deliver(drafts(transfer, [b"x" * 101, loop, ONE]), journal)
    assert [str(error).partition(": ")[2] for _, error in refused] == [
        "it has 101 octets, and the server takes 100",
        f"it has more than {MOST_RECEIVED} Received fields: it is in a loop",
    ]
    assert {error.exit_status for _, error in refused} == {REFUSED}
    assert journal.delivered == [2]


# -- a lost reply ------------------------------------------------------------------------------------


@each_way
def test_what_was_sent_and_not_answered_is_in_doubt_and_nothing_else(
    relay: Relay, extensions: tuple[bytes, ...]
) -> None:
    server = TransferServer(extensions, {b"end": [b"250 2.0.0 ok\r\n", None]})
    transfer, journal = relay.at(server), Journal()
    error = relay.fails(transfer, journal, ONE, TWO, THREE)
    assert (error.exit_status, journal.delivered) == (LATER, [0])
    in_doubt = {1, 2} if extensions == CHUNKED else {1}
    assert set(journal.intents) == in_doubt

    assert transfer.settle([*journal.intents.values()]) == [Settled.UNDONE] * len(in_doubt)
    (report,) = relay.reports
    assert report.endswith(
        "2 messages may arrive twice" if len(in_doubt) == 2 else "1 message may arrive twice"
    )


@each_way
def test_the_record_is_never_behind_by_more_than_a_group(relay: Relay, extensions: tuple[bytes, ...]) -> None:
    server = TransferServer(extensions)
    transfer, journal = relay.at(server), Journal(dies="before done")
    with pytest.raises(Died):
        transfer.deliver(drafts(transfer, [ONE] * 40), journal)
    assert len(journal.intents) <= TOGETHER
    # Without PIPELINING, no other reply can be there yet: each message is recorded at once.
    assert len(server.accepted) <= (1 if extensions == PLAIN else TOGETHER)


@each_way
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)], ids=["a few", "all"])
def test_a_connection_that_is_cut_anywhere_loses_and_doubles_nothing(
    relay: Relay, extensions: tuple[bytes, ...], step: int
) -> None:
    whole = TransferServer(extensions)
    transfer = relay.at(whole)
    transfer.deliver(drafts(transfer, [ONE, TWO]), Journal())
    said = 300  # more than the server says
    doubles = 0
    for octets in range(random.randrange(step), said, step):
        server = TransferServer(extensions, break_after=octets)
        transfer, journal = relay.at(server), Journal()
        try:
            transfer.deliver(drafts(transfer, [ONE, TWO]), journal)
        except DeliveryError as error:
            assert error.exit_status == LATER
        recorded, in_doubt = [*journal.delivered], {*journal.intents}
        accepted = [(ONE, TWO).index(each.octets) for each in server.accepted]
        assert sorted({*recorded, *in_doubt} & {*accepted}) == accepted, "what was accepted is known"
        assert {*recorded} <= {*accepted}, "nothing is recorded that was not accepted"
        if octets and recorded == [0, 1]:
            break
        again = [index for index in (0, 1) if index not in recorded]
        journal.intents.clear()
        transfer.deliver(drafts(transfer, [(ONE, TWO)[index] for index in again]), journal)
        copies = [each.octets for each in server.accepted]
        doubles += len(copies) - len({*copies})
        assert {*copies} == {ONE, TWO}
        assert len(copies) - 2 <= len(in_doubt)
        transfer.close()
    else:
        pytest.fail("the session was never whole")
    assert doubles  # or the cuts after the last octet of a message were missed


def test_an_idle_session_that_is_over_is_begun_anew(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pop3fetch.delivery.servers.transfer.IDLE", -1.0)
    server = TransferServer(replies={b"NOOP": [b"250 ok\r\n", b"421 idle\r\n", None]})
    transfer, journal = relay.at(server), Journal()
    for index, octets in enumerate([ONE, TWO, THREE]):
        transfer.deliver(drafts(transfer, [octets], first=index), journal)
    assert [each.octets for each in server.accepted] == [ONE, TWO, THREE]
    assert journal.delivered == [0, 1, 2]


def test_an_interrupt_ends_the_wait_for_a_reply(relay: Relay) -> None:
    server = TransferServer()
    server.manner = Talk.stall
    server.break_after = len(b"220 ready\r\n")
    transfer = relay.at(server, timeout=60)
    with pytest.raises(DeliveryError, match="waiting for the reply to LHLO"):
        threading.Timer(0.1, transfer.interrupt).start()
        transfer.draft(message())


def test_silence_ends_with_the_time_out(relay: Relay) -> None:
    server = TransferServer(break_after=20, manner=Talk.stall)
    error = relay.fails(relay.at(server, timeout=0.3), Journal(), ONE)
    assert error.exit_status == LATER
    assert "timed out after 0.3 s" in str(error)


@each_way
def test_the_reply_to_a_message_is_awaited_longer_than_any_other(
    relay: Relay, extensions: tuple[bytes, ...]
) -> None:
    def slowly(talk: Talk) -> None:
        talk.drip(b"250 2.0.0 ok\r\n", 0.06)

    journal = Journal()
    transfer = relay.at(TransferServer(extensions, replies={b"end": [slowly]}), timeout=0.3)
    assert transfer.deliver(drafts(transfer, [ONE]), journal) == []
    assert journal.delivered == [0]
    relay_of_commands = relay.at(TransferServer(replies={b"MAIL": [slowly]}), timeout=0.3)
    assert relay.fails(relay_of_commands, Journal(), ONE).exit_status == LATER


def test_settling_needs_no_server(relay: Relay) -> None:
    transfer = relay.at(TransferServer())
    places = [Place(transfer.name, "", 0, 10)] * 3
    assert transfer.settle(places) == [Settled.UNDONE] * 3
    assert relay.reports == [f"{transfer.name}: the reply was lost: 3 messages may arrive twice"]
