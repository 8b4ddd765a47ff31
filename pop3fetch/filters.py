"""Filters: what the headers and the size of a message must match to be chosen. Pure."""

from __future__ import annotations

from datetime import datetime

from pop3fetch.headers.summary import Summary, one_line
from pop3fetch.printable import printable
from pop3fetch.quantities import When, moment
from pop3fetch.values import NamedTuple


class Filters(NamedTuple):
    """What a message must match, all of it; None matches every message.

    ``sender``, ``to`` and ``subject`` are contained in the decoded field, in any case. ``since`` includes
    its moment; ``before``, ``larger`` and ``smaller`` (octets) exclude their bound.
    """

    sender: str | None = None
    to: str | None = None
    subject: str | None = None
    since: When | None = None
    before: When | None = None
    larger: int | None = None
    smaller: int | None = None

    @property
    def need_size(self) -> bool:
        """Whether only a message whose size is known can match."""
        return self.larger is not None or self.smaller is not None

    @property
    def need_date(self) -> bool:
        """Whether only a message with a usable Date can match."""
        return self.since is not None or self.before is not None

    @property
    def need_headers(self) -> bool:
        """Whether the size alone does not show what matches."""
        return any(wanted is not None for wanted in (self.sender, self.to, self.subject)) or self.need_date

    def match_size(self, size: int) -> bool:
        """Return whether a size in octets matches."""
        return (self.larger is None or size > self.larger) and (self.smaller is None or size < self.smaller)

    def match_headers(self, summary: Summary, now: datetime) -> bool:
        """Return whether headers match; ``now`` is aware."""
        return (
            (self.since is None or (summary.date is not None and summary.date >= moment(self.since, now)))
            and (
                self.before is None or (summary.date is not None and summary.date < moment(self.before, now))
            )
            and _is_in(self.sender, summary.sender)
            and _is_in(self.to, summary.to)
            and _is_in(self.subject, summary.subject)
        )


def _is_in(text: str | None, field: str | None) -> bool:
    if text is None:
        return True
    return field is not None and _comparable(text) in _comparable(field)


def _comparable(text: str) -> str:
    """Return a text as a list shows it, without differences of case, or of how a letter gets its accent."""
    text = printable(one_line(text), None)
    if text.isascii():
        return text.lower()
    from unicodedata import normalize

    return normalize("NFC", normalize("NFC", text).casefold())


def text(word: str) -> str:
    """Return a TEXT; raises ValueError if it is blank, because every field contains that.

    So a script whose variable is not set does not choose all messages.
    """
    if not _comparable(word).strip():
        raise ValueError("must not be empty")
    return word
