"""The table of messages on a terminal: texts that do not fit the width are cut with an ellipsis."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, TextIO

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.screen.numbers import UNKNOWN, human_size
from pop3fetch.headers import Summary, one_line
from pop3fetch.messages import Message, shown_uid
from pop3fetch.printable import printable

if TYPE_CHECKING:
    from rich.console import JustifyMethod

NARROW = 70  # columns; on fewer, dates and gaps are short
CELL = 400  # characters of a text that a table can show, however wide
LEAST = 4  # columns of a text that is cut
_NAMED = re.compile(r'"?(?P<name>[^"<>]*[^"<>\s])"?\s*<[^<>]*>')


Row = tuple[Message, str, Summary | None]  # the message, a mark such as * if it is new, its headers


def show(console: Console, stream: TextIO, rows: Sequence[Row], unsized: Collection[int] = ()) -> None:
    """Print the table: number, mark, date, sender, subject and size, or the UID instead of three.

    There is at least one row, and all have a summary, or none has. ``unsized``: indexes of messages
    whose size is not known.
    """
    width = console.width(stream)
    narrow = width < NARROW
    texts = [_texts(row, unsized, narrow=narrow) for row in rows]
    titles = ("#", "", *(("uid",) if rows[0][2] is None else ("date", "from", "subject")), "size")
    wide = [max(map(cell_len, column)) for column in zip(titles, *texts, strict=True)]
    gap = 1 if narrow else 2
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, gap, 0, 0))
    for title, columns in zip(titles, _fitted(wide, width - gap * (len(titles) - 1)), strict=True):
        justify: JustifyMethod = "right" if title in ("#", "size") else "left"
        table.add_column(Text(title), width=columns, justify=justify, no_wrap=True, overflow="ellipsis")
    for line in texts:
        table.add_row(*map(Text, line))
    heading = [Text(printable(console.account), style="bold")] if console.account else []
    console.render(stream, *heading, table)


def _texts(row: Row, unsized: Collection[int], *, narrow: bool) -> tuple[str, ...]:
    message, mark, summary = row
    middle = (shown_uid(message.uid),) if summary is None else _described(summary, narrow=narrow)
    size = UNKNOWN if message.index in unsized else human_size(message.size)
    return (str(message.number), mark, *middle, size)


def shortened(summary: Summary | None) -> Summary | None:
    """Return a summary without what the table cannot show: all rows are kept until it is laid out."""
    if summary is None:
        return None
    sender, subject = (text and text[:CELL] for text in (summary.sender, summary.subject))
    return Summary(summary.date, sender, None, subject, None)


def _described(summary: Summary, *, narrow: bool) -> tuple[str, str, str]:
    form = "%m-%d" if narrow else "%Y-%m-%d %H:%M"
    date = summary.date.astimezone().strftime(form) if summary.date else ""
    return date, printable(_name(one_line(summary.sender))), printable(one_line(summary.subject))


def _name(sender: str) -> str:
    """Return the name of ``name <address>``, else all of it."""
    named = _NAMED.fullmatch(sender.strip())
    return named["name"] if named else sender


def _fitted(wide: Sequence[int], room: int) -> list[int]:
    """Return the widths of the columns, with the texts cut to fit; a sender may keep two fifths."""
    texts = len(wide) - 3 - (len(wide) > 4)  # the UID, or sender and subject behind the date
    head, tail = list(wide[: -1 - texts]), wide[-1]
    spare = max(room - sum(head) - tail, LEAST * texts)
    if texts == 1:
        return [*head, min(wide[-2], spare), tail]
    sender = min(wide[-3], max(spare * 2 // 5, spare - wide[-2]))
    return [*head, sender, min(wide[-2], spare - sender), tail]
