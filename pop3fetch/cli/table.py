"""The table of `list` on a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from pop3fetch.cli.console import Console
from pop3fetch.headers import Summary
from pop3fetch.messages import Message
from pop3fetch.printable import printable

_UNITS = ("B", "kB", "MB", "GB", "TB")

Line = tuple[Message, bool, Summary | None]


def show(console: Console, lines: Iterable[Line], *, long: bool) -> None:
    """Print the table; what does not fit the width is cut with an ellipsis."""
    table = Table(box=None, header_style="bold", pad_edge=False, expand=False)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, width=1)
    for name in ("date", "from", "subject") if long else ("uid",):
        table.add_column(name, no_wrap=True, overflow="ellipsis", ratio=None)
    table.add_column("size", justify="right", no_wrap=True)
    for message, new, summary in lines:
        table.add_row(
            str(message.number),
            "*" if new else "",
            *_middle(message, summary),
            human_size(message.size),
        )
    console.rich().print(table)


def _middle(message: Message, summary: Summary | None) -> list[Text]:
    if summary is None:
        return [Text(printable(message.uid))]
    date = summary.date.astimezone().strftime("%Y-%m-%d %H:%M") if summary.date else ""
    return [Text(date), _harmless(summary.sender), _harmless(summary.subject)]


def _harmless(text: str | None) -> Text:
    return Text(printable(text or ""))


def human_size(octets: int) -> str:
    """Return a size for people, with three digits at most and a unit."""
    size = float(octets)
    for unit in _UNITS[:-1]:
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} {_UNITS[-1]}"
