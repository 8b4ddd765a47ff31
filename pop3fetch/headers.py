"""What a message's header says: values to show, and an identity to compare.

Reads five fields (RFC 5322 section 3.6) out of octets that anyone may have written, and decodes
encoded words (RFC 2047). It bounds its input, takes linear time, and never raises. What comes out
is text but not yet safe to show: that is the work of :func:`pop3fetch.printable.printable`.

The encoded words are decoded here because :mod:`email.header` takes seconds for 60 KB of hostile
ones, raises on malformed ones, and would double the time of a listing.
"""

from __future__ import annotations

import binascii
import re
from datetime import UTC, datetime, timedelta, timezone
from encodings import normalize_encoding
from encodings.aliases import aliases
from functools import lru_cache
from hashlib import blake2b
from itertools import groupby
from typing import NamedTuple

LIMIT = 65536  # octets of a header that are looked at: more than honest ones have

_SHOWN = (b"date", b"from", b"message-id", b"subject", b"to")
_PROVING = (b"message-id", b"date", b"from")
_TELLING = (b"received", b"return-path", b"delivered-to", b"to", b"subject")


@lru_cache
def _field(names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """Return what finds a field that has one of the names, or the end of the header, which has no groups."""
    # The look-ahead comes first because most lines are none of ours. Possessive quantifiers leave no way
    # back, so that a line is read once whatever it holds.
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


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_USUAL_DATE = re.compile(
    r"""
    (?: [A-Za-z]{3} , [ ]* )?
    ([0-9]{1,2}) [ ] (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ ] ([0-9]{4}) [ ]
    ([0-9]{2}) : ([0-9]{2}) (?: : ([0-9]{2}) )? [ ]
    ( [+-] [0-9]{2} [0-5][0-9] | GMT | UTC? )
    (?! [^ (] )
    """,
    re.VERBOSE,
)

_DATE_LIMIT = 100  # characters; more is no date, and the standard library's parser need not see it

# Earlier is no mail; later ones overflow when a reader converts them to local time.
_YEARS = range(1900, 9999)

# `=?charset*language?encoding?text?=` (RFC 2047 section 2, RFC 2231 section 5). Blanks in the text are
# against the RFC but seen; a text ends at the next question mark, so that each character is read once.
_WORD = r"=\?([\w-]{1,40})(?:\*[\w-]{0,40})?\?([BbQq])\?([ ->@-~]*+)\?="
_ENCODED_WORD = re.compile(_WORD, re.ASCII)
_ENCODED_WORDS = re.compile(rf"{_WORD}(?:\s*+{_WORD})*+", re.ASCII)

# Only the codecs that Python lists under a charset's name: the others (punycode, idna, unicode_escape) take
# quadratic time or warn. UTF-7 can hold lone surrogates, which no output takes. Then the labels that Python
# lacks, or reads more narrowly than mailers use them.
_CODECS = {
    **{name: codec for name, codec in aliases.items() if codec != "utf_7"},
    **{codec: codec for codec in aliases.values() if codec != "utf_7"},
    "gb2312": "gb18030",
    "iso_8859_8_i": "iso8859_8",
    "koi8_u": "koi8_u",
    "ks_c_5601_1987": "cp949",
    "windows_874": "cp874",
}


class Summary(NamedTuple):
    """The fields of a header that a listing shows: unfolded and decoded; None where absent.

    ``date`` is aware. The texts may hold control characters.
    """

    date: datetime | None
    sender: str | None
    to: str | None
    subject: str | None
    message_id: str | None


def summarize(headers: bytes) -> Summary:
    """Return what the first of each field in ``headers`` says; a body behind them is passed over."""
    fields = _fields(headers, _SHOWN)
    return Summary(
        date=_date(_text(fields.get(b"date"))),
        sender=_text(fields.get(b"from")),
        to=_text(fields.get(b"to")),
        subject=_text(fields.get(b"subject")),
        message_id=_text(fields.get(b"message-id")),
    )


class Identity(NamedTuple):
    """A digest of some fields of a header, to compare messages by.

    If it ``proves``, it is of Message-ID, Date and From, and two messages that have it are one. If not,
    all three are absent or empty, and it is of fields that many messages may share: two messages are
    different if these are, but need not be one if they are the same.
    """

    digest: bytes
    proves: bool


def identity(headers: bytes) -> Identity | None:
    """Return the identity of a message, or None if it has none of the fields.

    Line ends, folding and other fields change nothing. ``headers`` must be all of the header, or its
    first :data:`LIMIT` octets, whenever two identities are compared.
    """
    if digest := _digest(headers, _PROVING, 16):
        return Identity(digest, proves=True)
    digest = _digest(headers, _TELLING, 8)
    return Identity(digest, proves=False) if digest else None


def proves(identity: Identity | None) -> bool:
    """Return whether two messages that have this identity are one."""
    return identity is not None and identity.proves


def _digest(headers: bytes, names: tuple[bytes, ...], size: int) -> bytes | None:
    fields = _fields(headers, names)
    values = [b" ".join(fields.get(name, b"").split()) for name in names]
    return blake2b(b"\n".join(values), digest_size=size).digest() if any(values) else None


def _fields(headers: bytes, names: tuple[bytes, ...]) -> dict[bytes, bytes]:
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


def _text(value: bytes | None) -> str | None:
    if value is None:
        return None
    unfolded = b" ".join(filter(None, map(bytes.strip, value.split(b"\n"))))
    text = _characters(unfolded)
    return _ENCODED_WORDS.sub(_decode_words, text) if "=?" in text else text


def _characters(octets: bytes) -> str:
    """Decode raw 8-bit text: UTF-8 (RFC 6532), else what Western mailers sent before it."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("cp1252", "backslashreplace")


def _decode_words(words: re.Match[str]) -> str:
    """Decode adjacent encoded words, or return them as they are where one is malformed.

    White space between them does not count (RFC 2047 section 6.2). Words of one charset are joined
    before they are decoded, since many mailers cut in the middle of a character.
    """
    decoded = []
    try:
        for charset, group in groupby(_ENCODED_WORD.findall(words[0]), key=lambda word: word[0].lower()):
            octets = b"".join(_octets(encoding, text) for _, encoding, text in group)
            decoded.append(octets.decode(_codec(charset), "replace"))
    except (LookupError, ValueError):
        return words[0]
    return "".join(decoded)


@lru_cache(maxsize=64)
def _codec(charset: str) -> str:
    return _CODECS[normalize_encoding(charset)]


def _octets(encoding: str, text: str) -> bytes:
    if encoding in "Qq":
        return binascii.a2b_qp(text, header=True)
    return binascii.a2b_base64(text + "==")  # padding is often lost, and too much of it does no harm


def _date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        date = _usual_date(text) or _unusual_date(text)
    except (ArithmeticError, LookupError, TypeError, ValueError):  # what datetime and email.utils raise
        return None
    return date if date.year in _YEARS else None


def _usual_date(text: str) -> datetime | None:
    match = _USUAL_DATE.match(text)
    if match is None:
        return None
    day, month, year, hour, minute, second, zone = match.groups()
    return datetime(
        int(year),
        _MONTHS.index(month) + 1,
        int(day),
        int(hour),
        int(minute),
        min(int(second or 0), 59),  # a leap second is 60, which Python does not have
        tzinfo=_zone(zone),
    )


@lru_cache(maxsize=64)
def _zone(zone: str) -> timezone:
    if zone[0] not in "+-":
        return UTC
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:]))
    return timezone(-offset if zone[0] == "-" else offset)


def _unusual_date(text: str) -> datetime:
    from email.utils import parsedate_to_datetime  # slow to import, and seldom needed

    date = parsedate_to_datetime(text[:_DATE_LIMIT])
    return date if date.tzinfo else date.replace(tzinfo=UTC)
