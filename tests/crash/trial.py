"""One trial: a run that goes wrong, a run that does not, and a look at what is where.

A trial counts messages that are lost, doubled or damaged. Between the two runs it also looks
whether the server still has all that is not delivered.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pop3fetch.record.place import RecordPlace
from tests.support.command import Ended
from tests.support.delivering import messages_of_mboxrd
from tests.support.fetching import message, on_disk
from tests.support.launcher import Fault, Launcher
from tests.support.odd_mail_server import OddMailbox
from tests.support.scripted_server import ScriptedServer, Talk

MESSAGES = [
    *(message(number) for number in range(1, 11)),
    message(11, b"From me\r\n>From you\r\n" + b"0123456789" * 120_000),
    message(12, b"\xff\0 bare \n and \r"),
]


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is fetched, where it goes, and how many messages an earlier run has fetched already."""

    name: str
    destination: str
    delete: bool
    before: int = 0
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
]

# For what happens after each octet of a session, the fewer the better.
SMALL = [message(1), message(2), message(3)]
SHORT_SESSIONS = [
    Scenario("three messages, keep", "maildir", delete=False, messages=SMALL),
    Scenario("three messages, delete", "maildir", delete=True, messages=SMALL),
]


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


class Trial:
    """A mailbox of a dozen messages, a home for one account, and the real command."""

    def __init__(self, launcher: Launcher, folder: Path, scenario: Scenario) -> None:
        self.mailbox = OddMailbox(scenario.messages)
        self.verdict = Verdict()
        self.state = folder / "state"
        self.target = folder / scenario.destination
        self._launcher = launcher
        self._scenario = scenario
        self._expected = on_disk(scenario.messages)

    def __enter__(self) -> Trial:
        self._server = ScriptedServer(self.mailbox).start()
        if self._scenario.before:
            ended = self.get("--keep", "--limit", str(self._scenario.before))
            assert ended.status == 0, ended
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def record(self) -> Path:
        """The database, there or not."""
        address = f"{self.mailbox.user.decode()}@{self._server.host}:{self._server.port}"
        return RecordPlace(self.state, address).database

    def get(
        self,
        *options: str,
        fault: Fault | None = None,
        trace: Callable[[int], None] = lambda process: None,
        launcher: Launcher | None = None,
    ) -> Ended:
        """Run `get`, by default as the scenario has it; by another ``launcher`` beside the first."""
        return (launcher or self._launcher).run(
            *("get", "-a", self._server.url(), "--allow-insecure-login"),
            *("--state-dir", self.state, "-o", f"{self._scenario.destination}:{self.target}"),
            *(options or self.options),
            fault=fault,
            trace=trace,
        )

    @property
    def options(self) -> list[str]:
        """The options of the scenario's own."""
        return ["--delete" if self._scenario.delete else "--keep"]

    @property
    def deletes(self) -> bool:
        """Whether the scenario deletes what is delivered."""
        return self._scenario.delete

    def expect(self, octets: bytes) -> None:
        """Expect one more message, which is on the server now."""
        self._expected = sorted([*self._expected, *on_disk([octets])])

    def sessions(self) -> list[Talk]:
        """Return the connections that there were."""
        return self._server.talks

    def delivered(self) -> Counter[bytes]:
        """Return what can be read at the destination."""
        if self._scenario.destination == "mbox":
            octets = self.target.read_bytes() if self.target.exists() else b""
            return Counter(messages_of_mboxrd(octets))
        files = [*self.target.glob("new/*"), *self.target.glob("cur/*")]
        return Counter(path.read_bytes() for path in files)

    # -- looking -----------------------------------------------------------------------------

    def look_between(self) -> None:
        """Note what is missing: on the server only what is delivered may be."""
        left = on_disk(self.mailbox.messages)
        gone = [octets for octets in self._expected if octets not in left]
        if gone:  # or else there may be half of an mbox
            delivered = self.delivered()
            self.verdict.lost += sum(octets not in delivered for octets in gone)

    def look_at_an_end_in_order(
        self, ended: Ended, statuses: Collection[int], *, hindered: bool = False
    ) -> None:
        """Note where a run that could still act did not end cleanly, with one line and a fitting status.

        One that is ``hindered`` to its end may have to be silent, and to leave things behind.
        """
        if ended.status not in statuses:
            self.verdict.complaints.append(f"status {ended.status}")
        lines = ended.err.count(b"\n")
        if lines != (ended.status != 0) and not (hindered and lines == 0):
            self.verdict.complaints.append(f"status {ended.status}, and said {ended.err!r}")
        if not hindered and (litter := self.litter()):
            self.verdict.complaints.append(f"{', '.join(litter)} left behind by an end in order")

    def finish(self) -> Verdict:
        """Run once more, undisturbed; then each message must be there once, and whole."""
        ended = self.get()
        if ended != Ended(0, b"", b""):
            self.verdict.complaints.append(f"the next run ended with {ended}")
        there, expected = self.delivered(), Counter(self._expected)
        self.verdict.lost += (expected - there).total()
        self.verdict.doubled += sum(count - 1 for octets, count in there.items() if octets in expected)
        self.verdict.damaged += sum(count for octets, count in there.items() if octets not in expected)
        if self.mailbox.messages != ([] if self._scenario.delete else list(self._scenario.messages)):
            self.verdict.complaints.append(f"the server has {len(self.mailbox.messages)} messages")
        if litter := self.litter():
            self.verdict.complaints.append(f"{', '.join(litter)} left behind")
        return self.verdict

    def litter(self) -> list[str]:
        """Return the names of files that are neither mail nor the record."""
        tmp = self.target.glob("tmp/*") if self._scenario.destination == "maildir" else ()
        beside = (path for path in self.target.parent.glob("mbox?*") if path != self.target)
        # What SQLite keeps beside a record that was not closed is taken up by the next run.
        ours = re.compile(r".*\.(lock|sqlite(-wal|-shm|-journal)?)")
        spools = (path for path in self.state.glob("*") if not ours.fullmatch(path.name))
        return sorted(path.name for path in (*tmp, *beside, *spools))
