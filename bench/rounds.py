"""Runs a scenario: every contender in turn, round after round, each in a fresh folder, checked each time."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median

from bench import mail
from bench.contenders import Contender, Role
from bench.mail import Post
from bench.measure import RunFailed, Usage, run
from bench.peers import Errand
from bench.scenarios import Scenario
from bench.server import Server

FEW_FILES = 10
LONG = 5.0  # seconds
FAR_BEHIND = 10  # times as long as the fastest


@dataclass(slots=True)
class Row:
    """What came out for one contender; ``failure`` says why there is nothing, or no more."""

    contender: Contender
    usages: list[Usage] = field(default_factory=list)
    failure: str | None = None

    @property
    def complete(self) -> bool:
        """Whether every run succeeded."""
        return bool(self.usages) and self.failure is None

    @property
    def wall(self) -> float:
        """Return the median of the wall times."""
        return median(usage.wall for usage in self.usages)

    @property
    def cpu(self) -> float:
        """Return the median of the CPU times."""
        return median(usage.cpu for usage in self.usages)

    @property
    def peak(self) -> int:
        """Return the largest peak of memory."""
        return max(usage.peak for usage in self.usages)


class Track:
    """The place of the runs: a server, and a folder on the disk."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._runs = count(1)

    def run(self, scenario: Scenario, rounds: int) -> list[Row]:
        """Return a row for each contender, in their order."""
        rows = [Row(contender, failure=contender.absent) for contender in scenario.contenders]
        self._warm(scenario)
        for turn in range(rounds):
            for row in _rotated(rows, turn):
                if row.failure is None and not _is_out_of_the_race(row, rows):
                    self._attempt(scenario, row)
        return rows

    def _attempt(self, scenario: Scenario, row: Row) -> None:
        try:
            for _ in range(scenario.runs):
                row.usages.append(self._once(scenario, row.contender))
        except RunFailed as error:
            row.failure = str(error)
        outcome = row.failure or f"{row.usages[-1].wall:.3f} s"
        print(f"{row.contender.name}: {outcome}", file=sys.stderr)

    def _once(self, scenario: Scenario, contender: Contender) -> Usage:
        errand = self._errand(scenario)
        if scenario.refill:
            for user in scenario.users:
                self._server.refill(user, scenario.refill, scenario.count)
            self._warm(scenario)
        if scenario.remembers and contender.remember:
            uids = self._server.warm(*scenario.users)
            run(contender.remember(errand, uids), errand.folder)
        if scenario.known and contender.meet:
            run(contender.meet(errand), errand.folder)
        usage = run(contender.commands(errand), errand.folder)
        if contender.role is not Role.LIMIT:
            self._check(scenario, errand)
        if scenario.count <= FEW_FILES:
            shutil.rmtree(errand.folder)  # thousands of files stay to the end: see disk.py
        return usage

    def _errand(self, scenario: Scenario) -> Errand:
        folder = self._folder / str(next(self._runs))
        folder.mkdir()
        mailboxes = [self._server.mailbox(user, far=scenario.far) for user in scenario.users]
        errand = Errand(mailboxes, folder, scenario.count, delete=scenario.refill is not None)
        for mailbox in mailboxes:
            for part in ("tmp", "new", "cur"):
                (errand.maildir(mailbox) / part).mkdir(parents=True)
        return errand

    def _check(self, scenario: Scenario, errand: Errand) -> None:
        if scenario.check:
            scenario.check(errand)
        if scenario.post is not None:
            self._check_mail(scenario.post, errand)

    def _check_mail(self, post: Post, errand: Errand) -> None:
        left = 0 if errand.delete else errand.count
        for mailbox in errand.mailboxes:
            mail.verify(errand.maildir(mailbox), post)
            if self._server.count(mailbox.user) != left:
                raise RunFailed(f"left {self._server.count(mailbox.user)} messages on the server, not {left}")

    def _warm(self, scenario: Scenario) -> None:
        for user in scenario.users:
            self._server.warm(user)


def _is_out_of_the_race(row: Row, rows: Sequence[Row]) -> bool:
    """Return whether it took so long that once is enough; the limits do not take part in the race."""
    racing = (other for other in rows if other.usages and other.contender.role is not Role.LIMIT)
    fastest = min((other.wall for other in racing), default=LONG)
    return bool(row.usages) and row.wall > max(LONG, FAR_BEHIND * fastest)


def _rotated(rows: Sequence[Row], turn: int) -> list[Row]:
    start = turn % len(rows)
    return [*rows[start:], *rows[:start]]
