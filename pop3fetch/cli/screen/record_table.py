"""The table of `record list` on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.screen.numbers import human_size
from pop3fetch.messages import shown_uid
from pop3fetch.printable import printable

if TYPE_CHECKING:
    from pop3fetch.record.store import Entry


def show_recorded(console: Console, messages: Sequence[tuple[Entry, int, str]]) -> None:
    """Print what is recorded of messages: when it was fetched, size, unique-id and destination."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("fetched", "size", "uid", "destination"):
        table.add_column(title, justify="right" if title == "size" else "left", overflow="fold")
    for entry, fetched_at, destination in messages:
        time = datetime.fromtimestamp(fetched_at).astimezone().strftime("%Y-%m-%d %H:%M")
        size = human_size(entry.size) if entry.size else ""
        table.add_row(*map(Text, (time, size, shown_uid(entry.key.uid), printable(destination))))
    heading = [Text(printable(console.account), style="bold")] if console.account else []
    rich = console.rich(console.out)
    with rich.capture() as capture:
        rich.print(*heading, table, sep="\n", width=console.width(console.out))
    console.print_lines(console.out, capture.get().splitlines())
