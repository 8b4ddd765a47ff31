"""What may happen while messages go to a mail server: each is tried out in a trial of its own.

After a death, a broken line or a refusal, the next run must finish. By IMAP each message is then there
once. By LMTP each is there at least once, and no more often than the runs have said.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import trustme

from pop3fetch.status import Status
from tests.crash.misfortunes import NEVER
from tests.crash.trial import MESSAGES, Verdict
from tests.support.certificates import server_context
from tests.support.command import Ended
from tests.support.fetching import message
from tests.support.imap_server import BARE, MINUS, PLUS, ImapServer
from tests.support.launcher import Fault, Launcher
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import ScriptedServer, Talk
from tests.support.transfer_server import CHUNKED, PIPELINED, PLAIN, TransferServer

AUTHORITY = trustme.CA()
CONTEXT = server_context(AUTHORITY)
# A copy, and messages that differ in what a server may change.
FEW = (message(1), message(2), message(2), message(4, b"\xff \n and \r"))
DOUBLED = re.compile(rb"the reply was lost: ([0-9]+) messages? may arrive twice")
SHORT_TIMEOUT = "0.5"  # seconds


@dataclass(frozen=True, slots=True)
class FarEnd:
    """A server that takes messages: its name, what it offers, and what is sent there."""

    name: str
    offers: tuple[str, ...] | tuple[bytes, ...]
    messages: Sequence[bytes] = field(default=tuple(FEW), repr=False)

    @property
    def is_imap(self) -> bool:
        return self.name.startswith("imap")

    def server(self) -> ImapServer | TransferServer:
        """Return a new one."""
        return ImapServer(self.offers) if self.is_imap else TransferServer(self.offers)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return self.name


FAR_ENDS = [
    FarEnd("imap, LITERAL+", PLUS),
    FarEnd("imap, LITERAL-", MINUS),
    FarEnd("imap, no UIDPLUS", BARE),
    FarEnd("imap, large messages", PLUS, tuple(MESSAGES)),
    FarEnd("lmtp", PLAIN),
    FarEnd("lmtp, pipelined", PIPELINED),
    FarEnd("lmtp, chunked", CHUNKED),
    FarEnd("lmtp, large messages", PIPELINED, tuple(MESSAGES)),
]


class FarTrial:
    """A mailbox, a mail server, and the real command between them."""

    def __init__(self, launcher: Launcher, folder: Path, far_end: FarEnd) -> None:
        self.far_end = far_end
        self.server = far_end.server()
        self.mailbox = Mailbox(far_end.messages)
        self.verdict = Verdict()
        self.in_doubt = 0  # messages that the runs have said may come twice
        self._launcher = launcher
        self._folder = folder
        self._stack = ExitStack()
        self._far: ScriptedServer | None = None

    def __enter__(self) -> FarTrial:
        self._pop = self._stack.enter_context(ScriptedServer(self.mailbox))
        tls = "implicit" if self.far_end.is_imap else None
        self._far = self._stack.enter_context(ScriptedServer(self.server, tls=tls, context=CONTEXT))
        AUTHORITY.cert_pem.write_to_path(str(self._folder / "ca.pem"))
        url = f"imaps://alice@localhost:{self._far.port}/INBOX"
        if not self.far_end.is_imap:
            url = f"lmtp://localhost:{self._far.port}"
        config = self._folder / "config.toml"
        config.touch(0o600)
        config.write_text(
            f'[destinations.box]\nurl = "{url}"\nca_file = "{self._folder}/ca.pem"\n'
            'password = "secret"\nrecipients = "alice"\n'
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def get(self, *options: str, fault: Fault | None = None) -> Ended:
        """Run `get --delete`."""
        ended = self._launcher.run(
            *("get", "-a", self._pop.url(), "--allow-insecure-login", "--delete"),
            *("--state-dir", self._folder / "state", "-c", self._folder / "config.toml", "-o", "@box"),
            *options,
            fault=fault,
        )
        self.in_doubt += sum(int(count) for count in DOUBLED.findall(ended.err))
        assert self._far is not None
        self._far.wait()  # a server may store something after the connection is lost
        return ended

    def said(self) -> int:
        """Return how many octets the mail server has said so far."""
        assert self._far is not None
        return sum(talk.said for talk in self._far.talks)

    def arrived(self) -> Counter[bytes]:
        """Return what the mail server has taken."""
        if isinstance(self.server, ImapServer):
            return Counter(self.server.inbox.messages.values())
        return Counter(accepted.octets for accepted in self.server.accepted)

    def finish(self) -> Verdict:
        """Run once more, undisturbed; then look at what is where."""
        ended = self.get()
        is_said = not ended.err or DOUBLED.search(ended.err)
        if ended.status != 0 or not is_said:
            self.verdict.complaints.append(f"the next run ended with {ended}")
        expected = Counter(_as_sent(octets) for octets in self.far_end.messages)
        arrived = self.arrived()
        self.verdict.lost += (expected - arrived).total()
        self.verdict.damaged += sum(count for octets, count in arrived.items() if octets not in expected)
        doubled = (arrived - expected).total() - self.verdict.damaged
        if self.far_end.is_imap or doubled > self.in_doubt:
            self.verdict.doubled += doubled
        if self.mailbox.messages:
            self.verdict.complaints.append(f"the server has {len(self.mailbox.messages)} messages")
        spools = [path.name for path in (self._folder / "state").glob("accepted-*")]
        if spools:
            self.verdict.complaints.append(f"{', '.join(spools)} left behind")
        return self.verdict

    def look_at(self, ended: Ended, *statuses: int) -> None:
        """Note if a run that could act to its end did not end with a fitting status and one line."""
        if ended.status not in statuses:
            self.verdict.complaints.append(f"status {ended.status}: {ended.err!r}")
        lines = [line for line in ended.err.splitlines() if not DOUBLED.search(line)]
        if ended.status and not 1 <= len(lines) <= 1 + len(self.far_end.messages):
            self.verdict.complaints.append(f"said {ended.err!r}")


def _as_sent(octets: bytes) -> bytes:
    ended = octets if octets.endswith(b"\r\n") else octets + b"\r\n"
    return re.sub(rb"(?<!\r)\n", b"\r\n", ended)


@dataclass(frozen=True, slots=True)
class FarMisfortune(ABC):
    """Something that happens to a run that delivers to a mail server."""

    scenario: FarEnd

    kind = "far ends"

    @abstractmethod
    def befall(self, trial: FarTrial) -> None:
        """Make the run to which it happens, and note how that ended where it should not have."""

    def try_out(self, launcher: Launcher, folder: Path) -> Verdict:
        """Let it happen to one run, and the next one finish; return what became of the messages."""
        with FarTrial(launcher, folder, self.scenario) as trial:
            self.befall(trial)
            return trial.finish()

    @property
    def names(self) -> set[str]:
        """The names under which it can be chosen."""
        return {self.kind, self.scenario.name}


@dataclass(frozen=True, slots=True)
class FarDeath(FarMisfortune):
    """The process is gone before its ``step``-th step."""

    step: int

    def befall(self, trial: FarTrial) -> None:
        trial.get(fault=Fault(self.step))


@dataclass(frozen=True, slots=True)
class FarLine(FarMisfortune):
    """The mail server has said so many octets; then the line is cut, or nothing more comes."""

    octets: int
    silent: bool = False

    def befall(self, trial: FarTrial) -> None:
        trial.server.break_after = self.octets
        trial.server.manner = Talk.stall if self.silent else Talk.cut
        options = ("--timeout", SHORT_TIMEOUT) if self.silent else ()
        trial.look_at(trial.get(*options), Status.OK, Status.TRY_LATER)


@dataclass(frozen=True, slots=True)
class FarReply(FarMisfortune):
    """The ``number``-th reply to a ``step`` is another; None: it is lost."""

    step: str
    number: int
    reply: bytes | None

    def befall(self, trial: FarTrial) -> None:
        server = trial.server
        usual: list[bytes | None] = [b""] * self.number
        if isinstance(server, ImapServer):
            server.left[self.step] = [*usual, self.reply]
        else:
            server.stand_in(self.step.encode(), self.number, self.reply)
        ended = trial.get()
        statuses = (Status.OK, Status.CANNOT_DELIVER, Status.TRY_LATER, Status.PROTOCOL)
        trial.look_at(ended, *statuses, Status.NO_LOGIN)
        server.forget_stand_ins() if isinstance(server, TransferServer) else server.left.clear()


Replies = Mapping[str, Sequence[bytes | None]]

IMAP_REPLIES: Replies = {
    "CAPABILITY": [b"BAD what\r\n", b"* BYE bye\r\n"],
    "AUTHENTICATE": [b"NO [UNAVAILABLE] later\r\n"],
    "STATUS": [b"NO no\r\n", b"BAD what\r\n", b"* BYE bye\r\n"],
    "APPEND": [
        b"NO no\r\n", b"NO [OVERQUOTA] full\r\n", b"NO [INUSE] later\r\n", b"BAD what\r\n", b"* BYE bye\r\n",
        None,
    ],
}  # fmt: skip
LMTP_REPLIES: Replies = {
    step: [b"421 4.3.2 bye\r\n", b"450 4.2.0 later\r\n", b"550 5.1.1 no\r\n", None]
    for step in ("greeting", "LHLO", "MAIL", "RCPT", "DATA", "end")
}


def far_replies(far_end: FarEnd) -> list[FarMisfortune]:
    """Return each reply that may be another, at the first and at a later message."""
    replies = IMAP_REPLIES if far_end.is_imap else LMTP_REPLIES
    several = ("APPEND", "MAIL", "RCPT", "DATA", "end")
    return [
        FarReply(far_end, step, number, reply)
        for step, choices in replies.items()
        for number in ((0, 1, len(far_end.messages) - 1) if step in several else (0,))
        for reply in choices
    ]


def far_steps(launcher: Launcher, far_end: FarEnd) -> list[FarMisfortune]:
    """Return a death at every step of a run."""
    with TemporaryDirectory() as folder, FarTrial(launcher, Path(folder), far_end) as trial:
        trial.get(fault=Fault(step=NEVER))
    return [FarDeath(far_end, step) for step in range(1, launcher.steps + 1)]


def far_octets(launcher: Launcher, far_end: FarEnd, *, silent: bool = False) -> list[FarMisfortune]:
    """Return a broken line after each octet that the mail server says."""
    with TemporaryDirectory() as folder, FarTrial(launcher, Path(folder), far_end) as trial:
        trial.get()
        said = trial.said()
    return [FarLine(far_end, octets, silent) for octets in range(said)]
