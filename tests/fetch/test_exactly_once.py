"""A model of a mailbox and its owner, against the real command: any step may fail or be the last one.

Mail arrives, is read, is removed by others, is not listed for once, and comes again under used UIDs;
runs are killed, cut off, refused and hindered by the disk. At no time may a message be missing both
on the server and at its destination, or be there twice; and one run that nothing disturbs puts
everything right.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from pop3fetch.status import Status
from tests.support.command import Ended
from tests.support.delivering import messages_of_mboxrd
from tests.support.fetching import message
from tests.support.launcher import DIED, Fault, Launcher
from tests.support.mail_server import CAPABILITIES, Message
from tests.support.odd_mail_server import QUIT, OddMailbox
from tests.support.scripted_server import ScriptedServer

EXAMPLES = int(os.environ.get("POP3FETCH_EXAMPLES", "60"))
STEPS = 160  # about as many as a run has
OCTETS = 3000  # about as many as a server sends in a session
FOREIGN = b"From carol@example.org Tue Nov 14 22:13:20 2023\nSubject: of others\n\nhello %d\n\n"

FITTING = {
    DIED, Status.OK, Status.BAD_DATA, Status.REFUSED, Status.CANNOT_DELIVER, Status.TRY_LATER,
    Status.PROTOCOL, Status.CONFIGURATION,
}  # fmt: skip
ONE_AT_A_TIME = tuple(name for name in CAPABILITIES if name != b"PIPELINING")

# What is there to be picked from follows from threads and disks, which Hypothesis cannot repeat: so
# no draw may depend on it.
picks = st.integers(0, 1000)
deaths = st.builds(Fault, st.integers(1, STEPS))
# Anywhere is seldom where it hurts: between these.
deaths_in_delivery = st.builds(
    Fault, st.integers(1, 20), name=st.sampled_from(["rename", "pwrite", "fsync", "execute"])
)
failures = st.builds(Fault, st.integers(1, STEPS), st.sampled_from([errno.ENOSPC, errno.EIO]))
refusals = st.sampled_from(
    [(b"RETR", b"-ERR not now\r\n"), (b"DELE", b"-ERR not now\r\n"), (b"RETR", b"+OK\r\n.\r\n")]
)
HAPPENINGS = (
    "_arrive", "_arrive", "_arrive_again", "_reuse_a_uid", "_expunge", "_resize", "_read", "_clear_tmp",
)  # fmt: skip
options = st.sampled_from(
    [["--keep"], ["--delete"], ["--delete-after", "0"], ["--delete-after", "1"], ["--limit", "2", "--delete"]]
)


@dataclass(slots=True)
class Letter:
    """What was sent once or more often, and how many copies need not be delivered, but may be."""

    octets: bytes
    copies: int = 1
    excused: int = 0

    @property
    def on_disk(self) -> bytes:
        return self.octets.replace(b"\r\n", b"\n")


def chosen(messages: list[Message], pick: int) -> list[Message]:
    """Return one of the messages, or none where there is none."""
    return [messages[pick % len(messages)]] if messages else []


class Machine(RuleBasedStateMachine):
    """One account, its mailbox, its destination, and whoever else comes near them."""

    runs = 0  # of all machines

    def __init__(self, launcher: Launcher) -> None:
        super().__init__()
        self._launcher = launcher
        self._temporary = TemporaryDirectory()
        self._folder = Path(self._temporary.name)
        self._letters: dict[bytes, Letter] = {}  # by octets
        self._foreign = 0
        self._settled = 0  # how many of the removed messages were removed before the last run

    @initialize(
        kind=st.sampled_from(["maildir", "mbox"]),
        pops=st.booleans(),
        capabilities=st.sampled_from([CAPABILITIES, ONE_AT_A_TIME]),
        count=st.integers(1, 8),
    )
    def begin(self, kind: str, pops: bool, capabilities: tuple[bytes, ...], count: int) -> None:
        self._kind = kind
        self._target = self._folder / kind
        self._mailbox = OddMailbox([], pops=pops, capabilities=capabilities)
        self._server = ScriptedServer(self._mailbox).start()
        for _ in range(count):
            self._arrive(0)

    # -- what happens between the runs ---------------------------------------------------------

    @rule(happenings=st.lists(st.tuples(st.sampled_from(HAPPENINGS), picks), min_size=1, max_size=4))
    def meanwhile(self, happenings: list[tuple[str, int]]) -> None:
        for name, pick in happenings:
            getattr(self, name)(pick)

    def _arrive(self, _: int) -> None:
        self._put(b"uid-%d" % len(self._letters))

    def _put(self, uid: bytes, length: int | None = None) -> None:
        # No two are of one length, or else a UID that is used again could hide one from anybody.
        number = len(self._letters) + 1
        empty = len(message(number, b"x")) - 1
        octets = message(number, b"x" * ((length or 1000 + number) - empty))
        self._letters[octets] = Letter(octets)
        self._mailbox.add(octets, uid)

    def _arrive_again(self, pick: int) -> None:
        """An identical copy comes, and shares the UID (RFC 1939 section 7).

        Where the server takes copies away by itself, nobody could tell a new one from an old one.
        """
        for original in chosen(self._mailbox.maildrop, pick):
            if not self._mailbox.pops:
                self._letters[original.octets].copies += 1
                self._mailbox.add(original.octets, original.uid)

    def _reuse_a_uid(self, pick: int) -> None:
        """The UID of a deleted message is given to a new one, which may be as long where we deleted it."""
        for old in chosen(self._mailbox.removed, pick):
            self._mailbox.removed.remove(old)
            self._settled -= 1
            if old.uid not in self._mailbox.uids:
                self._put(old.uid, None if self._mailbox.pops else len(old.octets))

    def _expunge(self, pick: int) -> None:
        """Somebody else removes a message: perhaps it was never delivered, and never will be."""
        for victim in chosen(self._mailbox.maildrop, pick):
            self._letters[victim.octets].excused += 1
            self._mailbox.maildrop.remove(victim)

    def _resize(self, pick: int) -> None:
        """The server says another size of the same message from now on."""
        for old in chosen(self._mailbox.maildrop, pick):
            place = self._mailbox.maildrop.index(old)
            self._mailbox.maildrop[place] = Message(old.octets, old.uid, old.size + 1_000_000)

    def _read(self, _: int) -> None:
        """A mail reader takes all messages from new to cur, or another program writes to the mbox."""
        if self._kind == "maildir":
            for path in self._target.glob("new/*"):
                path.rename(self._target / "cur" / f"{path.name}:2,S")
        elif self._whole:
            self._foreign += 1
            with self._target.open("ab") as mbox:
                mbox.write(FOREIGN % self._foreign)

    def _clear_tmp(self, _: int) -> None:
        """Another program removes what is old in ``tmp``, as Dovecot does."""
        for path in self._target.glob("tmp/*"):
            path.unlink()

    # -- runs --------------------------------------------------------------------------------

    _whole = True  # whether the last run came to its end, so that an mbox may be read

    @rule(options=options)
    def get(self, options: list[str]) -> None:
        self._check(self._run(*options), disturbed=False)

    @rule(options=options, fault=deaths)
    def get_and_die(self, options: list[str], fault: Fault) -> None:
        self._check(self._run(*options, fault=fault), disturbed=True)

    @rule(options=options, fault=deaths_in_delivery)
    def get_and_die_delivering(self, options: list[str], fault: Fault) -> None:
        self._check(self._run(*options, fault=fault), disturbed=True)

    @rule(options=options, fault=failures)
    def get_and_find_the_disk_failing(self, options: list[str], fault: Fault) -> None:
        self._check(self._run(*options, fault=fault), disturbed=True)

    @rule(options=options, octets=st.integers(0, OCTETS))
    def get_and_lose_the_line(self, options: list[str], octets: int) -> None:
        self._mailbox.break_after = octets
        self._check(self._run(*options), disturbed=True)
        self._mailbox.break_after = None

    @rule(options=options, refusal=refusals, number=st.integers(1, 5))
    def get_and_be_refused(self, options: list[str], refusal: tuple[bytes, bytes], number: int) -> None:
        """The server says -ERR, or sends a message without an octet of it."""
        verb, reply = refusal
        self._mailbox.replies[b"%b %d\r\n" % (verb, number)] = reply
        self._check(self._run(*options), disturbed=True)
        self._mailbox.replies.clear()

    @rule(options=options, lost=st.booleans())
    def get_and_hear_no_good_bye(self, options: list[str], lost: bool) -> None:
        """QUIT is refused, and nothing deleted; or it is obeyed, and the answer lost."""
        self._mailbox.loses_quit = lost
        if not lost:
            self._mailbox.replies[QUIT] = b"-ERR some deleted messages not removed\r\n"
        self._check(self._run(*options), disturbed=True)
        self._mailbox.loses_quit = False
        self._mailbox.replies.clear()

    @rule()
    def get_while_the_mailbox_seems_empty(self) -> None:
        maildrop, self._mailbox.maildrop = self._mailbox.maildrop, []
        self._check(self._run("--delete"), disturbed=False)
        self._mailbox.maildrop = maildrop

    @rule(options=options, start=picks, count=st.integers(1, 3), fault=st.none() | deaths)
    def get_while_some_seem_gone(
        self, options: list[str], start: int, count: int, fault: Fault | None
    ) -> None:
        """One session lists the maildrop without some of its messages."""
        maildrop = self._mailbox.maildrop
        start %= len(maildrop) + 1
        hidden = maildrop[start : start + count]
        self._mailbox.maildrop = maildrop[:start] + maildrop[start + count :]
        ended = self._run(*options, fault=fault)
        self._mailbox.maildrop += hidden
        self._check(ended, disturbed=fault is not None)

    @rule(fault=st.none() | deaths)
    def mark(self, fault: Fault | None) -> None:
        """What is not delivered yet shall not be; where that is disturbed, it may be all the same."""
        there = self._delivered()
        left = Counter(one.octets for one in self._mailbox.maildrop)
        ended = self._run("--mark", fault=fault)
        self._check(ended, disturbed=fault is not None)
        for octets, letter in self._letters.items():
            undelivered = letter.copies - letter.excused - there[letter.on_disk]
            letter.excused += max(0, min(undelivered, left[octets]))

    def _run(self, *options: str, fault: Fault | None = None) -> Ended:
        Machine.runs += 1
        # --mark takes no destination: that of the account is the default, which nobody writes to.
        output = () if "--mark" in options else ("-o", f"{self._kind}:{self._target}")
        return self._launcher.run(
            *(
                "get",
                "-a",
                self._server.url(),
                "--allow-insecure-login",
                "--state-dir",
                self._folder / "state",
            ),
            *(*output, *options),
            fault=fault,
        )

    def _check(self, ended: Ended, *, disturbed: bool) -> None:
        assert ended.status in FITTING, ended
        assert ended.out == b""
        if disturbed:
            self._excuse_copies()
        else:
            assert ended == Ended(0, b"", b"")
        self._settled = len(self._mailbox.removed)
        self._whole = ended.status == 0

    def _excuse_copies(self) -> None:
        """Where it was not confirmed which of identical copies were deleted, the rest may pass for those."""
        left = Counter(one.octets for one in self._mailbox.maildrop)
        for octets in {one.octets for one in self._mailbox.removed[self._settled :]}:
            self._letters[octets].excused += left[octets]

    # -- what must be true -------------------------------------------------------------------

    def _delivered(self) -> Counter[bytes]:
        if self._kind == "maildir":
            files = [*self._target.glob("new/*"), *self._target.glob("cur/*")]
            return Counter(path.read_bytes() for path in files)
        octets = self._target.read_bytes() if self._target.exists() else b""
        try:
            found = Counter(messages_of_mboxrd(octets))
        except AssertionError:
            assert not self._whole, "a run that came to its end left half a message"
            raise
        for number in range(1, self._foreign + 1):
            found[b"Subject: of others\n\nhello %d\n" % number] -= 1
        return +found

    @invariant()
    def nothing_is_lost_doubled_or_damaged(self) -> None:
        if not self._whole and self._kind == "mbox":
            return  # there may be a part of a message at its end, until the next run
        there = self._delivered()
        left = Counter(one.octets for one in self._mailbox.maildrop)
        for octets, letter in self._letters.items():
            count = there.pop(letter.on_disk, 0)
            assert count <= letter.copies, f"doubled: {letter}"
            assert count >= letter.copies - letter.excused - left[octets], f"lost: {letter}"
        assert not there, "damaged"

    def teardown(self) -> None:
        if hasattr(self, "_server"):
            self._finish()
        self._temporary.cleanup()

    def _finish(self) -> None:
        try:
            self._check(self._run("--keep"), disturbed=False)
            there = self._delivered()
            for letter in self._letters.values():
                assert letter.copies - letter.excused <= there[letter.on_disk] <= letter.copies, letter
            self.nothing_is_lost_doubled_or_damaged()
            assert [*self._target.glob("tmp/*"), *self._folder.glob("state/draft-*")] == []
        finally:
            self._server.stop()


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with Launcher(tmp_path_factory.mktemp("launcher")) as launcher:
        yield launcher


def test_whatever_happens_each_message_is_delivered_once(launcher: Launcher) -> None:
    class Launching(Machine):
        def __init__(self) -> None:
            super().__init__(launcher)

    run_state_machine_as_test(
        Launching,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=10,
            deadline=None,
            phases=[Phase.generate],  # to shrink an example would take minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
