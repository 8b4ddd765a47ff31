"""The server's listing beside the record: what is new, in doubt, or missing. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import compress
from operator import ne
from types import MappingProxyType
from typing import NamedTuple

from pop3fetch.messages import Key, Listing, Message, stands_in
from pop3fetch.record.states import State, Unsettled


class Known:
    """What the record has of an account's messages.

    ``sizes`` by UID, and ``copies`` by key, of those that are FETCHED; ``unsettled`` has all others by key.
    """

    def __init__(
        self,
        sizes: Mapping[bytes, int] = MappingProxyType({}),
        copies: Mapping[Key, int] = MappingProxyType({}),
        unsettled: Mapping[Key, Unsettled] = MappingProxyType({}),
    ) -> None:
        self.sizes = sizes
        self.copies = copies
        self.unsettled = unsettled

    def size_of(self, message: Message) -> int | None:
        """Return the size of a FETCHED message, or None."""
        if message.occurrence:
            return self.copies.get(message.key)
        return self.sizes.get(message.uid)

    def fetched(self) -> Iterator[Key]:
        """Yield the keys of the messages that are FETCHED."""
        for uid in self.sizes:
            yield Key(uid, 0)
        yield from self.copies

    def expected(self) -> Iterator[Key]:
        """Yield the keys of the messages that a listing should have, missing ones included."""
        yield from self.fetched()
        yield from (key for key, row in self.unsettled.items() if row.state is not State.DELETED)

    @property
    def has_unique_ids(self) -> bool:
        """Whether the server has listed UIDs of its own, as far as the record shows."""
        return any(not stands_in(uid) for uid, _ in self.expected())


class Comparison(NamedTuple):
    """The listing beside the record, as indexes.

    ``new``: not recorded; ``doubted``: recorded, but contradicted, so that a look must decide;
    ``fetched``: how many are recorded as they are listed; ``shared``: those of them that are not
    alone with their UID; ``resized``: how many of the doubted ones are FETCHED with another size.
    """

    new: list[int]
    doubted: list[int]
    fetched: int
    shared: list[int]
    resized: int = 0


def compare(listing: Listing, known: Known) -> Comparison:
    """Compare what is listed with what is recorded."""
    new: list[int] = []
    doubted: list[int] = []
    resized = 0
    recorded = list(map(known.size_of, listing) if listing.has_copies else map(known.sizes.get, listing.uids))
    # Most of 100 000 messages are as they were: no line of Python is spent on those.
    others = compress(zip(listing.indexes(), recorded, strict=True), map(ne, recorded, listing.sizes))
    for index, size in others:
        resized += size is not None
        is_recorded = size is not None or (known.unsettled and listing.message(index).key in known.unsettled)
        (doubted if is_recorded else new).append(index)
    fetched = len(listing) - len(new) - len(doubted)
    shared: list[int] = []
    if listing.has_copies:
        uids = {message.uid for message in listing if message.occurrence}
        copies = (message for message in listing if message.uid in uids)
        shared = [message.index for message in copies if known.size_of(message) == message.size]
    return Comparison(new, doubted, fetched, shared, resized)


def all_renumbered(known: Known, comparison: Comparison) -> bool:
    """Whether the server may have changed all UIDs: nothing that a listing should have is listed."""
    if not comparison.new or comparison.fetched or comparison.doubted:
        return False
    return next(known.expected(), None) is not None


def unlisted(listing: Listing, known: Known, comparison: Comparison) -> list[Key]:
    """Return the keys of what is recorded and not listed."""
    missing: list[Key] = []
    if comparison.fetched + comparison.resized < len(known.sizes) + len(known.copies):
        listed = {message.key for message in listing}
        missing = [key for key in known.fetched() if key not in listed]
    return missing + [key for key in known.unsettled if not listing.has(key)]
