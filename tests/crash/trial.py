"""One trial: a run that goes wrong, a run that does not, and a look at the result.

A trial counts messages that are lost, doubled or damaged. Between the two runs it also looks
whether the server still has all that is not delivered. What was delivered to a disk that was then
taken away is not lost; it may be delivered once more to the disk that replaces it.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import trustme

from pop3fetch.record.place import RecordPlace
from tests.support.certificates import server_context
from tests.support.command import Ended
from tests.support.delivering import messages_of_mboxrd
from tests.support.fetching import message, on_disk
from tests.support.launcher import Fault, Launcher
from tests.support.mail_server import Mailbox, Message
from tests.support.scripted_server import ScriptedServer, Talk

MESSAGES = [
    *(message(number) for number in range(1, 11)),
    message(11, b"From me\r\n>From you\r\n" + b"0123456789" * 120_000),
    message(12, b"\xff\0 bare \n and \r"),
]


DAY = 86_400  # seconds
AGE = 2 * DAY  # of what was fetched before, if the scenario deletes after some days

ACCOUNT = """\
[accounts.{name}]
host = "{server.host}"
port = {server.port}
tls = "off"
allow_insecure_login = true
user = "alice"
output = "mbox:{path}"
"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is fetched, where it goes, and how many messages an earlier run has fetched already.

    ``delete_after``: only those of the earlier run are old enough to be deleted. ``link``: a second
    account delivers to the same mbox by another name, which is this kind of link. ``known``: the server has
    TLS, and was met before, so that the login and the first commands come at once.
    """

    name: str
    destination: str
    delete: bool
    before: int = 0
    delete_after: bool = False
    link: str = ""
    known: bool = False
    messages: Sequence[bytes] = field(default=tuple(MESSAGES), repr=False)

    def __str__(self) -> str:
        return self.name


SCENARIOS = [
    Scenario("maildir, keep", "maildir", delete=False),
    Scenario("maildir, delete", "maildir", delete=True),
    Scenario("maildir, delete after half", "maildir", delete=True, before=6),
    Scenario("maildir, delete after all", "maildir", delete=True, before=12),
    Scenario("mbox, keep", "mbox", delete=False),
    Scenario("mbox, delete", "mbox", delete=True),
    Scenario("mbox, delete after half", "mbox", delete=True, before=6),
    Scenario("maildir, delete after days", "maildir", delete=False, before=6, delete_after=True),
    Scenario("mbox, delete after days", "mbox", delete=False, before=6, delete_after=True),
    Scenario("maildir, known server", "maildir", delete=True, before=6, known=True),
]

# Two accounts at once, each with half of the messages, deliver to one mbox by two names.
TWO_NAMES = [
    Scenario("mbox and a symbolic link", "mbox", delete=True, link="symbolic"),
    Scenario("mbox and a hard link", "mbox", delete=True, link="hard"),
    Scenario("mbox and a linked folder", "mbox", delete=False, link="folder"),
]

# For what happens after each octet of a session, the fewer the better.
SMALL = [message(1), message(2), message(3)]
SHORT_SESSIONS = [
    Scenario("three messages, keep", "maildir", delete=False, messages=SMALL),
    Scenario("three messages, delete", "maildir", delete=True, messages=SMALL),
    Scenario("three messages, known server", "maildir", delete=True, known=True, messages=SMALL),
]


def make_link(mbox: Path, kind: str) -> Path:
    """Return a second name of an mbox, beside its folder; a ``hard`` link needs the file."""
    link = mbox.parent.with_name("link")
    if kind == "hard":
        mbox.touch(0o600)
        os.link(mbox, link)
    elif kind == "symbolic":
        link.symlink_to(mbox)
    else:
        link.symlink_to(mbox.parent)
        return link / mbox.name
    return link


@dataclass(slots=True)
class Verdict:
    """What became of the messages, and what else is not as it should be."""

    lost: int = 0
    doubled: int = 0
    damaged: int = 0
    complaints: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return not (self.lost or self.doubled or self.damaged or self.complaints)

    def __str__(self) -> str:
        counts = f"{self.lost} lost, {self.doubled} doubled, {self.damaged} damaged"
        return "; ".join([counts, *self.complaints])


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


class Trial:
    """A mailbox of a dozen messages, a home for one account, and the real command."""

    def __init__(self, launcher: Launcher, folder: Path, scenario: Scenario) -> None:
        accounts = 2 if scenario.link else 1
        self._mailboxes = [Mailbox(scenario.messages[first::accounts]) for first in range(accounts)]
        self._servers: list[ScriptedServer] = []
        self.mailbox = self._mailboxes[0]
        self.verdict = Verdict()
        self.state = folder / "state"
        # What may be mounted, and the place to which it is moved.
        self.disk, self.away = folder / "disk", folder / "away"
        self.is_half_done = False  # what was taken away after a death; nothing completes it there
        self.target = self._target_on(self.disk, scenario)
        self._config = folder / "config.toml"
        self._ca_file = folder / "ca.pem"
        self._launcher = launcher
        self._scenario = scenario
        self._expected = on_disk(scenario.messages)
        self._to_stay = [] if scenario.delete else list(scenario.messages)

    @staticmethod
    def _target_on(disk: Path, scenario: Scenario) -> Path:
        return disk / "mbox" if scenario.destination == "mbox" else disk

    def __enter__(self) -> Trial:
        tls: dict[str, Any] = (
            {"tls": "implicit", "context": server_context(_authority())} if self._scenario.known else {}
        )
        self._servers = [ScriptedServer(mailbox, **tls).start() for mailbox in self._mailboxes]
        if self._scenario.known:
            _authority().cert_pem.write_to_path(str(self._ca_file))
            where = ("-a", self._servers[0].url(), "--ca-file", self._ca_file)
            ended = self._launcher.run("stat", *where, "--state-dir", self.state)
            assert ended.status == 0, ended
        if self._scenario.link:
            self._set_up_two_names()
        if self._scenario.before:
            ended = self.get("--keep", "--limit", str(self._scenario.before))
            assert ended.status == 0, ended
        if self._scenario.delete_after:
            self._age_the_record()
            self._to_stay = self._to_stay[self._scenario.before :]
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.stop()

    def _set_up_two_names(self) -> None:
        self.disk.mkdir(0o700)
        names = [self.target, make_link(self.target, self._scenario.link)]
        accounts = zip(("first", "second"), self._servers, names, strict=True)
        tables = [ACCOUNT.format(name=name, server=server, path=path) for name, server, path in accounts]
        self._config.touch(0o600)
        self._config.write_text("".join(tables))

    def _age_the_record(self) -> None:
        with closing(sqlite3.connect(self.record)) as record, record:
            record.execute("UPDATE message SET delivered = delivered - ?", (AGE,))

    @property
    def record(self) -> Path:
        """The database of the first account, there or not."""
        server = self._servers[0]
        address = f"{self.mailbox.user.decode()}@{server.host}:{server.port}"
        return RecordPlace(self.state, address).database

    def get(
        self,
        *options: str,
        fault: Fault | None = None,
        trace: Callable[[int], None] = lambda process: None,
        meanwhile: Callable[[], None] = lambda: None,
        launcher: Launcher | None = None,
    ) -> Ended:
        """Run `get`, by default as the scenario has it; by another ``launcher`` beside the first."""
        return (launcher or self._launcher).run(
            *("get", *self._accounts(), "--state-dir", self.state),
            *(options or self.options),
            fault=fault,
            trace=trace,
            meanwhile=meanwhile,
        )

    def _accounts(self) -> list[str | Path]:
        if self._scenario.link:
            return ["-A", "-c", self._config]
        output = f"{self._scenario.destination}:{self.target}"
        policy = ["--ca-file", self._ca_file] if self._scenario.known else ["--allow-insecure-login"]
        return ["-a", self._servers[0].url(), *policy, "-o", output]

    @property
    def options(self) -> list[str]:
        """The options of the scenario's own."""
        if self._scenario.delete_after:
            return ["--delete-after", str(AGE // DAY)]
        return ["--delete" if self._scenario.delete else "--keep"]

    def is_to_go(self, message: Message) -> bool:
        """Return whether the scenario deletes a message that is delivered."""
        return message.octets not in self._to_stay

    @property
    def is_maildir(self) -> bool:
        """Whether the destination is a maildir."""
        return self._scenario.destination == "maildir"

    def put(self, octets: bytes, uid: bytes) -> None:
        """Put a new message on the server, and expect it."""
        self.mailbox.add(octets, uid)
        self._expect(octets)

    def replace(self, old: Message, octets: bytes) -> None:
        """Let another client delete a message, and a new one get its UID."""
        maildrop = self.mailbox.maildrop
        maildrop[maildrop.index(old)] = Mailbox([octets], uids=[old.uid]).maildrop[0]
        self._to_stay = [other for other in self._to_stay if other != old.octets]
        self._expect(octets)

    def _expect(self, octets: bytes) -> None:
        self._expected = sorted([*self._expected, *on_disk([octets])])
        if not self._scenario.delete:
            self._to_stay.append(octets)

    def sessions(self) -> list[Talk]:
        """Return the connections that there were."""
        return [talk for server in self._servers for talk in server.talks]

    def on_the_server(self) -> list[bytes]:
        """Return the messages that are left there, once the last QUIT of a run that has died is obeyed."""
        for server in self._servers:
            server.wait()
        return [octets for mailbox in self._mailboxes for octets in mailbox.messages]

    def has_mail(self, disk: Path) -> bool:
        """Whether messages were delivered to this disk, or parts of them."""
        if self.is_maildir:
            return any(disk.glob("new/*"))
        return any(mbox.stat().st_size for mbox in disk.glob("mbox"))

    def delivered(self, disk: Path | None = None) -> Counter[bytes]:
        """Return what can be read at the destination, or on another ``disk``."""
        target = self._target_on(disk or self.disk, self._scenario)
        if self.is_maildir:
            files = [*target.glob("new/*"), *target.glob("cur/*")]
            return Counter(path.read_bytes() for path in files)
        return Counter(messages_of_mboxrd(target.read_bytes() if target.exists() else b""))

    # -- looking -----------------------------------------------------------------------------

    def look_between(self) -> None:
        """Note what is missing: on the server only what is delivered may be."""
        left = on_disk(self.on_the_server())
        gone = [octets for octets in self._expected if octets not in left]
        self.verdict.lost += sum(not self._is_delivered(octets) for octets in gone)

    def _is_delivered(self, octets: bytes) -> bool:
        """Whether a message can be read, also in an mbox that has half of another one."""
        if self.is_maildir:
            return octets in self.delivered() + self.delivered(self.away)
        return self._copies(octets, self.disk) + self._copies(octets, self.away) > 0

    @staticmethod
    def _copies(octets: bytes, disk: Path) -> int:
        quoted = re.sub(rb"(?m)^(>*From )", rb">\1", octets)
        return sum(mbox.read_bytes().count(b"\n%b\n" % quoted) for mbox in disk.glob("mbox"))

    def _moved_away(self) -> Counter[bytes]:
        if self.is_maildir or not self.is_half_done:
            return self.delivered(self.away)
        return +Counter({octets: self._copies(octets, self.away) for octets in self._expected})

    def look_at_an_end_in_order(
        self, ended: Ended, statuses: Collection[int], *, hindered: bool = False, lines: int = 1
    ) -> None:
        """Note if a run that could still act did not end cleanly, with a fitting status and words.

        A run that is ``hindered`` to its end may have to be silent, and to leave things behind. One
        that failed may have printed up to so many ``lines`` for each account.
        """
        if ended.status not in statuses:
            self.verdict.complaints.append(f"status {ended.status}")
        printed = ended.err.count(b"\n")
        most = lines * len(self._mailboxes) if ended.status else 0
        least = 1 if ended.status and not hindered else 0
        if not least <= printed <= most:
            self.verdict.complaints.append(f"status {ended.status}, and said {ended.err!r}")
        if not hindered and (litter := self.litter()):
            self.verdict.complaints.append(f"{', '.join(litter)} left behind by an end in order")

    def finish(self) -> Verdict:
        """Run once more, undisturbed; then each message must be there once, and whole."""
        ended = self.get()
        if ended != Ended(0, b"", b""):
            self.verdict.complaints.append(f"the next run ended with {ended}")
        here, away, expected = self.delivered(), self._moved_away(), Counter(self._expected)
        self.verdict.lost += (expected - (here + away)).total()
        for there in (here, away):
            self.verdict.doubled += sum(count - 1 for octets, count in there.items() if octets in expected)
            self.verdict.damaged += sum(count for octets, count in there.items() if octets not in expected)
        left = self.on_the_server()
        if sorted(left) != sorted(self._to_stay):
            self.verdict.complaints.append(f"the server has {len(left)} messages")
        if litter := self.litter():
            self.verdict.complaints.append(f"{', '.join(litter)} left behind")
        return self.verdict

    def litter(self) -> list[str]:
        """Return the names of files that are neither mail nor the record."""
        tmp = self.disk.glob("tmp/*") if self.is_maildir else ()
        beside = () if self.is_maildir else (*self.disk.glob("mbox?*"), *self.disk.parent.glob("link?*"))
        # What SQLite keeps beside a record that was not closed is taken up by the next run.
        # The next that is written beside the record removes what a dead run left of it.
        ours = re.compile(r".*\.(lock|account|server(-[0-9]+)?|sqlite(-wal|-shm|-journal)?)")
        spools = (path for path in self.state.glob("*") if not ours.fullmatch(path.name))
        return sorted(path.name for path in (*tmp, *beside, *spools))
