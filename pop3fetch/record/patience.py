"""How long the runs of an account have failed: temporary failures are only reported if they last.

Kept beside the record and not in it, because a run may fail before it has the record. Times are seconds since
the epoch.
"""

from __future__ import annotations

import re
from contextlib import suppress

from pop3fetch.record.place import FAILING, RecordPlace
from pop3fetch.record.states import DAY
from pop3fetch.values import NamedTuple

REPORT_AGAIN = DAY  # seconds from one report to the next
NUMBER = re.compile("[0-9]{1,11}")  # up to the year 5138


class Failures(NamedTuple):
    """Temporary failures without a success between them: when the first was, and how many there were.

    ``reported``: when they were last reported; 0 if never.
    """

    since: int
    times: int
    reported: int = 0

    def is_due(self, now: float) -> bool:
        """Whether the last report is a day ago; one in the future of a clock set back does not count."""
        return not (self.reported and 0 <= now - self.reported < REPORT_AGAIN)


class Patience:
    """The failures of an account; after ``limit`` seconds they are to be reported."""

    def __init__(self, place: RecordPlace, limit: float) -> None:
        self._place = place
        self._limit = limit

    def failed(self, now: float) -> Failures:
        """Count a failure at ``now``, and return all; raises OSError or RecordError if it cannot be kept."""
        before = self.read() or Failures(int(now), 0)
        since = min(before.since, int(now))  # unless the clock was set back, it is the earlier one
        failures = before._replace(since=since, times=before.times + 1)
        self._keep(failures)
        return failures

    def is_over(self, failures: Failures, now: float) -> bool:
        """Whether they have lasted for too long."""
        return now - failures.since >= self._limit

    def reported(self, failures: Failures, now: float) -> None:
        """Remember that they are reported at ``now``; raises what :meth:`failed` does."""
        self._keep(failures._replace(reported=int(now)))

    def succeeded(self) -> Failures | None:
        """Forget the failures; return those that were reported, whose end is to be reported too."""
        failures = self.read()
        with suppress(OSError):
            self._place.beside(FAILING).unlink()
        return failures if failures and failures.reported else None

    def read(self) -> Failures | None:
        """Return the failures since the last success, None if there are none."""
        try:
            words = self._place.beside(FAILING).read_text("ascii").split()
        except (OSError, ValueError):
            return None
        if len(words) != len(Failures._fields) or not all(map(NUMBER.fullmatch, words)):  # torn
            return None
        return Failures(*map(int, words))

    def _keep(self, failures: Failures) -> None:
        self._place.keep_beside(FAILING, " ".join(map(str, failures)) + "\n")
