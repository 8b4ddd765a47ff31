"""What may contradict the record after a run that died: another program, a disk, or the server.

Each is tried out after a death at any step; then a run that nothing disturbs must put everything right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.crash.disks import back_again, replace, take_away
from tests.crash.misfortunes import NEVER, Misfortune
from tests.crash.trial import Scenario, Trial
from tests.support.fetching import message
from tests.support.launcher import Fault, Launcher
from tests.support.mail_server import Message

BLANK = b"+OK\r\n\r\n.\r\n"
LATER = b"-ERR [SYS/TEMP] not now\r\n"
SHORTEST = len(message(99, b"y"))  # octets of a message that can be given a UID again


def clear_tmp(trial: Trial) -> None:
    """Another program removes what is old in ``tmp``, as Dovecot does."""
    for path in trial.disk.glob("tmp/*"):
        path.unlink()


def unmount(trial: Trial) -> None:
    """The folder is gone for two runs, with and without --delete."""
    take_away(trial)
    back_again(trial)


def leave_an_empty_folder(trial: Trial) -> None:
    """The folder is gone for two runs, and its mount point is there."""
    take_away(trial, leave_folder=True)
    back_again(trial)


def replace_the_folder(trial: Trial) -> None:
    """The folder is moved away for good, and an empty maildir or mbox takes its place."""
    if trial.has_mail(trial.disk):
        replace(trial)
        trial.is_half_done = True


def list_some(trial: Trial) -> None:
    """The server lists a part of the maildrop for one session."""
    _session_with(trial, lambda maildrop: maildrop[:3])


def list_nothing(trial: Trial) -> None:
    """The server lists nothing for two sessions."""
    _session_with(trial, lambda maildrop: [])
    _session_with(trial, lambda maildrop: [])


def keep_what_was_deleted(trial: Trial) -> None:
    """The server has confirmed QUIT, and is restarted from what it had before."""
    before = trial.mailbox.maildrop
    trial.get()
    trial.mailbox.maildrop = before


def refuse_looks(trial: Trial) -> None:
    """Messages are in doubt, and can be neither looked at nor retrieved for one session."""
    list_some(trial)
    numbers = range(1, len(trial.mailbox.maildrop) + 1)
    commands = (line for n in numbers for line in (b"TOP %d 0\r\n" % n, b"RETR %d\r\n" % n))
    _session_with_replies(trial, dict.fromkeys(commands, LATER))


def refuse_top(trial: Trial) -> None:
    """Messages are in doubt, and only RETR shows them."""
    list_some(trial)
    numbers = range(1, len(trial.mailbox.maildrop) + 1)
    _session_with_replies(trial, {b"TOP %d 0\r\n" % number: LATER for number in numbers})


def refuse_uidl(trial: Trial) -> None:
    """The server has no UIDL for one session."""
    _session_with_replies(trial, {b"UIDL\r\n": LATER})


def spoil_a_line_of_list(trial: Trial) -> None:
    """The size of one message is not a number for two sessions."""
    _spoil(trial, b"LIST", lambda number, message: b"%d x" % number)


def spoil_a_line_of_uidl(trial: Trial) -> None:
    """The unique-id of one message has control characters for two sessions."""
    _spoil(trial, b"UIDL", lambda number, message: b"%d \x1b%b" % (number, message.uid))


def give_a_number_twice(trial: Trial) -> None:
    """UIDL gives one message the number of the one before it for two sessions."""
    _spoil(trial, b"UIDL", lambda number, message: b"%d %b" % (number - 1, message.uid))


def send_a_blank(trial: Trial) -> None:
    """The server has not got the second message yet."""
    _session_with_replies(trial, {b"RETR 2\r\n": BLANK})


def give_a_uid_again(trial: Trial) -> None:
    """Another client deletes a message, and a new one of the same size gets its UID."""
    trial.get("--keep")
    for old in trial.mailbox.maildrop:
        # If it is not deleted, no look distinguishes it from the old one, and nothing is lost on the server.
        if trial.is_to_go(old) and len(old.octets) >= SHORTEST:
            trial.replace(old, _another(len(old.octets)))
            return


def give_a_uid_to_another_size(trial: Trial) -> None:
    """Another client deletes a message, and a longer one gets its UID."""
    trial.get("--keep")
    for old in trial.mailbox.maildrop[:1]:
        trial.replace(old, _another(len(old.octets) + SHORTEST))


def give_deleted_uids_again(trial: Trial) -> None:
    """We have deleted messages, and new ones get their UIDs: one of the same size, and a longer one."""
    before = trial.mailbox.maildrop
    trial.get()
    gone = [old for old in before if old not in trial.mailbox.maildrop]
    long_enough = [old for old in gone if len(old.octets) >= SHORTEST]
    for old, longer in zip(long_enough[:2], (0, 1), strict=False):
        trial.put(_another(len(old.octets) + longer, number=98 + longer), old.uid)


def _another(size: int, number: int = 99) -> bytes:
    empty = len(message(number, b"x")) - 1
    return message(number, b"y" * (size - empty))


CONTRADICTIONS: dict[str, Callable[[Trial], None]] = {
    function.__name__: function
    for function in (
        clear_tmp, unmount, leave_an_empty_folder, replace_the_folder, list_some, list_nothing,
        keep_what_was_deleted, refuse_looks, refuse_top, refuse_uidl, spoil_a_line_of_list,
        spoil_a_line_of_uidl, give_a_number_twice, send_a_blank, give_a_uid_again, give_a_uid_to_another_size,
        give_deleted_uids_again,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Contradiction(Misfortune):
    """A run dies before its ``step``-th step, and then something contradicts the record."""

    step: int
    name: str

    kind = "doubt"

    @property
    def names(self) -> set[str]:
        return {self.kind, self.scenario.name, self.name}

    def befall(self, trial: Trial) -> None:
        trial.get(fault=Fault(self.step))
        CONTRADICTIONS[self.name](trial)


def contradicted(launcher: Launcher, scenario: Scenario, stride: int = 1) -> list[Misfortune]:
    """Return each contradiction after a death at every ``stride``-th step of a run, and after a whole run."""
    with TemporaryDirectory() as folder, Trial(launcher, Path(folder), scenario) as trial:
        trial.get(fault=Fault(step=NEVER))
    steps = [*range(1, launcher.steps + 1, stride), NEVER]
    return [Contradiction(scenario, step, name) for step in steps for name in CONTRADICTIONS]


def _session_with(trial: Trial, change: Callable[[list[Message]], list[Message]]) -> None:
    """Make a run for which the maildrop is another one; what it deletes of it is gone."""
    mailbox = trial.mailbox
    whole = mailbox.maildrop
    mailbox.maildrop = shown = change(whole)
    trial.get()
    gone = [one for one in shown if one not in mailbox.maildrop]
    mailbox.maildrop = [one for one in whole if one not in gone]


def _spoil(trial: Trial, verb: bytes, line: Callable[[int, Message], bytes]) -> None:
    """Make two sessions in which the line of the second message in one list is another one."""
    for _ in range(2):
        lines = [
            line(number, one)
            if number == 2
            else b"%d %b" % (number, b"%d" % one.size if verb == b"LIST" else one.uid)
            for number, one in enumerate(trial.mailbox.maildrop, 1)
        ]
        _session_with_replies(trial, {verb + b"\r\n": b"\r\n".join([b"+OK", *lines, b".\r\n"])})


def _session_with_replies(trial: Trial, replies: dict[bytes, bytes]) -> None:
    trial.mailbox.replies = replies
    trial.get()
    trial.mailbox.replies = {}
