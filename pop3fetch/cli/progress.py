"""What a run of `get` shows of itself: a progress line on a terminal, nothing in cron."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pop3fetch.cli.console import Console
from pop3fetch.errors import POP3Error
from pop3fetch.messages import Message

if TYPE_CHECKING:
    from rich.progress import Progress

REDRAW = 0.1  # seconds between two looks of the progress line


class RunReporter:
    """The reporter of one run; ``as_json``: an object a message on standard output."""

    def __init__(self, console: Console, *, as_json: bool = False) -> None:
        self._console = console
        self._as_json = as_json
        self._bar: Progress | None = None
        self._expected = self._octets = self._messages = 0
        self._drawn = 0.0

    def notice(self, text: str) -> None:
        self._console.notice(text)

    def warn(self, text: str) -> None:
        self._console.warn(text)

    def planned(self, messages: Sequence[Message]) -> None:
        self._expected = sum(message.size for message in messages)
        if messages and self._console.shows_progress and not self._console.account:
            self._bar = _progress(self._console, len(messages), self._expected)

    def progress(self, octets: int) -> None:
        self._octets += octets
        if self._bar and time.monotonic() - self._drawn > REDRAW:
            self._draw()

    def delivered(self, message: Message, octets: int, path: str | None) -> None:
        self._messages += 1
        if self._as_json:
            self._console.json({**self._console.account_field, **_delivered(message, path)})
        if self._console.verbosity >= 1:
            where = f" to {path}" if path else ""
            self._console.notice(f"message {message.number}: {octets} octets{where}")

    def skipped(self, message: Message, error: POP3Error) -> None:
        self._console.warn(f"message {message.number} stays on the server: {error}")

    def would(self, what: str, message: Message) -> None:
        uid = message.uid.decode("utf-8", "backslashreplace")
        if self._as_json:
            fields = {"would": what, "number": message.number, "uid": uid, "size": message.size}
            self._console.json({**self._console.account_field, **fields})
        else:
            self._console.row(what, message.number, message.size, message.uid)

    def deleted(self, messages: int) -> None:
        if messages:
            self._console.notice(f"{messages} messages deleted from the server")

    def end(self) -> None:
        """Take the progress line away."""
        if self._bar:
            self._draw()
            self._bar.stop()
            self._bar = None

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        if self._bar:
            # Sizes in LIST are estimates: never show more than all.
            done = min(self._octets, self._expected)
            self._bar.update(self._bar.task_ids[0], completed=done, messages=self._messages)


def _delivered(message: Message, path: str | None) -> dict[str, object]:
    uid = message.uid.decode("utf-8", "backslashreplace")
    return {"number": message.number, "uid": uid, "size": message.size, "path": path}


def _progress(console: Console, messages: int, octets: int) -> Progress:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    bar = Progress(
        TextColumn("{task.fields[messages]}/{task.fields[all]} messages", markup=False),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console.rich(stderr=True),
        transient=True,
        expand=True,
    )
    bar.add_task("", total=octets, messages=0, all=messages)
    bar.start()
    return bar
