"""The header of a message: values to show, and an identity to compare.

Reads a few fields (RFC 5322 section 3.6) of octets from anyone, and decodes them. It limits its input, takes
linear time, and never raises. The result is text, but not yet safe to show: that is the task of
:func:`pop3fetch.printable.printable`.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

# What decodes is imported when it is needed: its patterns take milliseconds to compile, and most commands
# decode nothing.

LIMIT = 512 * 1024  # octets of a header that are shown: 2000 recipients take a fifth of it
IDENTITY_LIMIT = 64 * 1024  # octets of a header that have a part in an identity; records depend on it

_SHOWN = (b"cc", b"date", b"from", b"message-id", b"subject", b"to")
_PROVING = (b"message-id", b"date", b"from")
_CONTENT_TYPE = (b"content-type",)
_TELLING = (b"received", b"return-path", b"delivered-to", b"to", b"subject")


@lru_cache
def _field(names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """Return what finds a field that has one of the names, or the end of the header, which has no groups."""
    # The look-ahead comes first because most lines are other fields. Possessive quantifiers never backtrack,
    # so each line is read once, whatever it contains.
    return re.compile(
        rb"""
        \n (?= [\r\n%b] )
        (?: \r?\n
          | ( (?i: %b ) ) [ \t]*+ : ( [^\n]*+ (?: \n [ \t] [^\n]*+ )*+ )
        )
        """
        % (b"".join(name[:1] + name[:1].upper() for name in names), b"|".join(names)),
        re.VERBOSE,
    )


_READABLE = 10  # characters, of which one may be unreadable: a text that was cut is still in its charset

# The charset parameter of Content-Type (RFC 2045 section 5.1, RFC 2231 section 4), in its simple forms. It
# is not looked for inside a quoted string.
_CHARSET = rb"""(?xi)
    (?: [^"] | " (?: [^"\\] | \\. )*+ " )*?
    (?<= [;\s] ) charset \*? 0? \*? \s*+ = [\s"'\\]*+ (?: [\w-]*+ ' [\w-]*+ ' (?= \w ) )? ([\w:.+-]{1,40})
"""


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
    from pop3fetch.headers.dates import parse_date

    fields = first_fields(headers, _SHOWN)

    def text(name: bytes) -> str | None:
        value = fields.get(name)
        if value is None:
            return None
        unfolded = b" ".join(filter(None, map(bytes.strip, value.split(b"\n"))))
        return _characters(unfolded, headers)

    date = text(b"date")
    return Summary(
        date=None if date is None else parse_date(date),
        sender=_decoded_addresses(text(b"from")),
        to=_decoded_addresses(text(b"to")),
        cc=_decoded_addresses(text(b"cc")),
        subject=_decoded(text(b"subject")),
        message_id=_decoded(text(b"message-id")),
    )


def received_at(headers: bytes) -> datetime | None:
    """Return the date of the topmost Received field, or of Date if there is none; None if it is unreadable.

    The sender writes Date, so it does not take the place of a Received field that cannot be read.
    """
    from pop3fetch.headers.dates import parse_date

    fields = first_fields(headers, (b"received", b"date"))
    trace = fields.get(b"received")
    date = fields.get(b"date", b"") if trace is None else trace.rpartition(b";")[2]
    return parse_date(" ".join(date.decode("ascii", "replace").split()))


def one_line(text: str | None) -> str:
    """Return a text as a table shows it: with a blank for each tab and line end."""
    if text is None or text.isprintable():
        return text or ""
    from pop3fetch.headers.decoding import LINE_END

    return LINE_END.sub(" ", text).strip(" ")


class Identity(NamedTuple):
    """A digest of some fields of a header, to compare messages by.

    If it ``proves``, two messages that have it are one: it is of Message-ID, Date and From. A message without
    Message-ID has one of more fields, which proves only if a server has added Received: one sender may send
    many messages in a second, or without a date. If it does not prove, two messages are different if these
    are, but need not be one if they are the same.
    """

    digest: bytes
    proves: bool


def identity(headers: bytes) -> Identity | None:
    """Return the identity of a message, or None if it has none of the fields.

    Line ends, folding and other fields change nothing. ``headers`` must be all of the header, or its
    first :data:`IDENTITY_LIMIT` octets, whenever two identities are compared.
    """
    values = _values(headers, _PROVING)
    is_proof = bool(values[0])
    if not is_proof:
        others = _values(headers, _TELLING)
        is_proof = any(values) and bool(others[0])
        values = values + others if any(values) else others
    if not any(values):
        return None
    return Identity(blake2b(b"\n".join(values), digest_size=16 if is_proof else 8).digest(), is_proof)


def former_identity(headers: bytes) -> Identity | None:
    """Return the identity that records of version 0.1 have, in which Date and From alone prove; or None."""
    values = _values(headers, _PROVING)
    if not any(values):
        return None
    return Identity(blake2b(b"\n".join(values), digest_size=16).digest(), proves=True)


def proves(identity: Identity | None) -> bool:
    """Return whether two messages that have this identity are one."""
    return identity is not None and identity.proves


def _values(headers: bytes, names: tuple[bytes, ...]) -> list[bytes]:
    """Return the unfolded values of the first field of each name, empty if it is missing."""
    fields = first_fields(headers[:IDENTITY_LIMIT], names)
    return [b" ".join(fields.get(name, b"").split()) for name in names]


def first_fields(headers: bytes, names: tuple[bytes, ...]) -> dict[bytes, bytes]:
    """Return the raw, still folded value of the first field of each name, which is in lower case."""
    fields: dict[bytes, bytes] = {}
    for line in _field(names).finditer(b"\n" + headers[:LIMIT]):
        name, value = line.groups()
        if name is None:
            break
        fields.setdefault(name.lower(), value)
        if len(fields) == len(names):
            break
    return fields


def _decoded_addresses(text: str | None) -> str | None:
    if text is None or "=?" not in text:
        return text
    from pop3fetch.headers.decoding import decode_addresses

    return decode_addresses(text)


def _decoded(text: str | None) -> str | None:
    if text is None or "=?" not in text:
        return text
    from pop3fetch.headers.decoding import decode_text

    return decode_text(text)


def _characters(octets: bytes, headers: bytes) -> str:
    """Decode raw text: as UTF-8 (RFC 6532), else by the message's charset, else as windows-1252.

    ISO-2022-JP has no 8-bit octets, but escape sequences. Text that is UTF-8 but for a few octets was cut.
    """
    try:
        text = octets.decode("utf-8")
        if "\x1b" not in text or not text.isascii():
            return text
    except UnicodeDecodeError:
        text = None
    # Its Roman set would make a yen sign of the backslash, which quotes what follows it in an address.
    own = _by_charset_of(headers, octets.replace(b"\x1b(J", b"\x1b(B"))
    if own is not None:
        return own
    if text is not None:
        return text
    from pop3fetch.headers.charsets import UNREADABLE, decoder

    text = octets.decode("utf-8", "replace")
    unreadable = text.count(UNREADABLE)
    others = len(text) - len(text.encode("ascii", "ignore"))
    return text if others > 2 * unreadable else decoder("windows-1252")(octets)


def _by_charset_of(headers: bytes, octets: bytes) -> str | None:
    """Decode by the charset in Content-Type; None if it has none, or the text is not in it."""
    from pop3fetch.headers.charsets import UNREADABLE, decoder, extends_ascii

    content_type = first_fields(headers, _CONTENT_TYPE).get(b"content-type", b"")
    match = re.match(_CHARSET, b";" + content_type)
    try:
        label = match[1].decode("ascii") if match else ""
        if not extends_ascii(label):
            return None
        text = decoder(label)(octets)
    except LookupError:
        return None
    return text if text.count(UNREADABLE) * _READABLE <= len(text) else None
