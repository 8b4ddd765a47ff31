"""The progress of `get`: a line on a terminal that is redrawn, and nothing in cron."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.screen.numbers import counted, human_size
from pop3fetch.errors import POP3Error
from pop3fetch.messages import Message

if TYPE_CHECKING:
    from pop3fetch.cli.screen.objects import Object
    from pop3fetch.delivery.destination import Draft
    from pop3fetch.delivery.opening import Choice

REDRAW = 0.1  # seconds between two drawings of the progress line
SETTLED = 1.0  # seconds before a rate is shown
BAR = 40  # columns at most
LEAST_BAR = 8  # columns; a shorter one shows nothing
NAMED = 100  # messages that stay on the server; more are too many to read, and cron mails all of them


class ProgressLine:
    """The progress of a run; sizes in LIST are estimates, so it never shows more than their sum."""

    def __init__(
        self, console: Console, expected: Sequence[Message], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._all_messages = len(expected)
        self._all_octets = sum(message.size for message in expected)
        self._messages = self._octets = 0
        self._clock = clock
        self._begun = self._drawn = clock()

    def advance(self, octets: int = 0, messages: int = 0) -> None:
        """Count what has arrived, and draw the line if it is time."""
        self._octets += octets
        self._messages += messages
        now = self._clock()
        if now - self._drawn >= REDRAW:
            self._drawn = now
            width = self._console.width(self._console.err) - 1
            board, account = self._console.board, self._console.account
            if board:
                board.show(account, self.text(max(width - len(f"{account}: "), 0)))
            else:
                self._console.draw(self.text(width))

    def text(self, width: int) -> str:
        """Return the line in at most ``width`` columns; the less important parts are left out first."""
        octets = min(self._octets, self._all_octets)
        parts = [
            f"{min(self._messages, self._all_messages)}/{self._all_messages} messages",
            f"{human_size(octets)} of {human_size(self._all_octets)}",
            *self._speed(octets),
        ]
        while len(parts) > 1 and len("  ".join(parts)) > width:
            parts.pop()
        room = width - len("  ".join(parts)) - len("  []")
        if room >= LEAST_BAR:
            columns = min(room, BAR)
            done = "=" * int(octets / max(self._all_octets, 1) * columns)
            parts.insert(1, f"[{done:{columns}}]")
        return "  ".join(parts)[:width]

    def _speed(self, octets: int) -> list[str]:
        elapsed = self._clock() - self._begun
        if elapsed < SETTLED or not octets:
            return []
        left = round((self._all_octets - octets) * elapsed / octets)
        return [f"{human_size(int(octets / elapsed))}/s", f"{left // 60}:{left % 60:02} left"]


class RunReporter:
    """The reporter of one run.

    ``choice``: where messages are delivered to, if they are. Standard output then gets neither objects nor a
    progress line beside them. ``as_json``: one object per message on standard output. ``objects``: those of
    the messages that were delivered go there as well.
    """

    def __init__(
        self,
        console: Console,
        choice: Choice | None = None,
        as_json: bool = False,
        objects: list[Object] | None = None,
    ) -> None:
        self.choice = choice
        self._objects = objects
        self._console = console
        self._has_screen = choice is not None and not choice.is_stream
        self._as_json = as_json and (choice is None or self._has_screen)
        # With -v each message has its own line.
        draws = console.board is not None or console.shows_progress
        self._draws = self._has_screen and draws and console.verbosity == 0
        self._line: ProgressLine | None = None
        self._skipped = 0

    def notice(self, text: str) -> None:
        self._console.notice(text)

    def warn(self, text: str) -> None:
        from pop3fetch.cli.screen.advice import notice_line

        self._console.warn(notice_line(text))

    def first_run(self, messages: int) -> None:
        show = self._console.remark if self._has_screen else self._console.notice
        show(f"first run: fetching {messages} messages")

    def planned(self, messages: Sequence[Message]) -> None:
        if self._draws:
            self._line = ProgressLine(self._console, messages)

    def progress(self, octets: int) -> None:
        if self._line:
            self._line.advance(octets=octets)

    def delivered(self, draft: Draft) -> None:
        message = draft.message
        if self._line:
            self._line.advance(messages=1)
        if self._as_json or self._objects is not None:
            from pop3fetch.cli.screen.objects import delivered_message

            delivered = delivered_message(message, draft.path, self.choice.name if self.choice else None)
            if self._objects is not None:
                self._objects.append(delivered)
            if self._as_json:
                self._console.json(delivered)
                self._console.flush()  # the reader of a pipe gets each line at once
        if self._console.verbosity >= 1:
            place = draft.path or draft.place
            where = f" to {place}" if place else ""
            self._console.notice(f"message {message.number}: {draft.octets} octets{where}")

    def skipped(self, message: Message, error: POP3Error) -> None:
        from pop3fetch.cli.screen.advice import error_line

        line = f"message {message.number} stays on the server: {error_line(error)}"
        hushed = self._console.hushed
        if hushed is not None and error.is_temporary:
            if len(hushed) < NAMED:
                hushed.append(line)
            return
        self._skipped += 1
        if self._skipped <= NAMED or self._console.verbosity >= 1:
            self._console.error(line)

    def short(self, message: Message, octets: int) -> None:
        self._console.notice(
            f"message {message.number} has {octets} octets, but the server lists {message.size}:"
            " delivered, but kept on the server until the next run has checked it"
        )

    def oversize(self, message: Message) -> None:
        size = human_size(message.size)
        self._console.warn(f"message {message.number} has {size}: larger than --max-size, skipped")

    def agrees(self, question: str) -> bool:
        def ask() -> bool:
            return self._console.can_ask and self._console.confirm(question)

        return self._console.talk(ask)

    def removed(self, messages: Sequence[Message]) -> None:
        """Name the messages that `rm` has deleted."""
        if self._as_json:
            from pop3fetch.cli.screen.objects import message_object

            for message in messages:
                self._console.json(message_object(message))
        self._console.remark(f"{counted(len(messages))} deleted from the server")

    def end(self) -> None:
        """Remove the progress line, and report how many messages were not named."""
        if self._line:
            self._line = None
            self._console.wipe()
        more, self._skipped = self._skipped - NAMED, 0
        if more > 0 and self._console.verbosity < 1:
            self._console.error(f"{more} more stay on the server; -v names them")
