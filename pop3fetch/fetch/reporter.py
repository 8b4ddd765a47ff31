"""What the rooms below the command line tell whoever listens; they print nothing themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pop3fetch.errors import POP3Error
from pop3fetch.messages import Message


class Reporter(Protocol):
    """The listener of a run; every call comes from the thread that runs the session."""

    def notice(self, text: str) -> None:
        """Hear what a careful user would like to know."""

    def warn(self, text: str) -> None:
        """Hear what every user must know."""

    def planned(self, messages: Sequence[Message]) -> None:
        """Hear which messages are about to be fetched."""

    def progress(self, octets: int) -> None:
        """Hear that so many more octets have arrived."""

    def delivered(self, message: Message, octets: int, path: str | None) -> None:
        """Hear that a message is delivered, and as which file."""

    def skipped(self, message: Message, error: POP3Error) -> None:
        """Hear that a message stays new, and why."""

    def short(self, message: Message, octets: int) -> None:
        """Hear that a message was delivered, but came far shorter than the server lists it."""

    def oversize(self, message: Message) -> None:
        """Hear, once for each message, that it is larger than the user's limit and stays on the server."""

    def would(self, what: str, message: Message) -> None:
        """Hear what a dry run would do with a message: ``fetch``, ``delete``, ``mark``."""

    def deleted(self, messages: int) -> None:
        """Hear how many messages the server has confirmed as deleted."""
