"""What --dry-run shows: a table on a terminal, otherwise a line or an object for each action; and the sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.screen.numbers import counted, human_size
from pop3fetch.cli.screen.objects import planned_action
from pop3fetch.cli.screen.summary import left
from pop3fetch.fetch.plan import Order, Verb
from pop3fetch.fetch.retrieving import Outcome
from pop3fetch.headers.summary import Summary, one_line
from pop3fetch.messages import Message, shown_uid

if TYPE_CHECKING:
    from pop3fetch.cli.screen.list_table import Row


CELL = 400  # characters of a text that a table can show, however wide


def cut(text: str | None) -> str | None:
    """Return what a table can show of a text: all rows are kept until they are laid out."""
    return text and text[:CELL]


class DryRun:
    """The listener of a dry run for one account; ``destination``: the name of what would receive messages."""

    def __init__(self, console: Console, destination: str | None = None, *, as_json: bool) -> None:
        self._console = console
        self._destination = destination
        self._as_json = as_json
        self._messages: Counter[Verb] = Counter()
        self._octets: Counter[Verb] = Counter()
        self._rows: list[Row] = []

    def would(self, verbs: Sequence[Verb], message: Message, summary: Summary | None) -> None:
        """Show, or keep for the table, what would be done with a message."""
        for verb in verbs:
            self._messages[verb] += 1
            self._octets[verb] += message.size
            subject = summary and summary.subject
            if self._as_json:
                self._console.json(planned_action(verb, message, subject, self._destination))
            elif not self._console.shows_tables:
                cells = (verb, message.number, message.size, shown_uid(message.uid))
                self._console.row(*cells, one_line(subject))
        if self._console.shows_tables and not self._as_json:
            shown = summary and Summary(
                summary.date, cut(summary.sender), None, None, cut(summary.subject), None
            )
            self._rows.append((message, ", ".join(verbs), shown, True))

    def end(self, outcome: Outcome | None = None, order: Order | None = None) -> None:
        """Show the table, and what would be done in all; an ``outcome`` has what is left out."""
        if self._rows:
            from pop3fetch.cli.screen.list_table import show

            last_number = max(message.number for message, *_ in self._rows)
            widest = max(len(mark) for _, mark, *_ in self._rows)
            show(self._console, self._console.out, self._rows, last_number, mark_width=widest)
        ends: dict[Verb, str] = {
            "fetch": f" to {self._destination}",
            "mark": " as fetched",
            "show": "",
            "delete": " from the server",
        }
        done = ", ".join(
            f"{verb} {counted(self._messages[verb])} ({human_size(self._octets[verb])}){end}"
            for verb, end in ends.items()
            if self._messages[verb]
        )
        skipped = left(outcome, order) if outcome and order else ""
        self._console.flush()  # the sums come last even if both streams go to one file
        self._console.remark(", ".join(filter(None, (f"would {done}" if done else "nothing to do", skipped))))
