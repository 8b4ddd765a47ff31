"""The messages that the server lists.

Owns the words *message number*, *index* and *UID*. Pure: it contacts no server, and does not know which
messages were fetched.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import cast

from pop3fetch.errors import MessageNotFound, POP3Error
from pop3fetch.values import NamedTuple


class Key(NamedTuple):
    """The name of a message: its UID, and its position among the messages that share it, from 0."""

    uid: bytes
    occurrence: int


class Message(NamedTuple):
    """One listed message; ``size`` in octets, as the server lists it.

    Identical copies may share a UID (RFC 1939 section 7): ``occurrence`` counts them from 0, in the
    order of their numbers.
    """

    index: int  # type: ignore[assignment]  # nothing calls index() of this tuple
    size: int
    uid: bytes
    occurrence: int = 0

    @property
    def number(self) -> int:
        """The 1-based message number, for people and the protocol."""
        return self.index + 1

    @property
    def key(self) -> Key:
        """The name of the message in the record."""
        return Key(self.uid, self.occurrence)


def is_short(size: int, octets: int | None) -> bool:
    """Return whether a message of ``octets`` as received is far shorter than listed.

    ``octets`` is None if it was not received by this program.
    """
    return octets is not None and 2 * octets < size


LARGEST_SIZE = 2**63 - 1  # octets that a record can store; a larger size cannot be true


class Listing:
    """The messages that both LIST and UIDL name, by index.

    Columns, not objects: 100 000 messages take 16 octets each beside their UIDs. ``sizes`` in octets and
    ``uids`` are in the order of the messages; ``has_copies`` if some share a UID. ``unpaired`` counts the
    messages that only one of the two lists names.
    """

    def __init__(self, sizes: Sequence[int | None], uids: Sequence[bytes | None]) -> None:
        """Take the two lists by index, with None, or an early end, if one lists no message."""
        indexes: Sequence[int] = range(len(uids))
        self.unpaired = 0
        if len(sizes) != len(uids) or None in sizes or None in uids:
            indexes = _paired(sizes, uids)
            self.unpaired = _count(sizes) + _count(uids) - 2 * len(indexes)
            sizes = [sizes[index] for index in indexes]
            uids = [uids[index] for index in indexes]
        # Column by column, for the messages present: the n-th of each belongs together.
        self._indexes = indexes
        self.sizes = array("Q", cast("Sequence[int]", sizes))  # "Q" holds the 19 digits a size may have
        if max(self.sizes, default=0) > LARGEST_SIZE:
            self.sizes = array("Q", (min(size, LARGEST_SIZE) for size in self.sizes))
        self.uids = list(cast("Sequence[bytes]", uids))
        self.has_copies = len(set(self.uids)) < len(self.uids)
        # The indexes of each UID that several messages share: nearly always none.
        self._copies: dict[bytes, list[int]] = {}
        if self.has_copies:
            self._copies = {uid: [] for uid, count in Counter(self.uids).items() if count > 1}
            for index, uid in zip(indexes, self.uids, strict=True):
                if uid in self._copies:
                    self._copies[uid].append(index)
        # Indexes of messages without a UID, and without a stand-in for it: they are left alone.
        self.unreadable: Mapping[int, POP3Error] = {}
        # Indexes of messages whose size LIST lacks: they are given as 0.
        self.unsized: Collection[int] = ()
        # The errors of lines that were left out of the lists: which messages they mean is not known.
        self.unusable: Sequence[POP3Error] = ()
        # Stand-ins to those that older versions would have made of the same messages.
        self.former_stand_ins: Mapping[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._indexes)

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and self._row(index) is not None

    def __iter__(self) -> Iterator[Message]:
        if not self.has_copies:
            return map(Message, self._indexes, self.sizes, self.uids)
        occurrences = map(self._occurrence, self._indexes, self.uids)
        return map(Message, self._indexes, self.sizes, self.uids, occurrences)

    @property
    def is_complete(self) -> bool:
        """Whether a message that is not listed is not there; if not, it may be left out."""
        return not (self.unpaired or self.unreadable or self.unusable)

    @property
    def last_number(self) -> int:
        """The highest message number; 0 if there is no message."""
        return self._indexes[-1] + 1 if self._indexes else 0

    def indexes(self, first: int = 0, last: int | None = None) -> Iterator[int]:
        """Return the indexes that messages have, from ``first`` to ``last`` (included) in order."""
        start = bisect_left(self._indexes, first)
        stop = len(self) if last is None else bisect_left(self._indexes, last + 1)
        return iter(self._indexes[start:stop])

    def message(self, index: int) -> Message:
        """Return the message at ``index``, or raise :exc:`MessageNotFound`."""
        row = self._row(index)
        if row is None:
            raise MessageNotFound(str(index + 1))
        uid = self.uids[row]
        return Message(index, self.sizes[row], uid, self._occurrence(index, uid) if self.has_copies else 0)

    def with_uid(self, uid: bytes) -> list[int]:
        """Return the indexes of all messages with exactly this UID, in order."""
        if uid in self._copies:
            return list(self._copies[uid])
        index = self._index_of.get(uid)
        return [] if index is None else [index]

    def has(self, key: Key) -> bool:
        """Return whether a message is listed."""
        return key.occurrence < len(self.with_uid(key.uid))

    def size_of(self, key: Key) -> int:
        """Return the size in octets of a message that is listed."""
        return self.message(self.with_uid(key.uid)[key.occurrence]).size

    def _row(self, index: int) -> int | None:
        if 0 <= index < len(self) and self._indexes[index] == index:  # no gap before it: the usual case
            return index
        row = bisect_left(self._indexes, index)
        return row if row < len(self._indexes) and self._indexes[row] == index else None

    def _occurrence(self, index: int, uid: bytes) -> int:
        return bisect_left(self._copies[uid], index) if uid in self._copies else 0

    @cached_property
    def _index_of(self) -> dict[bytes, int]:
        # Costs more than the columns themselves: made when the first UID is looked up.
        return dict(zip(self.uids, self._indexes, strict=True))


def _paired(sizes: Sequence[int | None], uids: Sequence[bytes | None]) -> array[int]:
    pairs = enumerate(zip(sizes, uids, strict=False))
    return array("Q", (index for index, (size, uid) in pairs if size is not None and uid is not None))


def _count(column: Sequence[object]) -> int:
    return len(column) - sum(value is None for value in column)


# Patterns that few runs need are compiled by their first use.
_ESCAPED_OCTET = rb"\\x([0-9a-f]{2})"
_SEEMS_ESCAPED = r"\\(?=x[0-9a-f]{2})"


def shown_uid(uid: bytes) -> str:
    """Return a UID as harmless text that selects this UID and no other.

    Octets that are not UTF-8, or not printable, are shown as ``\\xe9``; so is a backslash that would seem
    to begin such an escape.
    """
    text = uid.decode("utf-8", "surrogateescape")
    if "\\" in text:
        text = re.sub(_SEEMS_ESCAPED, r"\\x5c", text)
    return text if text.isprintable() else "".join(map(_shown_character, text))


def _shown_character(character: str) -> str:
    if character.isprintable():
        return character
    return "".join(f"\\x{octet:02x}" for octet in character.encode("utf-8", "surrogateescape"))


def unescaped_uid(shown: bytes) -> bytes:
    """Return the UID that :func:`shown_uid` shows like this, as octets of the command line or a file."""
    return re.sub(_ESCAPED_OCTET, lambda escape: bytes([int(escape[1], 16)]), shown)


_STAND_IN = b"digest-"
_EMPTY_LINE = rb"(?m)^\r?\n"
# Fields that servers on an mbox write themselves, into the message that they serve.
_OF_THE_SERVER = (
    rb"(?im)^(?:status|x-status|x-keywords|x-uid|x-uidl|x-imap|x-imapbase|content-length|lines)"
    rb"[ \t]*+:[^\n]*+(?:\n[ \t][^\n]*+)*+(?:\n|\Z)"
)


def stand_in_uid(headers: bytes, size: int) -> bytes:
    """Return a stand-in for the UID of a message that has none: 55 octets, which are valid in a UID.

    ``headers`` is the reply to ``TOP n 0``. The empty line and a line of the body may follow, because servers
    differ; they change nothing, and neither do fields that servers add when a message is read.
    """
    header = _header_of(headers)
    own = re.sub(_OF_THE_SERVER, b"", header)
    return _stand_in(own.rstrip(b"\r\n"), size - (len(header) - len(own)))


def former_stand_in_uid(headers: bytes, size: int) -> bytes:
    """Return the stand-in that records up to version 2 have: a digest of all fields."""
    return _stand_in(_header_of(headers).rstrip(b"\r\n"), size)


def _header_of(headers: bytes) -> bytes:
    end = re.search(_EMPTY_LINE, headers)
    return headers[: end.start()] if end else headers


def _stand_in(header: bytes, size: int) -> bytes:
    from hashlib import blake2b  # loads OpenSSL; nearly every server has UIDL

    digest = blake2b(b"%d\n" % size + header, digest_size=24)
    return _STAND_IN + digest.hexdigest().encode("ascii")


def stands_in(uid: bytes) -> bool:
    """Return whether ``uid`` is one of :func:`stand_in_uid`, and not the server's own."""
    return uid.startswith(_STAND_IN)
