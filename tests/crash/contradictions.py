"""What may contradict the record after a run that died: another program, a disk, or the server.

Each is tried out after a death at any step; then a run that nothing disturbs must put everything right.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.crash.misfortunes import NEVER, Misfortune
from tests.crash.trial import Scenario, Trial
from tests.support.fetching import message
from tests.support.launcher import Fault, Launcher
from tests.support.mail_server import Mailbox, Message

BLANK = b"+OK\r\n\r\n.\r\n"
LATER = b"-ERR [SYS/TEMP] not now\r\n"


def clear_tmp(trial: Trial) -> None:
    """Another program removes what is old in ``tmp``, as Dovecot does."""
    for path in trial.target.glob("tmp/*"):
        path.unlink()


def unmount(trial: Trial) -> None:
    """The folder is gone for two runs, with and without --delete."""
    with _away(trial) as is_away:
        for option in ("--keep", "--delete") if is_away else ():
            trial.get(option)
        _require_nothing_below(trial, is_away)


def leave_an_empty_folder(trial: Trial) -> None:
    """The folder is gone for a run, and its mount point is there."""
    with _away(trial) as is_away:
        if is_away:
            trial.target.mkdir()
            trial.get("--delete")
        _require_nothing_below(trial, is_away)


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


def send_a_blank(trial: Trial) -> None:
    """The server has not got the second message yet."""
    _session_with_replies(trial, {b"RETR 2\r\n": BLANK})


def give_a_uid_again(trial: Trial) -> None:
    """Another client deletes a message, and a new one of the same size gets its UID."""
    trial.get("--keep")
    if not trial.deletes:
        return  # whether it is another one can be told by a look, which only a deletion needs
    empty = len(message(99, b"x")) - 1
    maildrop = trial.mailbox.maildrop
    for index, old in enumerate(maildrop):
        if len(old.octets) > empty:
            other = message(99, b"y" * (len(old.octets) - empty))
            maildrop[index] = Mailbox([other], uids=[old.uid]).maildrop[0]
            trial.expect(other)
            return


CONTRADICTIONS: dict[str, Callable[[Trial], None]] = {
    function.__name__: function
    for function in (
        clear_tmp, unmount, leave_an_empty_folder, list_some, list_nothing, keep_what_was_deleted,
        refuse_looks, refuse_top, refuse_uidl, send_a_blank, give_a_uid_again,
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Contradiction(Misfortune):
    """A run dies before its ``step``-th step, and then something contradicts the record."""

    step: int
    name: str

    kind = "doubt"

    def befall(self, trial: Trial) -> None:
        trial.get(fault=Fault(self.step))
        CONTRADICTIONS[self.name](trial)


def contradicted(launcher: Launcher, scenario: Scenario, stride: int = 1) -> list[Misfortune]:
    """Return each contradiction after a death at every ``stride``-th step of a run, and after a whole run."""
    with TemporaryDirectory() as folder, Trial(launcher, Path(folder), scenario) as trial:
        trial.get(fault=Fault(step=NEVER))
    steps = [*range(1, launcher.steps + 1, stride), NEVER]
    return [Contradiction(scenario, step, name) for step in steps for name in CONTRADICTIONS]


@contextmanager
def _away(trial: Trial) -> Iterator[bool]:
    """Take a maildir that has mail away for a while; tell whether there is one."""
    away = trial.target.with_name("away")
    if not any(trial.target.glob("new/*")):
        yield False
        return
    trial.target.rename(away)
    yield True
    shutil.rmtree(trial.target, ignore_errors=True)
    away.rename(trial.target)


def _require_nothing_below(trial: Trial, is_away: bool) -> None:
    if is_away and any(path.is_file() for path in trial.target.rglob("*")):
        trial.verdict.complaints.append("mail was delivered below the mount point")


def _session_with(trial: Trial, change: Callable[[list[Message]], list[Message]]) -> None:
    """Make a run for which the maildrop is another one; what it deletes of it is gone."""
    mailbox = trial.mailbox
    whole = mailbox.maildrop
    mailbox.maildrop = shown = change(whole)
    trial.get()
    gone = [one for one in shown if one not in mailbox.maildrop]
    mailbox.maildrop = [one for one in whole if one not in gone]


def _session_with_replies(trial: Trial, replies: dict[bytes, bytes]) -> None:
    trial.mailbox.replies = replies
    trial.get()
    trial.mailbox.replies = {}
