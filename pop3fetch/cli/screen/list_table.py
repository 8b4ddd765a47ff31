"""The table of messages on a terminal: it takes the whole width, and each row is printed as it arrives."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from itertools import accumulate, chain
from typing import TextIO

from rich.cells import get_character_cell_size
from rich.color import ColorSystem
from rich.style import Style

from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.screen.numbers import UNKNOWN, human_size
from pop3fetch.headers.summary import Summary, one_line
from pop3fetch.messages import Message, shown_uid
from pop3fetch.printable import printable

NARROW = 70  # columns; on fewer, dates and gaps are short
LEAST = 4  # columns of a text that is cut
MOST_SENDER = 30  # columns; of most people it shows the whole name
SIZE = len("999 kB")

PLAIN = Style()
TITLE = Style(bold=True)
MARK = Style(color="green", bold=True)
DATE = Style(color="cyan")
NEW = Style(bold=True)  # the subject of a new message

_NAMED = re.compile(r'"?(?P<name>[^"<>]*[^"<>\s])"?\s*<[^<>]*>')

# The message, a mark such as * if it is new, its headers, and whether LIST names its size.
Row = tuple[Message, str, Summary | None, bool]


def show(
    console: Console, stream: TextIO, rows: Iterable[Row], last_number: int, *, mark_width: int = 1
) -> bool:
    """Print the table: number, new mark, date, sender, subject and size, or the UID instead of three.

    All rows have a summary, or none has. ``last_number``: the highest number.
    ``mark_width``: columns of the widest mark. Without rows nothing is printed; returns whether there were
    some.
    """
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return False
    widths = len(str(last_number)), mark_width
    table = Table(console, stream, widths, has_summaries=first[2] is not None)
    console.print_lines(stream, chain(table.heading(), map(table.row, chain([first], rows))))
    return True


class Table:
    """The layout of a table, which is known before its rows are."""

    def __init__(
        self, console: Console, stream: TextIO, widths: tuple[int, int], *, has_summaries: bool
    ) -> None:
        """``widths``: columns of numbers, and of marks."""
        rich, width = console.rich(stream), console.width(stream)
        self._account = console.account
        self._colors = ColorSystem.STANDARD if rich.color_system else None
        self._is_colorless = rich.no_color
        self._now = datetime.fromtimestamp(console.clock(), UTC)
        self._narrow = width < NARROW
        self._gap = " " if self._narrow else "  "
        self._titles = ("#", "", *(("date", "from", "subject") if has_summaries else ("uid",)), "size")
        (number, mark), date = widths, len("2025-11" if self._narrow else "today 14:05")
        gaps = len(self._gap) * (len(self._titles) - 1)
        texts = max(width - number - mark - SIZE - gaps, LEAST)
        self._widths = [number, mark, texts, SIZE]
        if has_summaries:
            texts = max(texts - date, 2 * LEAST)
            sender = max(min(texts * 2 // 5, MOST_SENDER), LEAST)
            self._widths[2:3] = [date, sender, texts - sender]

    def heading(self) -> Iterator[str]:
        """Yield the account, if there are several, and the titles of the columns."""
        if self._account:
            yield self._styled(printable(self._account), TITLE)
        yield self._line(self._titles, [TITLE] * len(self._titles))

    def row(self, row: Row) -> str:
        """Return the line of a message."""
        message, mark, summary, has_size = row
        texts, styles = [shown_uid(message.uid)], [PLAIN]
        if summary is not None:
            date = shown_date(summary.date, self._now, narrow=self._narrow) if summary.date else ""
            texts = [date, printable(_name(one_line(summary.sender))), printable(one_line(summary.subject))]
            styles = [DATE, PLAIN, NEW if mark == "*" else PLAIN]
        return self._line(
            (str(message.number), mark, *texts, human_size(message.size) if has_size else UNKNOWN),
            (PLAIN, MARK, *styles, PLAIN),
        )

    def _line(self, texts: Sequence[str], styles: Sequence[Style]) -> str:
        """Return a line of all columns; the outer ones are numbers, and aligned on the right."""
        cells = []
        for place, (text, style, width) in enumerate(zip(texts, styles, self._widths, strict=True)):
            if columns(text) > width:
                kept = sum(end < width for end in accumulate(map(_columns_of, text)))
                text = text[:kept].rstrip(" \u200d") + "…"
            blanks = " " * (width - columns(text))
            is_number = place in (0, len(texts) - 1)
            cells.append(self._styled(blanks + text if is_number else text + blanks, style))
        return self._gap.join(cells)

    def _styled(self, text: str, style: Style) -> str:
        shown = style.without_color if self._is_colorless else style
        return shown.render(text, color_system=self._colors)


def columns(text: str) -> int:
    """Return how many columns a text takes, or may take: a longer line would be broken.

    Terminals agree on most characters, but many join neither emoji nor the vowels of Indian scripts.
    """
    return len(text) if text.isascii() else sum(map(_columns_of, text))


@lru_cache(4096)
def _columns_of(character: str) -> int:
    if "\U0001f3fb" <= character <= "\U0001f3ff":  # a colour of skin
        return 2
    may_be_beside = character == "\ufe0f" or unicodedata.category(character) == "Mc"
    return 1 if may_be_beside else get_character_cell_size(character)


def shown_date(date: datetime, now: datetime, zone: tzinfo | None = None, *, narrow: bool = False) -> str:
    """Return a date as people write it in ``zone``, or in local time: the more of it, the nearer it is.

    ``today 14:05``, ``Mon 14:05`` within the last week, ``3 Nov`` this year, ``2025-11-03``.
    """
    then, today = date.astimezone(zone), now.astimezone(zone)
    days = (today.date() - then.date()).days
    if days == 0:
        return f"{then:%H:%M}" if narrow else f"today {then:%H:%M}"
    if 0 < days < 7:
        return f"{then:%a}" if narrow else f"{then:%a %H:%M}"
    if then.year == today.year:
        return f"{then.day} {then:%b}"
    return then.date().isoformat()[: 7 if narrow else None]


def _name(sender: str) -> str:
    """Return the name of ``name <address>``, else all of it."""
    named = _NAMED.fullmatch(sender.strip())
    return named["name"] if named else sender
