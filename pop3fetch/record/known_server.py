"""What earlier sessions have found out about an account's server, kept beside the record.

Not in the record: every command connects, but only `get` holds the record. One file of ``name since``
lines; it only makes connecting quicker, so that whatever is wrong with it counts as nothing known.
"""

from __future__ import annotations

from contextlib import suppress

from pop3fetch.errors import POP3Error
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.states import DAY

LOSES_EARLY_INPUT = "loses-early-input"  # what is sent before the greeting gets no reply
ENDING = "server"
KEPT = 30 * DAY  # seconds; then it is tried again, as servers are mended


class KnownServer:
    """The facts about a server; times are seconds since the epoch."""

    def __init__(self, place: RecordPlace) -> None:
        self._place = place

    def knows(self, fact: str, now: float) -> bool:
        """Return whether ``fact`` was found out within the last 30 days."""
        since = self._facts().get(fact)
        return since is not None and 0 <= now - since < KEPT

    def remember(self, fact: str, now: float) -> None:
        """Keep ``fact``; a folder that cannot be written to is not an error."""
        facts = self._facts() | {fact: int(now)}
        with suppress(OSError, POP3Error):
            lines = (f"{name} {since}\n" for name, since in facts.items())
            self._place.keep_beside(ENDING, "".join(lines))

    def _facts(self) -> dict[str, int]:
        try:
            lines = self._place.beside(ENDING).read_text("ascii").splitlines()
            return {name: int(since) for name, since in (line.split() for line in lines)}
        except (OSError, ValueError):  # none, or torn
            return {}
