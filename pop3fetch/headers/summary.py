"""What a listing shows of a header.

The values are text, but not yet safe to show: that is the task of :func:`pop3fetch.printable.printable`.
"""

from __future__ import annotations

from datetime import datetime

from pop3fetch.headers.fields import first_fields
from pop3fetch.values import NamedTuple

_SHOWN = (b"cc", b"date", b"from", b"message-id", b"subject", b"to")
_ADDRESSES = (b"cc", b"from", b"to")


class Summary(NamedTuple):
    """The fields of a header that a listing shows: unfolded and decoded; None if absent.

    ``date`` is aware. The texts may contain control characters.
    """

    date: datetime | None
    sender: str | None
    to: str | None
    cc: str | None
    subject: str | None
    message_id: str | None


def summarize(headers: bytes) -> Summary:
    """Return the first of each field in ``headers``; a body after them is ignored."""
    from pop3fetch.headers.dates import parse_date  # its patterns take milliseconds to compile

    values = first_fields(headers, _SHOWN)
    texts = {name: _text(name, value, headers) for name, value in values.items()}
    date = texts.get(b"date")
    return Summary(
        date=None if date is None else parse_date(date),
        sender=texts.get(b"from"),
        to=texts.get(b"to"),
        cc=texts.get(b"cc"),
        subject=texts.get(b"subject"),
        message_id=texts.get(b"message-id"),
    )


def _text(name: bytes, value: bytes, headers: bytes) -> str:
    """Return a field as text, unfolded and decoded."""
    unfolded = b" ".join(filter(None, map(bytes.strip, value.split(b"\n"))))
    if unfolded.isascii() and b"\x1b" not in unfolded and b"=?" not in unfolded:
        return unfolded.decode("ascii")
    # Imported only if it is needed: its patterns take milliseconds to compile, too.
    from pop3fetch.headers.decoding import decode_addresses, decode_text, raw_text

    text = raw_text(unfolded, headers)
    if name == b"date":
        return text
    return decode_addresses(text) if name in _ADDRESSES else decode_text(text)


def one_line(text: str | None) -> str:
    """Return a text as a table shows it: with a blank for each tab and line end."""
    if text is None or text.isprintable():
        return text or ""
    from pop3fetch.headers.decoding import LINE_END

    return LINE_END.sub(" ", text).strip(" ")
