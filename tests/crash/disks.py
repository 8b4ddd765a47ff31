"""What may happen to the disk or the folder of a destination: between two runs, or during one."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pop3fetch.status import Status
from tests.crash.misfortunes import NEVER, Misfortune
from tests.crash.trial import Scenario, Trial
from tests.support.launcher import Fault, Launcher


def take_away(trial: Trial, *, leave_folder: bool = False) -> None:
    """Unmount the disk, if there is one; ``leave_folder``: its mount point stays, and is empty."""
    if trial.disk.exists():
        trial.disk.rename(trial.away)
        if leave_folder:
            trial.disk.mkdir(0o700)


def back_again(trial: Trial) -> None:
    """Require that no run delivers or deletes anything while the disk is away; then mount it again.

    A disk to which nothing was delivered may be made anew, and then the new one stays.
    """
    if trial.has_mail(trial.away):
        for option in ("--keep", "--delete"):
            _require_refusal(trial, option)
        if any(path.is_file() for path in trial.disk.rglob("*")):
            trial.verdict.complaints.append("mail was delivered below the mount point")
    elif trial.has_mail(trial.disk):
        return
    if trial.away.exists():
        shutil.rmtree(trial.disk, ignore_errors=True)
        trial.away.rename(trial.disk)


def _require_refusal(trial: Trial, option: str) -> None:
    before = trial.on_the_server()
    ended = trial.get(option)
    if ended.status != Status.CANNOT_DELIVER or ended.err.count(b"\n") != 1:
        trial.verdict.complaints.append(f"{option} ended with {ended} while the disk was away")
    if trial.on_the_server() != before:
        trial.verdict.complaints.append(f"{option} deleted messages while the disk was away")


def replace(trial: Trial) -> None:
    """Move the disk away for good, and put an empty maildir or mbox in its place."""
    take_away(trial, leave_folder=True)
    if trial.is_maildir:
        for name in ("tmp", "new", "cur"):
            (trial.disk / name).mkdir(0o700)
    else:
        trial.target.touch(0o600)


# -- during a run ----------------------------------------------------------------------------------


def clear_tmp_meanwhile(trial: Trial) -> None:
    """Another program removes what is in ``tmp``."""
    for path in trial.disk.glob("tmp/*"):
        path.unlink(missing_ok=True)  # our run may do the same


def remove_tmp(trial: Trial) -> None:
    """Another program removes ``tmp`` itself."""
    shutil.rmtree(trial.disk / "tmp", ignore_errors=True)


def remove_new(trial: Trial) -> None:
    """Another program moves ``new`` away, with the mail in it."""
    if (trial.disk / "new").exists():
        trial.away.mkdir()
        (trial.disk / "new").rename(trial.away / "new")


def unmount_meanwhile(trial: Trial) -> None:
    """The disk goes away, and comes back later."""
    take_away(trial)


def unmount_to_a_folder(trial: Trial) -> None:
    """The disk goes away, its mount point stays, and the disk comes back later."""
    take_away(trial, leave_folder=True)


def replace_meanwhile(trial: Trial) -> None:
    """The folder is moved away, and an empty maildir or mbox takes its place."""
    if trial.disk.exists():
        replace(trial)


def take_the_mbox(trial: Trial) -> None:
    """A mail reader moves the mbox away, as it moves read mail to another folder."""
    if trial.target.exists():
        trial.away.mkdir()
        trial.target.rename(trial.away / "mbox")


FOR_EACH = {
    function.__name__: function for function in (unmount_meanwhile, unmount_to_a_folder, replace_meanwhile)
}
FOR_MAILDIRS = {function.__name__: function for function in (clear_tmp_meanwhile, remove_tmp, remove_new)}
FOR_MBOXES = {take_the_mbox.__name__: take_the_mbox}
MISHAPS: dict[str, Callable[[Trial], None]] = {**FOR_EACH, **FOR_MAILDIRS, **FOR_MBOXES}
COME_BACK = (unmount_meanwhile.__name__, unmount_to_a_folder.__name__)
LEAVE_NO_LITTER = (clear_tmp_meanwhile.__name__, remove_tmp.__name__, take_the_mbox.__name__)


@dataclass(frozen=True, slots=True)
class Mishap(Misfortune):
    """A run waits before its ``step``-th step, something happens to its disk, and it goes on.

    If an earlier run has ``died`` before a step of its own, this one has to settle what that left.
    """

    step: int
    name: str
    died: int | None = None

    kind = "disks"

    @property
    def names(self) -> set[str]:
        return {self.kind, self.scenario.name, self.name}

    def befall(self, trial: Trial) -> None:
        if self.died:
            trial.get(fault=Fault(self.died))
            trial.is_half_done = True
        ended = trial.get(fault=Fault(self.step, waits=True), meanwhile=lambda: MISHAPS[self.name](trial))
        trial.look_at_an_end_in_order(
            ended,
            (Status.OK, Status.CANNOT_DELIVER),
            hindered=self.name not in LEAVE_NO_LITTER,
            lines=len(self.scenario.messages),  # each that vanished from tmp is named
        )
        trial.look_between()
        if self.name in COME_BACK:
            back_again(trial)


def during(launcher: Launcher, scenario: Scenario, stride: int = 1) -> list[Misfortune]:
    """Return each mishap at every ``stride``-th step of a run."""
    steps = range(1, _steps(launcher, scenario) + 1, stride)
    return [Mishap(scenario, step, name) for step in steps for name in _fitting(scenario)]


def during_settling(launcher: Launcher, scenario: Scenario, count: int) -> list[Misfortune]:
    """Return so many mishaps, at random, during a run that follows a death."""
    steps = _steps(launcher, scenario)
    names = list(_fitting(scenario))
    return [
        Mishap(scenario, random.randint(1, steps), random.choice(names), died=random.randint(1, steps))
        for _ in range(count)
    ]


def _steps(launcher: Launcher, scenario: Scenario) -> int:
    with TemporaryDirectory() as folder, Trial(launcher, Path(folder), scenario) as trial:
        trial.get(fault=Fault(NEVER, waits=True))
    return launcher.steps


def _fitting(scenario: Scenario) -> Mapping[str, Callable[[Trial], None]]:
    return FOR_EACH | (FOR_MAILDIRS if scenario.destination == "maildir" else FOR_MBOXES)
