"""IMAP, at a scripted server: what is appended, what is recorded when, and what a failure means."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pop3fetch.delivery.destination import Settled
from pop3fetch.delivery.servers.line import DATA_TIMEOUT
from pop3fetch.delivery.servers.mailbox import Mailbox
from pop3fetch.delivery.servers.settling import Settlement
from pop3fetch.errors import DeliveryError
from pop3fetch.status import Status
from tests.support.delivering import Died, Journal, drafts
from tests.support.imap_server import BARE, MINUS, PLUS, Box, ImapServer
from tests.support.mail_destinations import MailDestinations
from tests.support.scripted_server import Talk

ONE, TWO, THREE = (b"Message-ID: <%d@x>\r\nSubject: %d\r\n\r\nhello\r\n" % (n, n) for n in (1, 2, 3))
OFFERS = {"LITERAL+": PLUS, "LITERAL-": MINUS, "no such literal": BARE}
each_way = pytest.mark.parametrize("offered", OFFERS.values(), ids=OFFERS)
LATER, REFUSED, PROTOCOL = Status.TRY_LATER, Status.CANNOT_DELIVER, Status.PROTOCOL
AT_ONCE = Settlement(0, 0)


class Store(MailDestinations):
    """Mailboxes at scripted servers."""

    def at(
        self,
        server: ImapServer,
        *,
        tls: str = "implicit",
        mailbox: str = "INBOX",
        flags: tuple[str, ...] = (),
        timeout: float = 10,
        settlement: Settlement = AT_ONCE,
        known: str | None = None,
    ) -> Mailbox:
        """Return a destination that is prepared as in a run; call it again for the next run."""
        settings = self.serve(server, "imaps", "alice", mailbox, tls=tls, timeout=timeout, flags=flags)
        return self.prepared(Mailbox(settings, self.folder, settlement), known)


@pytest.fixture
def store(tmp_path: Path, server_context: ssl.SSLContext, ca_file: Path) -> Iterator[Store]:
    with ExitStack() as stack:
        yield Store(tmp_path, stack, server_context, ca_file)


# -- what is appended --------------------------------------------------------------------------------


@each_way
def test_messages_arrive_octet_for_octet_and_are_recorded(store: Store, offered: tuple[str, ...]) -> None:
    server = ImapServer(offered)
    messages = [ONE, b"\xff\r x", b"x" * 5000, b"A: b\r\n\r\n" + b"y" * 1_500_000, b"no line end"]
    destination, journal = store.at(server), Journal()
    begun = drafts(destination, messages, (1000, 1, 65536))
    assert destination.deliver(begun, journal) == []
    assert [*server.inbox.messages.values()] == messages
    assert (journal.delivered, journal.intents) == ([*range(len(messages))], {})
    uids = [f", UID {uid}" if offered != BARE else "" for uid in server.inbox.messages]
    assert [draft.place for draft in begun] == [f"{destination.name}{uid}" for uid in uids]


def test_literals_are_sent_at_once_as_far_as_the_server_allows(store: Store) -> None:
    sizes = (10, 4096, 4097, 1 << 20, (1 << 20) + 1)
    ends = {
        PLUS: ["{10+}", "{4096+}", "{4097+}", "{1048576+}", "{1048577}"],
        MINUS: ["{10+}", "{4096+}", "{4097}", "{1048576}", "{1048577}"],
        BARE: ["{10}", "{4096}", "{4097}", "{1048576}", "{1048577}"],
    }
    for offered, expected in ends.items():
        server = ImapServer(offered)
        destination = store.at(server)
        destination.deliver(drafts(destination, [b"x" * size for size in sizes], (65536,)), Journal())
        appends = [line.split()[-1].decode() for line in server.commands if line.startswith(b"APPEND")]
        assert appends == expected


def test_a_nul_needs_binary(store: Store) -> None:
    destination, journal = store.at(server := ImapServer(PLUS)), Journal()
    assert destination.deliver(drafts(destination, [b"a\0b\r\n"]), journal) == []
    assert server.commands[-1] == b'APPEND "INBOX" () ~{5+}'

    destination, journal = store.at(server := ImapServer(MINUS)), Journal()
    ((refused, error),) = destination.deliver(drafts(destination, [b"a\0b\r\n", ONE]), journal)
    assert (refused.message.index, error.exit_status, error.fatal) == (0, REFUSED, False)
    assert "contains a NUL" in str(error)
    assert [*server.inbox.messages.values()] == [ONE]


@pytest.mark.parametrize(
    ("header", "date"),
    [
        (b"Received: by x; Thu, 1 Jan 2026 01:02:03 +0100\r\nDate: Fri, 2 Jan 2026 00:00:00 +0000\r\n",
         b"01-Jan-2026 01:02:03 +0100"),
        (b"Received: y; Sat, 3 Jan 2026 00:00:00 +0000\r\nReceived: x; Thu, 1 Jan 2026 00:00:00 +0000\r\n",
         b"03-Jan-2026 00:00:00 +0000"),
        (b"Date: Fri, 2 Jan 2026 00:00:00 -0530\r\n", b"02-Jan-2026 00:00:00 -0530"),
        (b"Date: yesterday\r\n", b""),
        (b"Date: Fri, 2 Jan 1970 00:00:00 +0000\r\n", b""),
        (b"Date: Fri, 2 Jan 2170 00:00:00 +0000\r\n", b""),
        (b"", b""),
    ],
)  # fmt: skip
def test_the_date_is_that_of_the_arrival(store: Store, header: bytes, date: bytes) -> None:
    destination = store.at(server := ImapServer())
    destination.deliver(drafts(destination, [header + b"A: b\r\n\r\n"]), Journal())
    assert server.inbox.dates == [date]


def test_flags_are_those_that_are_set(store: Store) -> None:
    destination = store.at(server := ImapServer(), flags=("\\Flagged", "work"))
    destination.deliver(drafts(destination, [ONE]), Journal())
    assert server.inbox.flags == [b"\\Flagged work"]


def test_a_message_that_cannot_be_taken_is_not_sent(store: Store) -> None:
    destination, journal = store.at(server := ImapServer((*PLUS, "APPENDLIMIT=100"))), Journal()
    refused = destination.deliver(drafts(destination, [b"x" * 101, b"", ONE]), journal)
    assert [str(error).partition(": ")[2] for _, error in refused] == [
        "it has 101 octets, and the server takes 100",
        "it has no octet",
    ]
    assert journal.delivered == [2]
    assert len(server.inbox.messages) == 1


# -- the mailbox -------------------------------------------------------------------------------------


def test_a_mailbox_is_created_on_the_first_run_only(store: Store) -> None:
    server = ImapServer()
    destination = store.at(server, mailbox="Lists/ä&b")
    assert destination.folder_id == "9"
    destination.deliver(drafts(destination, [ONE]), Journal())
    assert [*server.boxes] == [b"INBOX", b"Lists/&AOQ-&-b"]

    del server.boxes[b"Lists/&AOQ-&-b"]
    error = store.fails(store.at(server, mailbox="Lists/ä&b", known="9"), Journal(), ONE)
    assert error.exit_status == REFUSED
    assert "--create" in str(error)


def test_a_mailbox_that_cannot_be_created_is_an_error(store: Store) -> None:
    server = ImapServer(replies={"CREATE": [b"NO [CANNOT] no\r\n"]})
    error = store.fails(store.at(server, mailbox="a/b"), Journal(), ONE)
    assert error.exit_status == REFUSED
    assert "cannot be created: NO [CANNOT] no" in str(error)


def test_nothing_is_asked_before_there_is_a_message(store: Store) -> None:
    server = ImapServer()
    store.at(server).close()
    assert server.commands == []


# -- TLS and login -----------------------------------------------------------------------------------


def test_starttls_comes_before_the_login(store: Store) -> None:
    server = ImapServer((*PLUS, "STARTTLS"))
    destination = store.at(server, tls="starttls")
    destination.deliver(drafts(destination, [ONE]), Journal())
    names = [line.split()[0] for line in server.commands]
    assert names[:5] == [b"CAPABILITY", b"STARTTLS", b"CAPABILITY", b"AUTHENTICATE", b"CAPABILITY"]


@pytest.mark.parametrize(
    ("server", "text"),
    [
        (ImapServer(BARE), "does not offer STARTTLS"),
        (ImapServer((*BARE, "STARTTLS"), {"STARTTLS": [b"NO no\r\n"]}), "refused STARTTLS"),
        (ImapServer((*BARE, "STARTTLS"), greeting=b"* PREAUTH hello\r\n"), "PREAUTH"),
        (ImapServer((*BARE, "STARTTLS"), {"STARTTLS": [b"OK\r\n* OK injected\r\n"]}), "before|between"),
    ],
)
def test_without_tls_nothing_of_the_users_is_sent(store: Store, server: ImapServer, text: str) -> None:
    error = store.fails(store.at(server, tls="starttls"), Journal(), ONE)
    assert error.exit_status == PROTOCOL
    assert not any(line.startswith((b"AUTH", b"APPEND")) for line in server.commands)


def test_a_refused_login_ends_the_delivery_and_is_remembered(store: Store) -> None:
    server = ImapServer(replies={"AUTHENTICATE": [b"NO [AUTHENTICATIONFAILED] no\r\n"]})
    error = store.fails(store.at(server), Journal(), ONE)
    assert (error.exit_status, len(store.refusals)) == (Status.NO_LOGIN, 1)


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("STATUS", b"secret what\r\n"),
        ("STATUS", b"* secret {9999999}\r\n"),
        ("STATUS", b"* " + b"x" * 75 + b"secret" + b"x" * 10_000),
    ],
)
def test_a_server_that_repeats_the_secret_does_not_get_it_shown(
    store: Store, name: str, reply: bytes
) -> None:
    error = store.fails(store.at(ImapServer(replies={name: [reply] * 3})), Journal(), ONE)
    assert "(secret)" in str(error)
    assert "secret" not in str(error).replace("(secret)", "")


# -- refusals ----------------------------------------------------------------------------------------


@each_way
@pytest.mark.parametrize("reply", [b"NO no\r\n", b"NO [LIMIT] too large\r\n"])
def test_a_message_that_is_refused_does_not_stop_the_others(
    store: Store, offered: tuple[str, ...], reply: bytes
) -> None:
    server = ImapServer(offered, {"APPEND": [b"", reply]})
    destination, journal = store.at(server), Journal()
    ((refused, error),) = destination.deliver(drafts(destination, [ONE, TWO, THREE]), journal)
    assert (refused.message.index, error.exit_status, error.fatal) == (1, REFUSED, False)
    assert (journal.delivered, journal.intents) == ([0, 2], {})
    assert [*server.inbox.messages.values()] == [ONE, THREE]


@each_way
@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (b"NO [OVERQUOTA] full\r\n", REFUSED),
        (b"NO [OVERQUOTA] Account exceeded command or bandwidth limits\r\n", LATER),
        (b"NO [UNAVAILABLE] later\r\n", LATER),
        (b"NO [INUSE] later\r\n", LATER),
        (b"NO Request is throttled. Suggested Backoff Time: 100 milliseconds\r\n", LATER),
        (b"BAD Request is throttled\r\n", LATER),
        (b"NO [TRYCREATE] gone\r\n", REFUSED),
        (b"NO [NOPERM] no\r\n", REFUSED),
        (b"BAD what?\r\n", PROTOCOL),
    ],
)
def test_a_refusal_that_all_messages_would_meet_ends_the_delivery(
    store: Store, offered: tuple[str, ...], reply: bytes, status: Status
) -> None:
    server = ImapServer(offered, {"APPEND": [b"", reply, reply, reply]})
    destination, journal = store.at(server), Journal()
    error = store.fails(destination, journal, ONE, TWO, THREE)
    assert error.exit_status == status
    assert (journal.delivered, journal.intents) == ([0], {})


@pytest.mark.parametrize(
    ("name", "reply", "status"),
    [
        ("APPEND", b"* BYE shutting down\r\n", LATER),
        ("APPEND", b"* OK [ALERT] hello\r\n" * 20_000, PROTOCOL),
        ("APPEND", b"* 1 FETCH (BODY[] {9223372036854775808}\r\n", PROTOCOL),
        ("APPEND", b"* 1 FETCH (BODY[] {99999999999999999999}\r\n", PROTOCOL),
        ("APPEND", b"* " + b"x" * 10_000, Status.BAD_DATA),
        ("STATUS", b"OK done\r\n", PROTOCOL),
        ("STATUS", b"* STATUS INBOX (UIDNEXT x)\r\n* BYE\r\n", LATER),
        ("CAPABILITY", b"* BYE busy\r\n", LATER),
        ("AUTHENTICATE", b"+ \r\n" * 3, PROTOCOL),
    ],
)
def test_a_hostile_server_ends_the_delivery(store: Store, name: str, reply: bytes, status: Status) -> None:
    server = ImapServer(replies={name: [reply] * 3})
    error = store.fails(store.at(server, timeout=5), Journal(), ONE)
    assert error.exit_status == status


@pytest.mark.parametrize("greeting", [b"+OK POP3 ready\r\n", b"220 SMTP ready\r\n", b"* OK" + b"x" * 10_000])
def test_what_is_not_an_imap_server_is_refused(store: Store, greeting: bytes) -> None:
    error = store.fails(store.at(ImapServer(greeting=greeting)), Journal(), ONE)
    assert error.exit_status in (PROTOCOL, Status.BAD_DATA)


def test_answers_out_of_order_are_refused(store: Store) -> None:
    server = ImapServer(replies={"APPEND": [b"OK fine\r\nP99 OK too\r\n"]})
    destination, journal = store.at(server), Journal()
    error = store.fails(destination, journal, ONE, TWO)
    assert (error.exit_status, journal.delivered) == (PROTOCOL, [0])


def test_silence_ends_with_the_time_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pop3fetch.delivery.servers.line.DATA_TIMEOUT", 0.3)
    whole = len(b"* OK ready\r\n")
    for octets in (whole, whole + 100):
        server = ImapServer(break_after=octets, manner=Talk.stall)
        error = store.fails(store.at(server, timeout=0.3), Journal(), ONE)
        assert error.exit_status == LATER
        assert "timed out after 0.3 s" in str(error)


@each_way
def test_the_answer_to_a_message_is_awaited_longer_than_any_other(
    store: Store, offered: tuple[str, ...]
) -> None:
    def slowly(talk: Talk) -> None:
        talk.drip(b"P5 OK done\r\n", 0.06)

    journal = Journal()
    destination = store.at(ImapServer(offered, {"APPEND": [slowly]}), timeout=0.3)
    destination.deliver(drafts(destination, [ONE]), journal)
    assert journal.delivered == [0]


def test_the_waits_are_those_of_the_manual() -> None:
    assert DATA_TIMEOUT == 600
    assert Settlement().pause == 30


# -- a lost answer -----------------------------------------------------------------------------------


def settled(store: Store, server: ImapServer, journal: Journal, **options: object) -> list[Settled]:
    """Settle what a run has left, as the next one does."""
    places = [*journal.intents.values()]
    later = store.at(server, known="1", **options)  # type: ignore[arg-type]
    outcomes = later.settle(places)
    later.close()
    for index, outcome in zip([*journal.intents], outcomes, strict=True):
        if outcome is Settled.DELIVERED:
            journal.delivered.append(index)
        del journal.intents[index]
    return outcomes


def lost(store: Store, server: ImapServer, *messages: bytes, dies: str = "") -> Journal:
    """Return the journal of a run whose connection or process was lost."""
    journal = Journal(dies=dies)
    destination = store.at(server)
    with pytest.raises((DeliveryError, Died)):
        destination.deliver(drafts(destination, messages), journal)
    return journal


def test_a_message_whose_answer_was_lost_is_found(store: Store) -> None:
    server = ImapServer(replies={"APPEND": [b"", None]})
    journal = lost(store, server, ONE, TWO, THREE)
    assert (journal.delivered, {*journal.intents}) == ([0], {1, 2})
    assert settled(store, server, journal) == [Settled.DELIVERED, Settled.UNDONE]
    assert store.reports == []


@each_way
@pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.slow)], ids=["a few", "all"])
def test_a_connection_that_is_cut_anywhere_loses_and_doubles_nothing(
    store: Store, offered: tuple[str, ...], step: int
) -> None:
    for octets in range(random.randrange(step), 2000, step):
        server = ImapServer(offered, break_after=octets)
        destination, journal = store.at(server), Journal()
        try:
            destination.deliver(drafts(destination, [ONE, TWO, TWO]), journal)
        except DeliveryError as error:
            assert error.exit_status == LATER
        else:
            break
        destination.close()
        if journal.intents:
            settled(store, server, journal)
        again = [index for index in range(3) if index not in journal.delivered]
        destination = store.at(server)
        messages = [(ONE, TWO, TWO)[index] for index in again]
        assert destination.deliver(drafts(destination, messages), Journal()) == []
        destination.close()
        assert sorted(server.inbox.messages.values()) == [ONE, TWO, TWO], f"cut after {octets} octets"
    else:
        pytest.fail("the session was never whole")
    assert store.reports == []


@pytest.mark.parametrize("dies", ["after intend", "before done"])
def test_a_process_that_dies_doubles_nothing(store: Store, dies: str) -> None:
    server = ImapServer()
    journal = lost(store, server, ONE, TWO, dies=dies)
    expected = Settled.UNDONE if dies == "after intend" else Settled.DELIVERED
    assert settled(store, server, journal) == [expected] * 2


def test_each_message_of_the_mailbox_serves_one(store: Store) -> None:
    server = ImapServer()
    server.inbox.add(ONE)  # from an earlier run
    journal = lost(store, server, ONE, ONE, ONE, dies="after intend")
    server.inbox.add(b"Subject: of another program\r\n")
    server.inbox.add(ONE)
    assert settled(store, server, journal) == [Settled.DELIVERED, Settled.UNDONE, Settled.UNDONE]


def test_what_a_server_changes_is_still_the_message(store: Store) -> None:
    server = ImapServer()
    message = b"A: \xe4\r\n\r\na\r\r\nb\0c\r\n\r\n"
    journal = lost(store, server, message, dies="after intend")
    server.inbox.add(b"A: X\r\n\r\na\r\nb\x80c")
    assert settled(store, server, journal) == [Settled.DELIVERED]


TRACE = b"Received: from a\r\n\tby provider id %d; Mon, 2 Nov 2026 10:00:00 +0000\r\n"
FROM = b"From: Ann <ann@example.org>\r\nDate: Mon, 2 Nov 2026 09:59:59 +0000\r\nSubject: dinner\r\n"
MAIL = TRACE % 1 + TRACE % 0 + b"Message-ID: <1@x>\r\n" + FROM + b"\r\nat eight?\r\n"
NO_ID = MAIL.replace(b"Message-ID: <1@x>\r\n", b"")


def rebuilt(octets: bytes) -> bytes:
    """Return a message as Exchange gives it back: other fields first, new ones, folded anew, other octets."""
    header, _, body = octets.partition(b"\r\n\r\n")
    fields = header.replace(b"\r\n\t", b" ").split(b"\r\n")
    added = [b"X-Ms-Exchange: " + b"x" * 900]
    if b"Received:" in header:
        added.append(b"Received: from own by own; Mon, 2 Nov 2026 10:00:09 +0000")
    return b"\r\n".join([*fields[-3:], *added, *fields[:-3], b"MIME-Version: 1.0", b"", b"<p>" + body])


class Exchange(ImapServer):
    """Rebuilds each message."""

    def kept(self, octets: bytes) -> bytes:
        return rebuilt(octets)


@pytest.mark.parametrize("octets", [MAIL, NO_ID, MAIL.replace(TRACE % 1 + TRACE % 0, b"")])
@pytest.mark.parametrize("offered", [PLUS, BARE])
def test_a_message_that_the_server_has_rebuilt_is_found(
    store: Store, octets: bytes, offered: tuple[str, ...]
) -> None:
    server = Exchange(offered, replies={"APPEND": [b"", None]})
    server.inbox.add(rebuilt(octets))  # of an earlier run
    journal = lost(store, server, ONE, octets, TWO)
    assert (journal.delivered, {*journal.intents}) == ([0], {1, 2} if offered == PLUS else {1})
    assert settled(store, server, journal)[0] is Settled.DELIVERED
    assert journal.delivered == [0, 1]
    assert store.reports == []


@pytest.mark.parametrize(
    ("sent", "other"),
    [
        (MAIL, MAIL.replace(TRACE % 1, TRACE % 2)),  # the copy of another account
        (MAIL, MAIL.replace(TRACE % 1, b"")),
        (MAIL.replace(TRACE % 1 + TRACE % 0, b""), MAIL),
        (MAIL, MAIL.replace(b"Subject: dinner", b"Subject: lunch")),
        (MAIL, MAIL.replace(b"ann@", b"eve@")),
        (MAIL, MAIL + b"x" * 40_000),
        (ONE, ONE.replace(b"Subject: 1", b"Subject: 2")),
        (NO_ID, NO_ID.replace(b"dinner", b"lunch")),
        (NO_ID, NO_ID.replace(TRACE % 1, TRACE % 2)),
        (FROM + b"\r\nat eight?\r\n", FROM + b"\r\nat nine?\r\n"),
        (b"To: bob\r\n\r\n1", b"To: bob\r\n\r\n2"),
        (TRACE % 1 + b"To: bob\r\n\r\n1", TRACE % 1 + b"To: bob\r\n\r\n2"),
    ],
)
def test_another_message_is_not_taken_for_one_that_was_rebuilt(
    store: Store, sent: bytes, other: bytes
) -> None:
    server = Exchange()
    journal = lost(store, server, sent, dies="after intend")
    server.inbox.add(rebuilt(other))
    server.inbox.add(other)
    assert settled(store, server, journal) == [Settled.UNDONE]


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ((MAIL,), (MAIL, MAIL)),
        ((MAIL, MAIL), (MAIL,)),
        ((MAIL, MAIL + b"to both\r\n"), (MAIL, MAIL)),
        ((NO_ID,), (NO_ID, NO_ID)),
        ((MAIL,), (MAIL.replace(TRACE % 1, TRACE % 2),)),
    ],
)
def test_what_may_be_a_rebuilt_message_and_may_not_comes_again_and_is_reported(
    store: Store, sent: tuple[bytes, ...], found: tuple[bytes, ...]
) -> None:
    server = ImapServer()
    journal = lost(store, server, *sent, dies="after intend")
    for octets in found:
        server.inbox.add(rebuilt(octets))
    assert settled(store, server, journal) == [Settled.UNDONE] * len(sent)
    (report,) = store.reports
    assert "not found again, and may be there twice" in report


def test_a_rebuilt_message_below_the_lowest_uid_or_of_another_mailbox_does_not_count(store: Store) -> None:
    server = ImapServer()
    server.inbox.add(rebuilt(MAIL))
    journal = lost(store, server, MAIL, dies="after intend")
    server.inbox.add(ONE)
    assert settled(store, server, journal) == [Settled.UNDONE]
    journal = lost(store, server, MAIL, dies="after intend")
    server.boxes[b"INBOX"] = Box(validity=2)
    for _ in range(4):
        server.inbox.add(ONE)
    server.inbox.add(rebuilt(MAIL))
    assert settled(store, server, journal) == [Settled.UNDONE]


def test_a_rebuilt_message_that_was_answered_without_its_uid_is_not_taken_for_the_next(store: Store) -> None:
    server = Exchange(BARE, replies={"APPEND": [b"", Talk.cut]})  # the second one is not stored
    journal = lost(store, server, MAIL, MAIL + b"to both\r\n")
    assert len(server.inbox.messages) == 1
    assert settled(store, server, journal) == [Settled.UNDONE, Settled.UNDONE]
    assert "2 messages were not found again" in store.reports[0]


def moved(server: ImapServer) -> None:
    server.boxes[b"Junk"] = Box()
    server.stolen = b"Junk"


def recreated(server: ImapServer) -> None:
    server.boxes[b"INBOX"] = Box(validity=2)


def renamed(server: ImapServer) -> None:
    server.boxes[b"Old"] = server.boxes.pop(b"INBOX")


def test_a_message_that_a_filter_has_moved_is_found(store: Store) -> None:
    server = ImapServer(replies={"APPEND": [None]})
    moved(server)
    journal = lost(store, server, ONE)
    assert (len(server.inbox.messages), len(server.boxes[b"Junk"].messages)) == (0, 1)
    assert settled(store, server, journal) == [Settled.DELIVERED]
    assert store.reports == []


@pytest.mark.parametrize("happens", [recreated, renamed])
def test_a_message_that_cannot_be_found_comes_again_and_is_reported(
    store: Store, happens: Callable[[ImapServer], None]
) -> None:
    server = ImapServer(replies={"APPEND": [None]})
    journal = lost(store, server, b"Subject: without Message-ID\r\n\r\n")
    happens(server)
    assert settled(store, server, journal) == [Settled.UNDONE]
    (report,) = store.reports
    assert report.endswith("the reply was lost: 1 message was not found again, and may be there twice")


def test_a_message_in_a_renamed_mailbox_is_found(store: Store) -> None:
    server = ImapServer(replies={"APPEND": [None]})
    journal = lost(store, server, ONE)
    renamed(server)
    assert settled(store, server, journal) == [Settled.DELIVERED]


def test_the_run_that_lost_a_connection_does_not_settle(store: Store) -> None:
    server = ImapServer(replies={"APPEND": [None]})
    destination, journal = store.at(server), Journal()
    store.fails(destination, journal, ONE)
    sessions = server.commands.count(b"LOGOUT")
    for settle in (lambda: destination.settle([*journal.intents.values()]), lambda: destination.folder_id):
        with pytest.raises(DeliveryError, match="by the next run") as caught:
            settle()
        assert caught.value.exit_status == LATER
    assert server.commands.count(b"LOGOUT") == sessions


def test_nothing_is_decided_while_the_mailbox_changes(store: Store) -> None:
    server = ImapServer()
    journal = lost(store, server, ONE, dies="after intend")
    server.left["STATUS"] = [b"", b"", b'* STATUS "INBOX" (UIDNEXT 2 UIDVALIDITY 1)\r\n']
    server.left["STATUS"][2] += b"P10 OK done\r\n"  # type: ignore[operator]
    later = store.at(server, known="1")
    with pytest.raises(DeliveryError, match="looked for later") as caught:
        later.settle([*journal.intents.values()])
    assert caught.value.exit_status == LATER


def test_the_pause_counts_from_the_loss(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def wait(self: object, seconds: float) -> bool:
        waits.append(seconds)
        return False

    server = ImapServer(replies={"APPEND": [None]})
    journal = lost(store, server, ONE)
    monkeypatch.setattr("pop3fetch.delivery.servers.line.Hurry.wait", wait)
    settled(store, server, journal, settlement=Settlement(30, 5))
    assert 28 <= waits[0] <= 30
    assert waits[1] == 5


def test_an_idle_session_that_is_over_is_begun_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pop3fetch.delivery.servers.mailbox.IDLE", -1.0)
    server = ImapServer(replies={"NOOP": [b"", b"* BYE idle\r\n", b"NO idle\r\n"]})
    destination, journal = store.at(server), Journal()
    for index, octets in enumerate([ONE, TWO, THREE]):
        destination.deliver(drafts(destination, [octets], first=index), journal)
    assert [*server.inbox.messages.values()] == [ONE, TWO, THREE]
    assert journal.delivered == [0, 1, 2]


def test_the_lowest_uid_is_that_after_the_last_message(store: Store) -> None:
    for offered in (PLUS, BARE):
        server = ImapServer(offered)
        destination = store.at(server)
        destination.deliver(drafts(destination, [ONE, TWO]), Journal())
        journal = Journal(dies="after intend")
        with pytest.raises(Died):
            destination.deliver(drafts(destination, [THREE]), journal)
        assert [place.offset for place in journal.intents.values()] == [3]
        asked = sum(line.startswith(b"STATUS") for line in server.commands)
        assert asked == (1 if offered == PLUS else 2)
