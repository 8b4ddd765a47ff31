"""A model of a mailbox and its owner, against the real command: any step may fail or be the last one.

Mail arrives, is read, is removed by others, is missing from a listing, and comes back under used UIDs.
The server takes deletions back, refuses looks and sends blank messages; the destination disappears or is
replaced. Runs are killed, cut off, refused and hindered by the disk. A message must never be missing both
on the server and at its destination, or be delivered twice; a message in doubt stays as it is until a look
decides; and one undisturbed run puts everything right.
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

from pop3fetch.messages import is_short, stands_in
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.states import State
from pop3fetch.record.store import ReadOnlyStore
from pop3fetch.status import Status
from tests.support.command import Ended
from tests.support.delivering import messages_of_mboxrd
from tests.support.fetching import message
from tests.support.launcher import DIED, Fault, Launcher
from tests.support.mail_server import CAPABILITIES, Mailbox, Message
from tests.support.scripted_server import ScriptedServer, Talk

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
# A random place seldom hurts: the places between these do.
deaths_in_delivery = st.builds(
    Fault, st.integers(1, 20), name=st.sampled_from(["rename", "pwrite", "fsync", "execute"])
)
failures = st.builds(Fault, st.integers(1, STEPS), st.sampled_from([errno.ENOSPC, errno.EIO]))
REFUSED, EMPTY, BLANK = b"-ERR not now\r\n", b"+OK\r\n.\r\n", b"+OK\r\n\r\n\r\n.\r\n"
HEADERS = b"the headers and a blank body"  # represents that reply
refusals = st.sampled_from(
    [
        {b"RETR": REFUSED}, {b"RETR": EMPTY}, {b"RETR": BLANK}, {b"RETR": HEADERS}, {b"DELE": REFUSED},
        {b"TOP": REFUSED}, {b"TOP": REFUSED, b"RETR": REFUSED},
        {b"TOP": BLANK}, {b"TOP": BLANK, b"RETR": BLANK},
    ]
)  # fmt: skip
# Replies to QUIT, none of which is followed by a deletion.
good_byes = st.sampled_from([b"-ERR some deleted messages not removed\r\n", b"+OK bye\r\n"])
IN_DOUBT = {State.DOUBTED, State.MISSING, State.DELETED}
HAPPENINGS = (
    "_arrive", "_arrive", "_arrive_again", "_reuse_a_uid", "_expunge", "_resize", "_read", "_clear_tmp",
    "_take_back", "_take_back", "_replace_the_destination",
)  # fmt: skip
options = st.sampled_from(
    [["--keep"], ["--delete"], ["--delete-after", "0"], ["--delete-after", "1"], ["--limit", "2", "--delete"]]
)


@dataclass(slots=True)
class Letter:
    """What was sent once or more often, and how many copies need not be delivered, but may be.

    ``beheaded``: in how many runs the server has sent only its headers.
    """

    octets: bytes
    copies: int = 1
    excused: int = 0
    beheaded: int = 0

    @property
    def on_disk(self) -> bytes:
        return self.octets.replace(b"\r\n", b"\n")

    @property
    def headers(self) -> bytes:
        """The headers and the empty line behind them."""
        head, empty, _ = self.octets.partition(b"\r\n\r\n")
        return head + empty


def chosen(messages: list[Message], pick: int) -> list[Message]:
    """Return one of the messages, or none if there is none."""
    return [messages[pick % len(messages)]] if messages else []


class Machine(RuleBasedStateMachine):
    """One account, its mailbox, its destination, and everything else that touches them."""

    runs = 0  # of all machines

    def __init__(self, launcher: Launcher) -> None:
        super().__init__()
        self._launcher = launcher
        self._temporary = TemporaryDirectory()
        self._folder = Path(self._temporary.name)
        self._letters: dict[bytes, Letter] = {}  # by octets
        self._foreign = 0
        self._retired: list[Path] = []  # destinations that were replaced
        self._settled = 0  # how many of the removed messages were removed before the last run

    @initialize(
        kind=st.sampled_from(["maildir", "mbox"]),
        pops=st.booleans(),
        capabilities=st.sampled_from([CAPABILITIES, ONE_AT_A_TIME]),
        count=st.integers(1, 8),
        copies=st.lists(picks, max_size=2),
    )
    def begin(
        self, kind: str, pops: bool, capabilities: tuple[bytes, ...], count: int, copies: list[int]
    ) -> None:
        self._kind = kind
        self._target = self._folder / kind
        self._mailbox = Mailbox([], pops=pops, capabilities=capabilities)
        self._server = ScriptedServer(self._mailbox).start()
        for _ in range(count):
            self._arrive(0)
        for pick in copies:
            self._arrive_again(pick)

    # -- what happens between the runs ---------------------------------------------------------

    @rule(happenings=st.lists(st.tuples(st.sampled_from(HAPPENINGS), picks), min_size=1, max_size=4))
    def meanwhile(self, happenings: list[tuple[str, int]]) -> None:
        for name, pick in happenings:
            getattr(self, name)(pick)

    def _arrive(self, _: int) -> None:
        self._put(b"uid-%d" % len(self._letters))

    def _put(self, uid: bytes, length: int | None = None) -> None:
        # No two have the same length: otherwise a UID that is used again could hide one.
        number = len(self._letters) + 1
        empty = len(message(number, b"x")) - 1
        octets = message(number, b"x" * ((length or 1000 + number) - empty))
        self._letters[octets] = Letter(octets)
        self._mailbox.add(octets, uid)

    def _arrive_again(self, pick: int) -> None:
        """An identical copy comes, and shares the UID (RFC 1939 section 7).

        If the server removes copies by itself, a new one could not be distinguished from an old one.
        """
        for original in chosen(self._mailbox.maildrop, pick):
            if not self._mailbox.pops:
                letter = self._letters[original.octets]
                letter.copies += 1
                # It may pass for one that was removed.
                is_removed = any(one.octets == original.octets for one in self._mailbox.removed)
                letter.excused += is_removed or bool(letter.excused)
                self._mailbox.add(original.octets, original.uid)

    def _reuse_a_uid(self, pick: int) -> None:
        """The UID of a deleted message is given to a new one, which may have the same length if we deleted
        it."""
        for old in chosen(self._mailbox.removed, pick):
            self._mailbox.removed.remove(old)
            self._settled -= 1
            if old.uid not in self._mailbox.uids:
                self._put(old.uid, None if self._mailbox.pops else len(old.octets))

    def _expunge(self, pick: int) -> None:
        """Another client removes a message: perhaps it was never delivered, and never will be."""
        for victim in chosen(self._mailbox.maildrop, pick):
            self._mailbox.maildrop.remove(victim)
            left = sum(one.octets == victim.octets for one in self._mailbox.maildrop)
            self._letters[victim.octets].excused += 1 + left  # it cannot be known which one it was

    def _resize(self, pick: int) -> None:
        """The server lists another size of the same message from now on.

        With another UID as well, only its headers are left, and a record with stand-ins expects another UID.
        """
        if any(stands_in(uid) for uid, _ in self._states()):
            return
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

    def _take_back(self, pick: int) -> None:
        """The server was restored, or has not carried out a deletion that it has confirmed."""
        for old in chosen(self._mailbox.removed, pick):
            self._mailbox.removed.remove(old)
            self._settled -= 1
            if old.uid not in self._mailbox.uids:
                self._mailbox.maildrop.insert(pick % (len(self._mailbox.maildrop) + 1), old)

    def _replace_the_destination(self, pick: int) -> None:
        """The owner puts the maildir or mbox aside; a new maildir may be in its place, or --create makes one.

        After a crash it could not be known what of the last run is in the old one.
        """
        if not self._whole or not self._target.exists():
            return
        self._retired.append(self._folder / f"retired-{len(self._retired)}")
        self._target.rename(self._retired[-1])
        if self._kind == "maildir" and pick % 2:
            for name in ("tmp", "new", "cur"):
                (self._target / name).mkdir(parents=True)

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

    @rule(options=options, refusal=refusals, pick=picks, hidden=st.booleans())
    def get_and_be_refused(
        self, options: list[str], refusal: dict[bytes, bytes], pick: int, hidden: bool
    ) -> None:
        """The server refuses one message, or sends it blank; a session before may have put it in doubt."""
        if hidden:
            self.get_while_some_seem_gone(["--keep"], pick, 1, None)
        for victim in chosen(self._mailbox.maildrop, pick):
            number = self._mailbox.maildrop.index(victim) + 1
            for verb, reply in refusal.items():
                line = b"%b %d%b\r\n" % (verb, number, b" 0" if verb == b"TOP" else b"")
                self._mailbox.replies[line] = self._beheaded(victim) if reply is HEADERS else reply
            state = self._state_of(victim) if self._whole else None
            there = self._delivered() if self._whole else None
            ended = self._run(*options)
            self._check(ended, disturbed=True)
            if there is not None and state in IN_DOUBT and len(refusal) > 1:
                self._require_still_in_doubt(victim, ended, there)
        self._mailbox.replies.clear()

    def _beheaded(self, victim: Message) -> bytes:
        letter = self._letters[victim.octets]
        letter.beheaded += 1
        if letter.beheaded > 1:  # so it is like that, and may be deleted
            letter.excused = letter.copies
        return b"+OK\r\n" + letter.headers + b".\r\n"

    def _require_still_in_doubt(self, victim: Message, ended: Ended, there: Counter[bytes]) -> None:
        """A look that failed decides nothing."""
        assert ended.status in (Status.REFUSED, Status.TRY_LATER), ended
        assert victim in self._mailbox.maildrop
        assert self._state_of(victim) is State.DOUBTED
        on_disk = self._letters[victim.octets].on_disk
        assert self._delivered()[on_disk] == there[on_disk]

    @rule(options=options, good_bye=good_byes)
    def get_and_have_nothing_deleted(self, options: list[str], good_bye: bytes) -> None:
        """QUIT is refused, or it is confirmed; in both cases nothing is deleted."""
        self._mailbox.replies[b"QUIT\r\n"] = good_bye
        self._check(self._run(*options), disturbed=True)
        self._mailbox.replies.clear()

    @rule(options=options)
    def get_and_lose_the_good_bye(self, options: list[str]) -> None:
        """QUIT is obeyed, and the reply lost."""
        self._mailbox.loses_quit = True
        self._check(self._run(*options), disturbed=True)
        self._mailbox.loses_quit = False

    @rule(options=options, number=st.integers(1, 5))
    def get_and_have_tmp_cleared(self, options: list[str], number: int) -> None:
        """Another program clears ``tmp`` while a message arrives."""

        def clear(_: Talk) -> None:
            self._clear_tmp(0)

        self._mailbox.after[b"RETR %d\r\n" % number] = clear
        self._check(self._run(*options), disturbed=True)
        self._mailbox.after.clear()

    @rule(options=options, is_mount_point=st.booleans())
    def get_without_the_destination(self, options: list[str], is_mount_point: bool) -> None:
        """The disk of the maildir is not mounted for once: nothing is fetched or deleted."""
        if self._kind != "maildir" or not any(self._target.glob("new/*")):
            return
        away = self._folder / "unmounted"
        self._target.rename(away)
        if is_mount_point:
            self._target.mkdir()
        before = list(self._mailbox.maildrop)
        ended = self._launch(*options)
        assert ended.status == Status.CANNOT_DELIVER and b"not mounted?" in ended.err, ended
        assert self._mailbox.maildrop == before
        if is_mount_point:
            self._target.rmdir()
        assert not self._target.exists()
        away.rename(self._target)

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
        self._excuse_copies()
        self._check(ended, disturbed=fault is not None)

    @rule(options=options, verb=st.sampled_from([b"LIST", b"UIDL"]), start=picks, count=st.integers(1, 3))
    def get_while_the_lists_disagree(self, options: list[str], verb: bytes, start: int, count: int) -> None:
        """One of LIST and UIDL lacks some messages."""
        start %= len(self._mailbox.maildrop) + 1
        lines = self._lines(verb)
        del lines[start : start + count]
        self._mailbox.replies[verb + b"\r\n"] = b"".join((b"+OK\r\n", *lines, b".\r\n"))
        self._check(self._run(*options), disturbed=True)
        self._mailbox.replies.clear()

    @rule(
        options=options,
        verb=st.sampled_from([b"LIST", b"UIDL"]),
        pick=picks,
        spoilt=st.sampled_from(
            [b"%d \x01", b"", b"x %d", b"%d 1\r\n%d 2", b"1 1", b"0 %d", b"%d " + b"9" * 9000]
        ),
    )
    def get_and_read_an_unusable_line(
        self, options: list[str], verb: bytes, pick: int, spoilt: bytes
    ) -> None:
        """One line of LIST or UIDL is invalid; it may have another message's number."""
        lines = self._lines(verb)
        if lines:
            place = pick % len(lines)
            lines[place] = spoilt.replace(b"%d", b"%d" % (place + 1)) + b"\r\n"
            self._mailbox.replies[verb + b"\r\n"] = b"".join((b"+OK\r\n", *lines, b".\r\n"))
            self._check(self._run(*options), disturbed=True)
            self._mailbox.replies.clear()

    def _lines(self, verb: bytes) -> list[bytes]:
        return [
            b"%d %b\r\n" % (number, b"%d" % message.size if verb == b"LIST" else message.uid)
            for number, message in enumerate(self._mailbox.maildrop, 1)
        ]

    @rule(options=options)
    def get_without_unique_ids(self, options: list[str]) -> None:
        self._mailbox.replies[b"UIDL\r\n"] = b"-ERR [SYS/TEMP] not now\r\n"
        self._check(self._run(*options), disturbed=True)
        self._mailbox.replies.clear()

    @rule(fault=st.none() | deaths)
    def mark(self, fault: Fault | None) -> None:
        """What is not delivered yet is not to be; if the run is disturbed, it may be all the same."""
        if not self._whole and self._kind == "mbox":
            return  # it cannot be read before the next run
        there = self._delivered()
        left = Counter(one.octets for one in self._mailbox.maildrop)
        ended = self._run("--mark", fault=fault)
        self._check(ended, disturbed=fault is not None)
        for octets, letter in self._letters.items():
            undelivered = letter.copies - letter.excused - there[letter.on_disk]
            letter.excused += max(0, min(undelivered, left[octets]))

    def _run(self, *options: str, fault: Fault | None = None) -> Ended:
        # A maildir that was put aside is missed, unless it was never delivered to.
        missed = self._retired and self._kind == "maildir" and "--mark" not in options
        return self._launch(*options, *(["--create"] if missed else []), fault=fault)

    def _launch(self, *options: str, fault: Fault | None = None) -> Ended:
        Machine.runs += 1
        # --mark takes no destination: that of the account is the default, to which nothing is written.
        output = () if "--mark" in options else ("-o", f"{self._kind}:{self._target}")
        ended = self._launcher.run(
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
        self._server.wait()
        return ended

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
        """If it is not known which of identical copies were deleted, the rest may pass for those."""
        left = Counter(one.octets for one in self._mailbox.maildrop)
        for octets in {one.octets for one in self._mailbox.removed[self._settled :]}:
            self._letters[octets].excused += left[octets]

    # -- what must be true -------------------------------------------------------------------

    def _state_of(self, message: Message) -> State | None:
        """Return what the record has of a message, or None."""
        alike = [one for one in self._mailbox.maildrop if one.uid == message.uid]
        return self._states().get((message.uid, alike.index(message)))

    def _states(self) -> dict[tuple[bytes, int], State]:
        address = f"alice@127.0.0.1:{self._server.port}"
        store = ReadOnlyStore(RecordPlace(self._folder / "state", address))
        try:
            return {(entry.key.uid, entry.key.occurrence): entry.state for entry in store.entries()}
        finally:
            store.close()

    def _delivered(self) -> Counter[bytes]:
        found = self._read_all(self._target)
        for retired in self._retired:
            found += self._read_all(retired)
        for number in range(1, self._foreign + 1):
            found[b"Subject: of others\n\nhello %d\n" % number] -= 1
        return +found

    def _read_all(self, target: Path) -> Counter[bytes]:
        if self._kind == "maildir":
            files = [*target.glob("new/*"), *target.glob("cur/*")]
            return Counter(path.read_bytes() for path in files)
        octets = target.read_bytes() if target.exists() else b""
        try:
            return Counter(messages_of_mboxrd(octets))
        except AssertionError:
            assert not self._whole, "a run that came to its end left half a message"
            raise

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
            headers = letter.headers.replace(b"\r\n", b"\n")
            assert there.pop(headers, 0) <= letter.beheaded, f"doubled headers: {letter}"
        assert not there, "damaged"

    def teardown(self) -> None:
        # A temporary folder that is left to the garbage collector warns, and hides why this test failed.
        with self._temporary:
            if hasattr(self, "_server"):
                self._finish()

    def _finish(self) -> None:
        try:
            self._check(self._run("--keep"), disturbed=False)
            there = self._delivered()
            for letter in self._letters.values():
                assert letter.copies - letter.excused <= there[letter.on_disk] <= letter.copies, letter
            self.nothing_is_lost_doubled_or_damaged()
            self._require_nothing_in_doubt()
            assert [*self._target.glob("tmp/*"), *self._folder.glob("state/draft-*")] == []
        finally:
            self._server.stop()

    def _require_nothing_in_doubt(self) -> None:
        for listed in self._mailbox.maildrop:
            may_be = {State.FETCHED}
            if is_short(listed.size, len(listed.octets)):
                may_be.add(State.SHORT)  # until it has come like that twice
            assert self._state_of(listed) in may_be, listed


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    with Launcher(tmp_path_factory.mktemp("launcher")) as launcher:
        yield launcher


@pytest.mark.parametrize(
    "examples", [8, pytest.param(EXAMPLES, marks=pytest.mark.slow)], ids=["a few", "many"]
)
def test_whatever_happens_each_message_is_delivered_once(launcher: Launcher, examples: int) -> None:
    class Launching(Machine):
        def __init__(self) -> None:
            super().__init__(launcher)

    run_state_machine_as_test(
        Launching,
        settings=settings(
            max_examples=examples,
            stateful_step_count=10,
            deadline=None,
            phases=[Phase.generate],  # to shrink an example would take minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
