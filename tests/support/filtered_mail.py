"""Messages of every kind that a filter may meet, and what each filter chooses of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime


def _message(sender: str, to: str, subject: str, date: str = "", body: str = "text") -> bytes:
    fields = {"From": sender, "To": to, "Subject": subject, "Date": date}
    lines = [f"{name}: {value}" for name, value in fields.items() if value]
    return "\r\n".join([*lines, "", body, ""]).encode()


def _ago(**time: int) -> str:
    return format_datetime(datetime.now(UTC) - timedelta(**time))


BOB, CAROL = "Bob <bob@example.com>", "carol@example.com"
ALICE, TEAM = "Alice <alice@example.org>", "Team <team@example.org>"

MAIL = [
    _message(BOB, ALICE, "=?utf-8?q?Gr=C3=BC=C3=9Fe?=", _ago(days=40)),
    _message(CAROL, TEAM, "Invoice 1", _ago(days=10)),
    _message(CAROL, ALICE, "Re: Gruesse", _ago(hours=2)),
    _message(BOB, ALICE, "no date"),
    _message(BOB, ALICE, "no zone", "Mon, 2 Nov 2020 10:00:00"),
    _message(BOB, f"{TEAM}, {ALICE}", "invoice 2", _ago(days=20), body="x" * 3000),
    b"\r\nno headers\r\n",
]
EVERYTHING = [1, 2, 3, 4, 5, 6, 7]

# The options, and the numbers of the messages that they choose.
CHOICES: list[tuple[str, list[int]]] = [
    ("--from bob", [1, 4, 5, 6]),
    ("--from BOB@EXAMPLE.COM", [1, 4, 5, 6]),
    ("--from carol", [2, 3]),
    ("--from @example.com", [1, 2, 3, 4, 5, 6]),
    ("--from example.org", []),
    ("--to team@", [2, 6]),
    ("--to alice", [1, 3, 4, 5, 6]),
    ("--subject grüsse", [1]),
    ("--subject invoice", [2, 6]),
    ("--since 7d", [3]),
    ("--since 12h", [3]),
    ("--since 0d", []),
    ("--since 1999-12-31", [1, 2, 3, 6]),
    ("--before 4w", [1]),
    ("--before 15d", [1, 6]),
    ("--before 2099-12-31T23:59", [1, 2, 3, 6]),
    ("--larger 3000", [6]),
    ("--larger 1G", []),
    ("--smaller 2K", [1, 2, 3, 4, 5, 7]),
    ("--since 30d --before 15d", [6]),
    ("--from bob --to team", [6]),
    ("--from bob --larger 2K", [6]),
    ("--from bob --smaller 2K --before 4w", [1]),
    ("--from carol --larger 2K", []),
    ("--from bob --to alice --subject invoice --since 30d --before 15d --larger 2K --smaller 4K", [6]),
    ("--from bob 2-5", [4, 5]),
    ("--subject invoice last:2", [6]),
    ("--smaller 2K 6", []),
    ("--to alice 3,1", [3, 1]),
]
