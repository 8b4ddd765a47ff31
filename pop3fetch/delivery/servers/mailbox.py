"""A mailbox at an IMAP server: each message is appended exactly once.

    intents with UIDVALIDITY, the lowest UID that the messages can get, and their digests
    -> APPEND, several under way -> the tagged OK of each -> done

If an OK is lost, the message may be there: ``settling`` finds out, later. Messages are under way up to a
number and to a sum of octets. A server that must agree to each literal gets the next command together with
the literal before it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pop3fetch.delivery.destination import NOT_MOUNTED, Destination, Draft, Journal, Place, Settled
from pop3fetch.delivery.servers.imap_client import LATER, Answer, Client, State, quoted
from pop3fetch.delivery.servers.line import Hurry, opened, server_errors
from pop3fetch.delivery.servers.server import MailServer
from pop3fetch.delivery.servers.settling import UNLIKE, Appended, Settlement
from pop3fetch.delivery.servers.spool import SpooledDraft, first_undecided
from pop3fetch.errors import DeliveryError, LoginRefused, POP3Error, ProtocolViolation, ServerFailed
from pop3fetch.headers.fields import received_at
from pop3fetch.messages import Message
from pop3fetch.status import Status

if TYPE_CHECKING:
    from pop3fetch.step_results import StepResult

TOGETHER = 64  # messages that may be under way
OCTETS_TOGETHER = 1 << 20
IDLE = 30.0  # seconds after which it is asked whether the session is still there
FIRST_YEAR = 1980  # of a date that a server is told

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# By response code: what ends the delivery. A message alone is refused by any other, or by none.
ENDS = {
    **dict.fromkeys(LATER, Status.TRY_LATER),
    "OVERQUOTA": Status.CANNOT_DELIVER,
    **dict.fromkeys(("NOPERM", "CANNOT", "NONEXISTENT", "TRYCREATE", "READ-ONLY"), Status.CANNOT_DELIVER),
}
THROTTLED = ("throttled", "bandwidth")  # words that mean later, with or without a code


class Mailbox(Destination):
    """A mailbox; ``settlement`` says how long a lost connection may still store something."""

    keeps_line_ends = True

    def __init__(self, server: MailServer, folder: Path, settlement: Settlement = Settlement()) -> None:  # noqa: B008
        self.name = str(server.address)
        self._server = server
        self._folder = folder
        self._settlement = settlement
        self._mailbox = server.address.mailbox
        self._hurry = Hurry()
        self._client: Client | None = None
        self._turn = threading.Lock()  # of the session's thread and the one that delivers
        self._state: State | None = None
        self._may_create = False
        self._begun = time.time()
        self._was_lost = False  # whether a connection was, with messages under way, in this run

    @property
    def folder_id(self) -> str:
        """The UIDVALIDITY of the mailbox, which the server is asked for; "" if it is missing."""
        with self._turn, server_errors(self.name):
            self._refuse_after_loss()
            client = self._ready()
            if self._may_create:
                self._require_mailbox(client)
            return "" if self._state is None else str(self._state.validity)

    def prepare(self, known: str | None = None, *, create: bool = False) -> None:
        """Note whether the mailbox may be created: the server is called once there is a message for it."""
        self._may_create = known is None or create

    def examine(self, known: str | None = None) -> Iterator[StepResult]:
        from pop3fetch.step_results import StepResult

        is_there = bool(self.folder_id)
        self.close()
        if known is not None and not is_there:
            raise ServerFailed(destination=self.name, reason=NOT_MOUNTED)
        yield StepResult(
            "destination", f"{self.name} {'exists' if is_there else 'is missing: `get` will create it'}"
        )

    def draft(self, message: Message) -> SpooledDraft:
        if self._client is None or self._state is None:
            with self._turn, server_errors(self.name):
                self._require_mailbox(self._ready())
        return SpooledDraft(message, self.name, self._folder)

    # -- the session ---------------------------------------------------------------------------

    def _ready(self) -> Client:
        """Return a client whose session is still there; raises POP3Error."""
        if self._hurry.since is not None:
            raise ServerFailed(destination=self.name, reason="it was interrupted", status=Status.TRY_LATER)
        client = self._client
        if client is not None and time.monotonic() - client.line.used > IDLE:
            try:
                is_there = client.ask("NOOP").is_ok
            except POP3Error:  # it was idle for too long
                is_there = False
            if not is_there:
                client.line.close()
                client = None
        if client is None:
            client = opened(self._server, self._hurry, lambda line: Client(line, self._server))
            try:
                client.log_in()
                state = client.state_of(self._mailbox)
            except BaseException as error:
                client.line.close()
                if isinstance(error, LoginRefused):
                    self._server.refused(error)
                raise
            self._state = state if isinstance(state, State) else None
            self._client = client
        return client

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client:
            client.line.close()

    def _refuse_after_loss(self) -> None:
        """Raise ServerFailed if a connection was lost in this run: what it stored late would be missed."""
        if self._was_lost:
            reason = "what the lost connection has stored is looked for by the next run"
            raise ServerFailed(destination=self.name, reason=reason, status=Status.TRY_LATER)

    def _require_mailbox(self, client: Client) -> State:
        """Return the state of the mailbox, which is created if that is allowed; raises ServerFailed."""
        if self._state is None:
            if not self._may_create:
                raise ServerFailed(destination=self.name, reason=NOT_MOUNTED)
            answer = client.ask("CREATE", quoted(self._mailbox))
            state = client.state_of(self._mailbox)
            if isinstance(state, Answer):
                raise self._failure("the mailbox cannot be created", answer if not answer.is_ok else state)
            self._state = state
        return self._state

    def _failure(self, what: str, answer: Answer) -> ServerFailed:
        return ServerFailed(
            destination=self.name, reason=f"{what}: {answer}", status=_end_of(answer) or Status.CANNOT_DELIVER
        )

    # -- a batch -------------------------------------------------------------------------------

    def deliver(self, drafts: Sequence[Draft], journal: Journal) -> list[tuple[Draft, DeliveryError]]:
        spooled = [draft for draft in drafts if isinstance(draft, SpooledDraft)]
        try:
            with self._turn:
                return self._deliver(spooled, journal)
        finally:
            for draft in spooled:
                draft.discard()

    def _deliver(self, drafts: list[SpooledDraft], journal: Journal) -> list[tuple[Draft, DeliveryError]]:
        with server_errors(self.name):
            client = self._ready()
            state = self._require_mailbox(client)
        refused: dict[Draft, DeliveryError] = {}
        for draft in drafts:
            if reason := self._unfit(draft, client):
                refused[draft] = ServerFailed(destination=self.name, reason=reason, fatal=False)
        fit = [draft for draft in drafts if draft not in refused]
        batch = Batch(self.name, self._server, client, state)
        places = [Appended.of(draft).place(self.name, state, draft.length) for draft in fit]
        if fit:
            journal.intend(fit, places)
        try:
            with server_errors(self.name):
                batch.append(fit)
        except DeliveryError as error:
            self._drop()
            self._leave(batch, state, journal)
            self._record(batch, fit, journal)
            if batch.end is None and isinstance(error, ServerFailed):
                error.broke_at = first_undecided(fit, {*batch.stored, *batch.refused})
            raise batch.end or error from None
        except BaseException:  # a literal may be half sent
            self._drop()
            raise
        self._record(batch, fit, journal)
        if batch.end:
            raise batch.end
        if batch.highest:
            self._state = State(state.validity, batch.highest + 1)
        elif fit:  # without UIDPLUS
            with server_errors(self.name):
                after = client.state_of(self._mailbox)
            self._state = after if isinstance(after, State) else None
        return [*refused.items(), *batch.refused.items()]

    def _leave(self, batch: Batch, state: State, journal: Journal) -> None:
        """Keep when the connection was lost, with messages under way, and from which UID on they may be.

        One before them that was answered without its UID is left with them if it is identical, or looks it:
        it would be taken for them.
        """
        lost = [draft for draft, _ in batch.under_way]
        if not lost:
            return
        self._was_lost = True
        now = int(time.time())
        floor = State(state.validity, max(state.next_uid, batch.highest + 1))
        intents = {draft: Appended.of(draft, now) for draft in lost}
        looks = {look for one in intents.values() for look in (one.digest, one.likeness)} - {UNLIKE}
        for draft in [draft for draft, uid in batch.stored.items() if not uid]:
            intent = Appended.of(draft, now)
            if intent.digest in looks or intent.likeness in looks:
                intents[draft] = intent
                del batch.stored[draft]
                batch.under_way.append((draft, ""))
        journal.intend(
            [*intents],
            [intent.place(self.name, floor, draft.length) for draft, intent in intents.items()],
        )

    def _record(self, batch: Batch, drafts: Sequence[SpooledDraft], journal: Journal) -> None:
        """Let the journal know what became of each message, but for those whose answer was lost."""
        for draft, uid in batch.stored.items():
            draft.place = f"{self.name}, UID {uid}" if uid else self.name
        if batch.stored:
            journal.done([*batch.stored])
        lost = {draft for draft, _ in batch.under_way}
        undone = [draft for draft in drafts if draft not in batch.stored and draft not in lost]
        if undone:
            journal.undo(undone)

    def _unfit(self, draft: SpooledDraft, client: Client) -> str:
        """Return why a message is not sent, or nothing."""
        if not draft.length:
            return "it has no octet"
        if draft.has_nul and "BINARY" not in client.offered:
            return "it contains a NUL, and the server has no BINARY"
        limits = [name.removeprefix("APPENDLIMIT=") for name in client.offered if "APPENDLIMIT=" in name]
        if limits and limits[0].isdecimal() and draft.length > int(limits[0][:18]):
            return f"it has {draft.length} octets, and the server takes {limits[0]}"
        return ""

    # -- after a crash, and the end ------------------------------------------------------------

    def settle(self, places: Sequence[Place]) -> list[Settled]:
        self._refuse_after_loss()
        appended = [Appended.read(place) for place in places]
        due = max((one.lost or self._begun) for one in appended) + self._settlement.pause
        if self._hurry.wait(min(max(due - time.time(), 0), self._settlement.pause)):
            raise ServerFailed(destination=self.name, reason="it was interrupted", status=Status.TRY_LATER)
        with self._turn, server_errors(self.name):
            client = self._ready()
            return self._settlement.settle(client, self._server, appended, places, self._hurry)

    def interrupt(self) -> None:
        self._hurry.interrupt()

    def close(self) -> None:
        with self._turn:
            client, self._client = self._client, None
            if client:
                with contextlib.suppress(POP3Error):
                    client.send("LOGOUT")
                client.line.close()


class Batch:
    """Messages that are appended one after another."""

    def __init__(self, name: str, server: MailServer, client: Client, state: State) -> None:
        self.under_way: deque[tuple[SpooledDraft, str]] = deque()  # sent to their ends, and not answered
        self.stored: dict[SpooledDraft, int] = {}  # with the UID of each, 0 if it is not known
        self.refused: dict[Draft, DeliveryError] = {}
        self.end: ServerFailed | None = None  # what ends the delivery
        self.highest = 0  # UID
        self._name = name
        self._client = client
        self._state = state
        self._words = ("APPEND", quoted(server.address.mailbox), f"({' '.join(server.flags)})")
        self._octets = 0  # that are under way
        self._is_waiting = False  # for an answer, of which only other responses have come

    def append(self, drafts: Sequence[SpooledDraft]) -> None:
        """Append messages until all are answered, or something ends the delivery; raises POP3Error."""
        held = b""  # the end of a message, which goes with the next command
        for draft in drafts:
            while self.under_way and (
                len(self.under_way) >= TOGETHER or self._octets + draft.length > OCTETS_TOGETHER
            ):
                self._send(held)
                held = b""
                self._read()
            while self.under_way and not held and self._client.line.has_line():
                self._read()
            if self.end:
                break
            held = self._begin(draft, held)
        self._send(held)
        while self.under_way:
            self._read()

    def _send(self, octets: bytes) -> None:
        if octets:
            self._client.line.write(octets)

    def _begin(self, draft: SpooledDraft, held: bytes) -> bytes:
        """Send the command and most of a message; return the rest. ``held`` is that of the one before."""
        client = self._client
        literal, must_ask = client.literal(draft.length, is_binary=draft.has_nul)
        tag = client.tag()
        command = " ".join((tag, *self._words, *_date_of(draft), literal)).encode("ascii")
        client.line.write(held + command + b"\r\n", command)
        if must_ask and not self._may_send(draft, tag):
            return b""
        last = b""
        for block in draft.blocks():
            self._send(last)
            last = block
        self.under_way.append((draft, tag))
        self._octets += draft.length
        return last + b"\r\n"

    def _may_send(self, draft: SpooledDraft, tag: str) -> bool:
        """Wait until the server agrees to a literal; return False if it refuses the message."""
        while True:
            answered = self._read(tag)
            if answered is None:
                continue
            if answered[0] == "+":
                return True
            self._take(draft, answered[1])
            return False

    def _read(self, awaited: str = "") -> tuple[str, Answer] | None:
        """Read a response, and take it if it answers a message; else return it if it is to ``awaited``."""
        if not self._is_waiting:
            self._client.line.expect("the reply to a message", is_data=True)
        answered = self._client.read()
        self._is_waiting = answered is None
        if answered is None:
            return None
        tag, answer = answered
        if awaited and tag in ("+", awaited):
            return answered
        if not self.under_way or tag != self.under_way[0][1]:
            raise ProtocolViolation("its answers are out of order", f"{tag} {answer}".encode())
        draft, _ = self.under_way.popleft()
        self._octets -= draft.length
        self._take(draft, answer)
        return None

    def _take(self, draft: SpooledDraft, answer: Answer) -> None:
        """Take the answer to a message."""
        if answer.is_ok:
            validity, _, uid = answer.argument.partition(" ")
            is_here = answer.code == "APPENDUID" and validity == str(self._state.validity)
            number = int(uid) if is_here and uid.isdecimal() and len(uid) <= 10 else 0
            self.stored[draft] = number
            self.highest = max(self.highest, number)
            return
        status = _end_of(answer)
        error = ServerFailed(
            destination=self._name,
            reason=f"the server refused {'a' if status else 'the'} message: {answer}",
            fatal=status is not None,
            status=status or Status.CANNOT_DELIVER,
            broke_at=draft.message.key if status is Status.PROTOCOL else None,
        )
        if status is not None:
            self.end = self.end or error
        else:
            self.refused[draft] = error


def _end_of(answer: Answer) -> Status | None:
    """Return the status with which an answer ends the delivery, or None if it is about one message."""
    if any(word in answer.text.lower() for word in THROTTLED):
        return Status.TRY_LATER
    if answer.kind == "BAD":
        return Status.PROTOCOL
    return ENDS.get(answer.code)


def _date_of(draft: SpooledDraft) -> tuple[str, ...]:
    """Return the date of a message as a word of APPEND, if it has one that can be right."""
    date = received_at(draft.head())
    if date is None or date.year < FIRST_YEAR or date > datetime.now(UTC) + timedelta(days=1):
        return ()
    return (f'"{date.day:02}-{MONTHS[date.month - 1]}-{date.year} {date:%H:%M:%S %z}"',)
