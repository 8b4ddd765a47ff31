"""Runs of `get` in this process: server, record and destination are real, only the listener is a test's.

account = Account(tmp_path)
with ScriptedServer(Mailbox([b"Subject: x\\r\\n\\r\\n"])) as server:
    outcome = account.fetch(server)
assert account.delivered() == [b"Subject: x\\n\\n"]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pop3fetch.delivery.destination import Destination, Draft
from pop3fetch.delivery.maildir import Maildir
from pop3fetch.delivery.opening import open_destination, parse
from pop3fetch.errors import POP3Error
from pop3fetch.fetch.context import Context
from pop3fetch.fetch.plan import Order
from pop3fetch.fetch.retrieving import Outcome
from pop3fetch.fetch.run import Fetch
from pop3fetch.headers.summary import Summary
from pop3fetch.messages import Message
from pop3fetch.pop3.mail_session import MailSession
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.store import Store
from tests.support.delivering import delivery_context
from tests.support.scripted_server import ScriptedServer
from tests.support.sessions import NEVER, begin_mail_session

NOW = 1_700_000_000.0  # seconds since the epoch, until a test changes it


@dataclass
class Told:
    """A listener that remembers; messages by their numbers."""

    notices: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    planned_numbers: list[int] = field(default_factory=list)
    first_run_of: int | None = None
    octets: int = 0
    delivered_paths: dict[int, str | None] = field(default_factory=dict)
    errors: list[tuple[int, POP3Error]] = field(default_factory=list)
    intentions: list[tuple[str, int]] = field(default_factory=list)
    short_numbers: list[int] = field(default_factory=list)
    oversize_numbers: list[int] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    says_yes: bool = False

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def first_run(self, messages: int) -> None:
        self.first_run_of = messages

    def planned(self, messages: Sequence[Message]) -> None:
        self.planned_numbers = [message.number for message in messages]

    def progress(self, octets: int) -> None:
        self.octets += octets

    def delivered(self, draft: Draft) -> None:
        self.delivered_paths[draft.message.number] = draft.path

    def skipped(self, message: Message, error: POP3Error) -> None:
        self.errors.append((message.number, error))

    def short(self, message: Message, octets: int) -> None:
        self.short_numbers.append(message.number)

    def oversize(self, message: Message) -> None:
        self.oversize_numbers.append(message.number)

    def would(self, verbs: Sequence[str], message: Message, summary: Summary | None) -> None:
        self.intentions += [(verb, message.number) for verb in verbs]

    def agrees(self, question: str) -> bool:
        self.questions.append(question)
        return self.says_yes


class Account:
    """The files of one account: its record, and a maildir; ``told`` is what the last run reported."""

    def __init__(self, folder: Path) -> None:
        self.place = RecordPlace(folder / "state", "alice@example.org")
        self.maildir = folder / "Maildir"
        self.now = NOW
        self.says_yes = False
        self.told = Told()

    @contextmanager
    def store(self) -> Iterator[Store]:
        """Hold the record, as a run does."""
        store = Store(self.place)
        try:
            yield store
        finally:
            store.close()

    def fetch(
        self,
        server: ScriptedServer,
        order: Order = Order(),  # noqa: B008  # it is frozen
        *,
        destination: Callable[[Store], Destination] | None = None,
        timeout: float = NEVER,
    ) -> Outcome:
        """Make one run; raises what ended it. ``destination`` is the maildir unless a test gives another."""
        self.told = Told(says_yes=self.says_yes)
        with self.store() as store:
            target = destination(store) if destination else Maildir(self.maildir, store.tag)
            around = Context(
                connect=lambda pipelining: log_in(server, pipelining=pipelining, timeout=timeout),
                store=store,
                destination=target,
                reopen=lambda name: open_destination(
                    parse(name), delivery_context(store.tag, self.place.folder)
                ),
                reporter=self.told,
                clock=lambda: self.now,
                would=self.told.would,
            )
            try:
                return Fetch(around, order).run()
            finally:
                target.close()
                server.wait()

    def delivered(self) -> list[bytes]:
        """Return the messages of the maildir, read and unread, in the order of their octets."""
        return sorted(path.read_bytes() for path in self.files())

    def files(self) -> list[Path]:
        return [path for folder in ("new", "cur") for path in self.maildir.glob(f"{folder}/*")]

    def litter(self) -> list[str]:
        """Return what a run left in ``tmp`` and beside the record."""
        tmp = [path.name for path in self.maildir.glob("tmp/*")]
        drafts = [path.name for path in self.place.folder.glob("draft-*")]
        return [*tmp, *drafts]

    def recorded(self) -> dict[bytes, int]:
        """Return UID to size, as the record has it; for the first of each UID."""
        with self.store() as store:
            assert store.intents() == []
            return dict(store.known().sizes)


def log_in(server: ScriptedServer, *, pipelining: bool = True, timeout: float = NEVER) -> MailSession:
    """Return a client of alice's."""
    return begin_mail_session(server, pipelining=pipelining, timeout=timeout)


def numbered(count: int, first: int = 1) -> list[bytes]:
    """Return messages as they are on the wire, each of a length of its own and with an identity."""
    return [message(number) for number in range(first, first + count)]


def message(number: int, body: bytes = b"") -> bytes:
    """Return a message as it is on the wire."""
    lines = [
        b"Message-ID: <%d@example.org>" % number,
        b"Date: Thu, 1 Jan 2026 00:00:00 +0000",
        b"From: Bob <bob@example.org>",
        b"Subject: message %d" % number,
        b"",
        body or b"x" * number,
        b".",
    ]
    return b"".join(line + b"\r\n" for line in lines)


def on_disk(messages: Sequence[bytes]) -> list[bytes]:
    """Return messages as a maildir has them, in the order of their octets."""
    return sorted(octets.replace(b"\r\n", b"\n") for octets in messages)
