"""The words SIZE, DURATION and WHEN of the command line and the configuration file. Pure.

Each function reads one word, and raises ValueError with the second half of a sentence ("must be ...").
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

OCTETS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}

LONGEST = timedelta(days=36_500)  # a century back is still a date

When = datetime | timedelta  # a moment, which is aware; or an age, which counts back from now

# ASCII alone: \d would take Arabic digits as well.
_SIZE = re.compile(r"([0-9]{1,18})([KMG]?)", re.IGNORECASE)
_DURATION = re.compile(r"([0-9]{1,18})([smhdw])")
_AGE = re.compile(r"[0-9]+[hdw]")  # without m: `rm --before 6m` must not delete what is 6 minutes old
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?",
    re.IGNORECASE,
)


def size(word: str) -> int:
    """Return a SIZE in octets: ``500000``, ``64K``, ``10M`` or ``1G``."""
    match = _SIZE.fullmatch(word)
    if match is None:
        raise ValueError(f"must be a number of octets such as 500000, 64K or 10M, not {word!r}")
    return int(match[1]) * OCTETS[match[2].upper()]


def duration(word: str) -> timedelta:
    """Return a DURATION: ``90s``, ``5m``, ``12h``, ``7d`` or ``4w``."""
    match = _DURATION.fullmatch(word)
    if match is None:
        raise ValueError(f"must be a duration such as 90s, 5m, 12h, 7d or 4w, not {word!r}")
    seconds = int(match[1]) * SECONDS[match[2]]
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"must be at most {LONGEST.days}d, not {word!r}")
    return timedelta(seconds=seconds)


def when(word: str) -> When:
    """Return a WHEN: ``2026-11-01``, ``2026-11-01T12:00``, or an age: ``12h``, ``7d``, ``4w``.

    A date without a zone is local time, and one without a time is the beginning of the day.
    """
    if _AGE.fullmatch(word):
        return duration(word)
    try:
        return datetime.fromisoformat(word if _DATE.fullmatch(word) else "").astimezone()
    except (ArithmeticError, OSError, ValueError):  # what datetime raises
        raise ValueError(
            f"must be a date such as 2026-11-01 or 2026-11-01T12:00, or an age of hours, days or weeks"
            f" such as 12h, 7d or 4w, not {word!r}"
        ) from None


def moment(when: When, now: datetime) -> datetime:
    """Return the moment that a WHEN means; ``now`` is aware."""
    return now - when if isinstance(when, timedelta) else when
