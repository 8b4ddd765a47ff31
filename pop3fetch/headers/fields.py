"""The fields of a header, as octets, and an identity of a message to compare.

Reads a few fields (RFC 5322 section 3.6) of octets from anyone. It limits its input, takes linear time, and
never raises.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b

from pop3fetch.values import NamedTuple

LIMIT = 512 * 1024  # octets of a header that are shown: 2000 recipients take a fifth of it
IDENTITY_LIMIT = 64 * 1024  # octets of a header that have a part in an identity; records depend on it

_PROVING = (b"message-id", b"date", b"from")
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


def received_at(headers: bytes) -> datetime | None:
    """Return the date of the topmost Received field, or of Date if there is none; None if it is unreadable.

    The sender writes Date, so it does not take the place of a Received field that cannot be read.
    """
    from pop3fetch.headers.dates import parse_date

    fields = first_fields(headers, (b"received", b"date"))
    trace = fields.get(b"received")
    date = fields.get(b"date", b"") if trace is None else trace.rpartition(b";")[2]
    return parse_date(" ".join(date.decode("ascii", "replace").split()))


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
