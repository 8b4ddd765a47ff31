"""LMTP and SMTP: a message is delivered once the server has answered its last octet with 2xx.

No server can be asked afterwards. So the delivery is at least once: a message comes twice if its octets
arrived and the reply was lost. Few messages can be in that doubt, namely those that are under way together.
Each is recorded as soon as its reply is there, and the others of a broken session are known not to be
delivered. An intent tells the next run of a doubt after a crash, too.

There is one recipient in a transaction, so that each accepts or refuses a message on its own.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pop3fetch.delivery.destination import Destination, Draft, Journal, Place, Settled
from pop3fetch.delivery.servers.acceptances import Acceptances, file_of
from pop3fetch.delivery.servers.line import Hurry, opened, server_errors
from pop3fetch.delivery.servers.server import MailServer
from pop3fetch.delivery.servers.smtp_client import FULL, Client, Envelope, Reply
from pop3fetch.delivery.servers.spool import SpooledDraft, first_undecided, header_of
from pop3fetch.errors import DeliveryError, LoginRefused, POP3Error, ProtocolViolation, ServerFailed
from pop3fetch.headers.fields import first_fields
from pop3fetch.messages import Key, Message
from pop3fetch.status import Status

if TYPE_CHECKING:
    from pop3fetch.step_results import StepResult

TOGETHER = 16  # messages that may be under way
OCTETS_TOGETHER = 1 << 20
MOST_RECEIVED = 100  # fields; a message with more is in a loop (RFC 5321 section 6.3)
MOST_DEFERRED = 3  # messages in a row that the server does not take now
IDLE = 30.0  # seconds after which it is asked whether the session is still there

ABOUT_ADDRESSES = "2.1."  # the enhanced status of replies to MAIL and RCPT (RFC 3463)

_RECEIVED = re.compile(rb"(?mi)^received[ \t]*:")
_ADDRESS = re.compile(r"[!#-;=?-\[\]-~]{1,64}@[!#-;=?-~]{1,255}")
_DOT = re.compile(rb"(?<=\n)\.")


class Transfer(Destination):
    """An LMTP or SMTP server; ``tag`` marks what is left in ``folder`` of one record."""

    keeps_line_ends = True

    def __init__(self, server: MailServer, tag: str, folder: Path) -> None:
        self.name = str(server.address)
        self._server = server
        self._folder = folder
        self._hurry = Hurry()
        self._client: Client | None = None
        self._accepted = Acceptances(file_of(folder, tag), self.name)
        self._deferred = 0  # messages in a row

    @property
    def folder_id(self) -> str:
        return self.name  # it keeps nothing that could be missing

    def prepare(self, known: str | None = None, *, create: bool = False) -> None:
        """Do nothing: the server is called once there is a message for it."""

    def examine(self, known: str | None = None) -> Iterator[StepResult]:
        from pop3fetch.step_results import StepResult

        with server_errors(self.name):
            self._client = self._connected()
        self.close()
        yield StepResult("destination", f"{self.name} answers; no recipient is tried without a message")

    def begin_anew(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._accepted.forget(key)

    def draft(self, message: Message) -> SpooledDraft:
        if self._client is None:
            with server_errors(self.name):
                self._client = self._connected()  # a server that is away costs no message's way to us
        return SpooledDraft(message, self.name, self._folder)

    def _connected(self) -> Client:
        client = opened(self._server, self._hurry, lambda line: Client(line, self._server))
        try:
            client.introduce()
            if self._server.address.user is not None:
                client.log_in()
        except BaseException as error:
            client.close()
            if isinstance(error, LoginRefused):
                self._server.refused(error)
            raise
        return client

    def _ready(self) -> Client:
        """Return a client whose session is still there; raises POP3Error."""
        client = self._client
        if client is not None and time.monotonic() - client.line.used > IDLE:
            try:
                is_there = client.ask("NOOP").is_success
            except POP3Error:  # it was idle for too long
                is_there = False
            if not is_there:
                client.close()
                client = None
        self._client = client or self._connected()
        return self._client

    # -- a batch -------------------------------------------------------------------------------

    def deliver(self, drafts: Sequence[Draft], journal: Journal) -> list[tuple[Draft, DeliveryError]]:
        spooled = [draft for draft in drafts if isinstance(draft, SpooledDraft)]
        refused: list[tuple[Draft, DeliveryError]] = []
        try:
            for group in _groups(spooled):
                with server_errors(self.name):
                    client = self._ready()
                    wrong: dict[Draft, DeliveryError] = {
                        draft: why for draft in group if (why := self._unfit(draft, client))
                    }
                fit: list[SpooledDraft] = [draft for draft in group if draft not in wrong]
                if fit:
                    wrong |= Group(self.name, self._server, self._accepted, fit).deliver(client, journal)
                refused += wrong.items()
                self._count_deferred(group, wrong)
        except BaseException:
            if self._client:
                self._client.close()
            self._client = None
            raise
        finally:
            for draft in spooled:
                draft.discard()
        return refused

    def _unfit(self, draft: SpooledDraft, client: Client) -> DeliveryError | None:
        """Return why a message is not sent, or None."""
        if len(_RECEIVED.findall(header_of(draft.head()))) > MOST_RECEIVED:
            reason = f"it has more than {MOST_RECEIVED} Received fields: it is in a loop"
        elif 0 < client.size_limit < draft.length:
            reason = f"it has {draft.length} octets, and the server takes {client.size_limit}"
        else:
            return None
        return ServerFailed(destination=self.name, reason=reason, fatal=False)

    def _count_deferred(self, group: Sequence[Draft], refused: Mapping[Draft, DeliveryError]) -> None:
        """Raise the refusal of the last of some messages in a row that the server does not take now."""
        for draft in group:
            error = refused.get(draft)
            self._deferred = self._deferred + 1 if error and error.is_temporary else 0
            if error and self._deferred >= MOST_DEFERRED:
                raise ServerFailed(
                    destination=self.name,
                    reason=error.reason,
                    status=Status.TRY_LATER,
                    broke_at=draft.message.key,
                )

    # -- after a crash, and the end ------------------------------------------------------------

    def settle(self, places: Sequence[Place]) -> list[Settled]:
        """Let all be delivered again, and say so: nothing tells whether a server has taken them."""
        count = len(places)
        some = "1 message" if count == 1 else f"{count} messages"
        self._server.report(f"{self.name}: the reply was lost: {some} may arrive twice")
        return [Settled.UNDONE] * count

    def interrupt(self) -> None:
        self._hurry.interrupt()

    def close(self) -> None:
        client, self._client = self._client, None
        if client:
            with contextlib.suppress(POP3Error):
                client.putcmd("QUIT")
            client.close()
        self._accepted.close()


class Group:
    """Messages that are under way together."""

    def __init__(
        self, name: str, server: MailServer, accepted: Acceptances, drafts: Sequence[SpooledDraft]
    ) -> None:
        self._name = name
        self._server = server
        self._accepted = accepted
        self._drafts = drafts
        self._missing = {  # recipients that have not accepted yet, of each message
            draft: [one for one in server.recipients if not accepted.has(draft, one)] for draft in drafts
        }
        self._doubtful: set[Envelope] = set()  # sent to their ends, and not answered
        self._is_early = False  # whether a reply had come before the end of the last message was sent
        self._done: set[Draft] = set()
        self._ready: list[Draft] = []  # delivered, and not recorded yet
        self._again: list[Envelope] = []  # to be sent once more, without their sender
        self._refused: dict[Draft, DeliveryError] = {}
        self._end: DeliveryError | None = None  # what ends the delivery

    def deliver(self, client: Client, journal: Journal) -> dict[Draft, DeliveryError]:
        """Deliver; return what was refused, raises ServerFailed if nothing more can be delivered."""
        journal.intend(self._drafts, [Place(self._name, "", 0, draft.length) for draft in self._drafts])
        envelopes = [
            Envelope(draft, _sender(draft, self._server), recipient)
            for draft, recipients in self._missing.items()
            for recipient in recipients
        ]
        self._ready = [draft for draft in self._drafts if not self._missing[draft]]
        try:
            with server_errors(self._name):
                while envelopes and not self._end:
                    self._exchange(client, envelopes, journal)
                    envelopes, self._again = self._again, []
        except ServerFailed as error:  # a server says why, and then closes the connection
            if self._end is None:
                decided = {*self._done, *self._ready, *self._refused}
                error.broke_at = first_undecided(self._drafts, decided)
                doubtful = {envelope.draft.message.key for envelope in self._doubtful}
                error.may_have_it = error.broke_at in doubtful
                self._end = error
        self._conclude(journal)
        if self._end:
            raise self._end
        return self._refused

    def _exchange(self, client: Client, envelopes: list[Envelope], journal: Journal) -> None:
        is_chunked = client.takes_chunks
        send = self._by_chunks if is_chunked else self._by_data
        for envelope, reply, step in send(client, envelopes):
            self._take(envelope, reply, step)
            # As soon as it is known, and those together whose replies have come together.
            if self._ready and not client.line.has_line():
                self._record(journal)
            if self._end and not is_chunked:
                return

    def _record(self, journal: Journal) -> None:
        ready, self._ready = self._ready, []
        if ready:
            journal.done(ready)
            self._done.update(ready)

    def _conclude(self, journal: Journal) -> None:
        """Let the journal know what became of each message, but for those whose reply was lost."""
        self._record(journal)
        kept = self._done | {envelope.draft for envelope in self._doubtful}
        undone = [draft for draft in self._drafts if draft not in kept]
        if undone:
            journal.undo(undone)
        for draft in self._done:
            self._accepted.forget(draft.message.key)

    # -- replies -------------------------------------------------------------------------------

    def _take(self, envelope: Envelope, reply: Reply, step: str) -> None:
        """Take the reply that decides a transaction, and to which ``step`` it is."""
        draft = envelope.draft
        if 300 <= reply.code < 400:
            raise ProtocolViolation("its replies are out of order", str(reply).encode())
        self._doubtful.discard(envelope)
        if step == "data" and reply.is_success:
            missing = self._missing[draft]
            missing.remove(envelope.recipient)
            draft.place = f"{self._name} ({', '.join(self._server.recipients)})"
            if missing:
                self._accepted.keep(draft, envelope.recipient)
            else:
                self._ready.append(draft)
            return
        if step == "MAIL" and reply.code >= 500 and self._may_drop(envelope):
            self._again.append(envelope._replace(sender=""))
            return
        reason = {
            "MAIL": f"the sender <{envelope.sender}> was refused",
            "RCPT": f"the recipient <{envelope.recipient}> was refused",
        }.get(step, "the message was refused")
        status = Status.TRY_LATER if reply.code < 500 else Status.CANNOT_DELIVER
        is_full = reply.code == 552 and FULL.search(reply.text) is not None
        is_of_size = step == "MAIL" and reply.code == 552 and not is_full
        ends = reply.code == 421 or is_full or (step != "data" and not is_of_size)
        error = ServerFailed(
            destination=self._name,
            reason=f"{reason}: {reply}",
            fatal=ends,
            status=status,
            broke_at=draft.message.key if step == "data" else None,
        )
        if ends:
            self._end = self._end or error
        else:
            self._refused.setdefault(draft, error)

    def _may_drop(self, envelope: Envelope) -> bool:
        """Whether a message may be sent without its sender: a server for local delivery bounces nothing."""
        is_local = self._server.address.protocol == "LMTP"
        return is_local and self._server.sender is None and bool(envelope.sender)

    # -- ways to send --------------------------------------------------------------------------

    def _by_chunks(self, client: Client, envelopes: list[Envelope]) -> Iterator[tuple[Envelope, Reply, str]]:
        """Send whole transactions one after another, and then read all replies (RFC 3030).

        The octets of a message are counted, and so can never be taken for a command.
        """
        for envelope in envelopes:
            client.send(_lines([*client.commands(envelope), f"BDAT {envelope.draft.length} LAST"]))
            self._send(client, envelope, envelope.draft.blocks())
        for envelope in envelopes:
            replies = [client.reply("the reply to MAIL"), client.reply("the reply to RCPT")]
            last = client.reply("the reply to a message", is_data=True)
            if last.is_success and last.text.startswith(ABOUT_ADDRESSES):
                raise ProtocolViolation("its replies are out of order", str(last).encode())
            yield self._failing(envelope, replies) or (envelope, last, "data")

    def _by_data(self, client: Client, envelopes: list[Envelope]) -> Iterator[tuple[Envelope, Reply, str]]:
        """Send one message at a time; the envelope of the next one goes with its end if that is allowed."""
        is_ahead = False
        for envelope, following in zip(envelopes, [*envelopes[1:], None], strict=True):
            commands = [*client.commands(envelope), "DATA"]
            if client.is_pipelined:
                if not is_ahead:
                    client.send(_lines(commands))
                replies = [client.reply(f"the reply to {command[:4]}") for command in commands]
            else:
                replies = []
                while len(replies) < len(commands) and all(reply.is_success for reply in replies):
                    replies.append(client.ask(commands[len(replies)]))
            is_ahead = False
            failing = self._failing(envelope, replies)
            if replies[-1].code == 354 and len(replies) == len(commands):
                end = b".\r\n" if envelope.draft.ends_with_line else b"\r\n.\r\n"
                if failing:  # RFC 2920 section 3.1: the data is empty, and is refused
                    client.line.write(b".\r\n")
                else:
                    if following and client.is_pipelined:
                        is_ahead = True
                        end += _lines([*client.commands(following), "DATA"])
                    self._send(client, envelope, _stuffed(envelope.draft), end)
                last = client.reply("the reply to a message", is_data=True)
                if last.is_success and self._is_early:
                    raise ProtocolViolation("it accepts a message before it is sent", str(last).encode())
                yield failing or (envelope, last, "data")
            elif replies[-1].is_success:
                raise ProtocolViolation("it accepts a message before it is sent", str(replies[-1]).encode())
            else:
                yield failing or (envelope, replies[-1], "data")

    def _send(self, client: Client, envelope: Envelope, blocks: Iterable[bytes], end: bytes = b"") -> None:
        """Send a message; from its last block on, which goes with the end, it may be delivered."""
        held = b""
        for block in blocks:
            if held:
                client.line.write(held)
            held = block
        self._is_early = bool(end) and client.line.has_line()  # by DATA nothing else is awaited
        self._doubtful.add(envelope)
        client.line.write(held + end)

    @staticmethod
    def _failing(envelope: Envelope, replies: list[Reply]) -> tuple[Envelope, Reply, str] | None:
        """Return the first reply to an envelope that is a refusal, or None."""
        for step, reply in zip(("MAIL", "RCPT"), replies, strict=False):
            if not reply.is_success:
                return envelope, reply, step
        return None


def _groups(drafts: Sequence[SpooledDraft]) -> Iterator[list[SpooledDraft]]:
    """Yield messages in groups that may be under way together."""
    group: list[SpooledDraft] = []
    octets = 0
    for draft in drafts:
        if group and (len(group) == TOGETHER or octets + draft.length > OCTETS_TOGETHER):
            yield group
            group, octets = [], 0
        group.append(draft)
        octets += draft.length
    if group:
        yield group


def _lines(commands: Iterable[str]) -> bytes:
    return "".join(f"{command}\r\n" for command in commands).encode("utf-8")


def _stuffed(draft: SpooledDraft) -> Iterator[bytes]:
    """Yield a message with a second dot before each line that begins with one."""
    before = b"\n"
    for block in draft.blocks():
        yield _DOT.sub(b"..", before + block)[1:]
        before = block[-1:]


def _sender(draft: SpooledDraft, server: MailServer) -> str:
    """Return the sender of the envelope: the one that is set, else that of Return-Path, else none."""
    if server.sender is not None:
        return server.sender
    path = first_fields(draft.head(), (b"return-path",)).get(b"return-path", b"")
    address = path.decode("ascii", "replace").strip().removeprefix("<").removesuffix(">")
    return address if _ADDRESS.fullmatch(address) else ""
