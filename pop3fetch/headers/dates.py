"""The Date field (RFC 5322 section 3.3), also as people and programs have written it against the RFC.

A date whose zone is missing or unknown has no known value: better none than one that is hours wrong.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_USUAL_DATE = re.compile(
    r"""
    (?: [A-Za-z]{3} , [ ]* )?
    ([0-9]{1,2}) [ ] (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ ] ([0-9]{4}) [ ]
    ([0-9]{2}) : ([0-9]{2}) (?: : ([0-9]{2}) )? [ ]
    ( [+-] [0-9]{2} [0-5][0-9] | GMT | UTC? )
    [ ]*+ (?: \( | \Z )
    """,
    re.VERBOSE,
)

_DAY = r"(?P<day>[0-9]{1,2})(?:st|nd|rd|th|[.])?"
_MONTH = r"(?P<month>jan|feb|mar(?!ras)|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*+\.?"
_YEAR = r"(?P<year>[0-9]{4})(?![0-9])"
_TIME = (
    r"(?:at\s+)?(?P<hour>[0-9]{1,2})\s*[:.]\s*(?P<minute>[0-9]{1,2})"
    r"(?:\s*[:.]\s*(?P<second>[0-9]{1,2})(?:[.,][0-9]++)?)?(?![0-9:])(?:\s*(?P<half>[ap])\.?m\b\.?)?"
)
_BEFORE = r"(?:\s+(?P<before>[a-z]{1,5}|(?:gmt|utc?)?[+-][0-9:]{4,5}))?"


@lru_cache
def _unusual_forms() -> list[re.Pattern[str]]:
    return [
        # The name of a day is in any language.
        re.compile(rf"\s*(?:[^0-9,]{{2,20}}[\s,]\s*)??{form}(?P<zone>.*)", re.IGNORECASE | re.ASCII)
        for form in (
            # 2 Mar 2026 10:11:12 +0100, 02-Mar-26 10:11 EST
            rf"{_DAY}[\s/-]*{_MONTH}[\s/,-]*(?P<year>[0-9]{{2,4}})[\s,]+{_TIME}",
            # Mar 2, 2026 10:11:12 +0100
            rf"{_MONTH}\s*{_DAY}[\s,]+{_YEAR}[\s,]+{_TIME}",
            # Mar  2 10:11:12 EST 2026, Mar  2 10:11:12 2026 +0100
            rf"{_MONTH}\s*{_DAY}[\s,]+{_TIME}{_BEFORE}\s+{_YEAR}",
            rf"{_DAY}\s*{_MONTH}[\s,]+{_TIME}{_BEFORE}\s+{_YEAR}",
            # 2026-03-02T10:11:12+01:00, 2026/03/02 10:11:12 +0100, 2026 Mar 2 10:11:12 +0100
            rf"{_YEAR}(?P<mark>[/.-])(?P<month>[0-9]{{1,2}})(?P=mark){_DAY}[\sT]+{_TIME}",
            rf"{_YEAR}[\s/-]*{_MONTH}[\s/-]*{_DAY}[\s,]+{_TIME}",
        )
    ]


# An offset counts for more than a name: -0500, GMT+0100, EST -0500, UTC+1. A name that other words follow is
# another one: MET DST, GMT Daylight Time, EST/EDT.
_ZONE = (
    r"(?ai)\s*(?P<name>[a-z]{1,5}\b)?\s*"
    r"(?:(?P<sign>[+-])\s?(?P<hours>[0-9]{1,2})(?:(?P<colon>:?)(?P<minutes>[0-5][0-9])(?![\d:+-])|(?![\w:+-]))"
    r"|(?=[;,]|\Z))"
)
_LAST_COMMENT = r"\(([^()]*+)\)\s*+\Z"

_DATE_LIMIT = 200  # characters; a longer text is not a date

# There is no mail from earlier years; later ones overflow when a reader converts them to local time.
_YEARS = range(1900, 9999)

# In hours. Only names that mean one zone in the mail of the world: IST and BST have several, MSK has changed,
# and the military letters were specified with the wrong sign (RFC 5322 section 4.3).
_ZONES: dict[str, float] = {
    **{"ut": 0, "utc": 0, "gmt": 0, "z": 0, "wet": 0},
    **{"est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7},
    **{"akst": -9, "akdt": -8, "hst": -10, "nst": -3.5, "ndt": -2.5},
    **{"west": 1, "cet": 1, "met": 1, "mez": 1},
    **{"cest": 2, "mest": 2, "mesz": 2, "eet": 2, "sast": 2, "eest": 3},
    **{"hkt": 8, "sgt": 8, "jst": 9, "kst": 9, "awst": 8, "acst": 9.5, "acdt": 10.5, "aest": 10, "aedt": 11},
    **{"nzst": 12, "nzdt": 13},
}


def parse_date(text: str) -> datetime | None:
    """Return the date, which is aware; None if its value cannot be known."""
    try:
        date = _usual_date(text) or _unusual_date(text[:_DATE_LIMIT])
    except (ArithmeticError, ValueError):  # what datetime raises
        return None
    return date if date and date.year in _YEARS else None


def _usual_date(text: str) -> datetime | None:
    match = _USUAL_DATE.match(text)
    if match is None:
        return None
    day, month, year, hour, minute, second, zone = match.groups()
    return datetime(
        int(year),
        _MONTHS.index(month.lower()) + 1,
        int(day),
        int(hour),
        int(minute),
        _second(second),
        tzinfo=_zone(zone),
    )


def _second(text: str | None) -> int:
    second = int(text or 0)
    return 59 if second == 60 else second  # Python does not have leap seconds


@lru_cache(maxsize=64)
def _zone(zone: str) -> timezone:
    if zone[0] not in "+-":
        return UTC
    return _offset(zone[0], int(zone[1:3]), int(zone[3:]))


def _offset(sign: str, hours: float, minutes: int = 0) -> timezone:
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if sign == "-" else offset)


def _unusual_date(text: str) -> datetime | None:
    text = " ".join(_QUOTED_PAIR.sub("", text).split()).translate(_MINUS)
    bare, comments = text, 1
    while comments:
        bare, comments = _COMMENT.subn(" ", bare)
    bare = bare.partition("(")[0]
    for form in _unusual_forms():
        if match := form.match(bare):
            parts = match.groupdict()
            comment = re.search(_LAST_COMMENT, text)
            zone = _unusual_zone(
                parts.get("before") or parts["zone"].strip() or (comment[1] if comment else "")
            )
            return zone and _built(parts, zone)
    return None


_COMMENT = re.compile(r"\([^()]*+\)")
_QUOTED_PAIR = re.compile(r"\\.")
_MINUS = str.maketrans("\u2010\u2011\u2012\u2013\u2212", "-----")  # of programs that write for people


def _unusual_zone(text: str) -> timezone | None:
    match = re.match(_ZONE, text)
    if match is None:
        return None
    name, sign, hours, colon, minutes = match.groups()
    name = (name or "").lower()
    if sign and (len(hours) == 2 or colon or name in ("gmt", "utc")):
        return _offset(sign, int(hours), int(minutes or 0))
    known = None if sign else _ZONES.get(name)
    return None if known is None else _offset("+", known)


def _built(parts: dict[str, str | None], zone: timezone) -> datetime:
    def number(name: str) -> int:
        return int(parts[name] or 0)

    month = (parts["month"] or "").lower()
    year = number("year")
    if len(parts["year"] or "") < 4:  # obsolete (RFC 5322 section 4.3)
        year += 2000 if year < 50 else 1900
    hour = number("hour")
    if half := (parts["half"] or "").lower():
        if not 1 <= hour <= 12:
            raise ValueError(hour)
        hour = hour % 12 + (12 if half == "p" else 0)
    return datetime(
        year,
        number("month") if month.isdigit() else _MONTHS.index(month) + 1,
        number("day"),
        hour,
        number("minute"),
        _second(parts["second"]),
        tzinfo=zone,
    )
