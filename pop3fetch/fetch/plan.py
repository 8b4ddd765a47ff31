"""What a run of `get` will do: computed from two listings before anything is done.

Pure: the server's listing and the record's go in, the plan comes out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import compress
from operator import ne
from types import MappingProxyType
from typing import NamedTuple

from pop3fetch.messages import Key, Listing, Message, Selector, select, stands_in
from pop3fetch.record.states import State, Unsettled


class Order(NamedTuple):
    """What the user wants of `get`; ``delete_after`` in days, ``max_size`` in octets.

    ``lines``: only the headers and so many lines. ``create``: make a destination anew that is gone.
    """

    selectors: tuple[Selector, ...] = ()
    everything: bool = False
    lines: int | None = None
    limit: int | None = None
    max_size: int | None = None
    delete: bool = False
    delete_after: int | None = None
    crlf: bool = False
    mark: bool = False
    dry_run: bool = False
    create: bool = False

    @property
    def is_look(self) -> bool:
        """Whether it is a look where it goes to standard output: recorded nowhere, and never deleted."""
        return not self.mark and (bool(self.selectors) or self.lines is not None)

    @property
    def wants_only_what_is_new(self) -> bool:
        """Whether nothing is to be done where nothing is new."""
        deletes = self.delete or self.delete_after is not None
        return not (self.selectors or self.everything or deletes or self.dry_run)

    @property
    def deletes_at_once(self) -> bool:
        """Whether what is delivered now is deleted now."""
        return self.delete or self.delete_after == 0


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
    recorded = list(_recorded_sizes(listing, known))
    # Most of 100 000 messages are as they were: no line of Python is spent on those.
    others = compress(zip(listing.indexes(), recorded, strict=True), map(ne, recorded, listing.sizes))
    for index, size in others:
        resized += size is not None
        is_recorded = size is not None or (known.unsettled and listing.message(index).key in known.unsettled)
        (doubted if is_recorded else new).append(index)
    fetched = len(listing) - len(new) - len(doubted)
    return Comparison(new, doubted, fetched, _shared(listing, known), resized)


def _recorded_sizes(listing: Listing, known: Known) -> Iterable[int | None]:
    return map(known.size_of, listing) if listing.has_copies else map(known.sizes.get, listing.uids)


def _shared(listing: Listing, known: Known) -> list[int]:
    if not listing.has_copies:
        return []
    uids = {message.uid for message in listing if message.occurrence}
    copies = (message for message in listing if message.uid in uids)
    return [message.index for message in copies if known.size_of(message) == message.size]


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


class Chosen:
    """Messages of a listing by index, made one by one: 100 000 of them at once would take 20 MiB."""

    def __init__(self, listing: Listing, indexes: Sequence[int]) -> None:
        self._listing = listing
        self._indexes = indexes

    def __len__(self) -> int:
        return len(self._indexes)

    def __iter__(self) -> Iterator[Message]:
        return map(self._listing.message, self._indexes)

    def part(self, first: int, last: int | None) -> list[Message]:
        """Return the messages from position ``first`` to before ``last``, or to the end if that is None."""
        return [self._listing.message(index) for index in self._indexes[first:last]]


class Plan(NamedTuple):
    """What will be done: messages to fetch, those over the size limit, and old ones to delete.

    A limit of messages is not in it: those that fail do not count, which only the run can tell.
    """

    fetch: Chosen
    oversize: list[Message]
    delete: list[Message]


def make_plan(
    listing: Listing,
    new: Collection[int],
    order: Order,
    old_enough: Collection[Message],
    delivered: Collection[Key] = (),
) -> Plan:
    """Return the plan of a session.

    ``old_enough``: messages that are recorded and may be deleted; ``delivered``: the keys
    of what an earlier session of the same run has delivered. Raises MessageNotFound for a selector
    that selects nothing.
    """
    fetch: list[int] = []
    oversize: list[Message] = []
    for index in _wanted(listing, new, order):
        message = listing.message(index)
        if message.key in delivered:
            continue
        if order.max_size is None or message.size <= order.max_size:
            fetch.append(index)
        else:
            oversize.append(message)
    coming = set(fetch) if old_enough else ()
    delete = [message for message in old_enough if message.index not in coming]
    return Plan(Chosen(listing, fetch), oversize, delete)


def _wanted(listing: Listing, new: Collection[int], order: Order) -> Iterable[int]:
    if order.selectors:
        chosen = select(listing, order.selectors)
        # What was delivered shall not be taken for something that was only marked.
        return [index for index in chosen if index in new] if order.mark else chosen
    return listing.indexes() if order.everything and not order.mark else sorted(new)
