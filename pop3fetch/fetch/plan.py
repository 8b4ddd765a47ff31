"""What a run of `get` will do: a value that --dry-run prints, and that the run carries out.

Pure. First the listing is compared with the record: what is new, in doubt, or missing. The plan follows
from that and from what the user wants, before anything is done.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import compress
from operator import ne
from typing import TYPE_CHECKING, Literal

from pop3fetch.messages import Key, Listing, Message
from pop3fetch.record.states import DAY, Known, State
from pop3fetch.values import NamedTuple

if TYPE_CHECKING:
    from pop3fetch.filters import Filters
    from pop3fetch.headers.summary import Summary
    from pop3fetch.message_words import Selector


class Comparison(NamedTuple):
    """The listing beside the record, as indexes.

    ``new``: not recorded; ``doubted``: recorded, but contradicted, so that a look must decide;
    ``fetched``: how many are recorded as they are listed; ``shared``: those of them that are not
    alone with their UID; ``resized``: how many of the doubted ones are FETCHED with another size;
    ``added``: recorded without the server, so that their sizes become known now.
    """

    new: list[int]
    doubted: list[int]
    fetched: int
    shared: list[int]
    resized: int = 0
    added: tuple[int, ...] = ()


def compare(listing: Listing, known: Known) -> Comparison:
    """Compare what is listed with what is recorded."""
    new: list[int] = []
    doubted: list[int] = []
    added: list[int] = []
    resized = 0
    recorded = list(map(known.size_of, listing) if listing.has_copies else map(known.sizes.get, listing.uids))
    # Most of 100 000 messages are as they were: no line of Python is spent on those.
    others = compress(zip(listing.indexes(), recorded, strict=True), map(ne, recorded, listing.sizes))
    for index, size in others:
        resized += size is not None
        row = known.unsettled.get(listing.message(index).key) if known.unsettled and size is None else None
        if row is not None and row.state is State.ADDED:
            added.append(index)
        else:
            (new if size is None and row is None else doubted).append(index)
    fetched = len(listing) - len(new) - len(doubted) - len(added)
    shared: list[int] = []
    if listing.has_copies:
        uids = {message.uid for message in listing if message.occurrence}
        copies = (message for message in listing if message.uid in uids)
        shared = [message.index for message in copies if known.size_of(message) == message.size]
    return Comparison(new, doubted, fetched, shared, resized, tuple(added))


def all_renumbered(known: Known, comparison: Comparison) -> bool:
    """Whether the server may have changed all UIDs: nothing that a listing should have is listed."""
    if not comparison.new or comparison.fetched or comparison.doubted or comparison.added:
        return False
    return next(known.expected(), None) is not None


def unlisted(listing: Listing, known: Known, comparison: Comparison) -> list[Key]:
    """Return the keys of what is recorded and not listed."""
    missing: list[Key] = []
    if comparison.fetched + comparison.resized < len(known.sizes) + len(known.copies):
        listed = {message.key for message in listing}
        missing = [key for key in known.fetched() if key not in listed]
    return missing + [key for key in known.unsettled if not listing.has(key)]


class Order(NamedTuple):
    """What the user wants of `get`; ``delete_after`` in days, ``max_size`` in octets.

    ``filters`` narrow what the rest of it chooses. ``lines``: only the headers and so many lines.
    ``create``: make a destination anew that is gone. ``delete_marked``: what was only marked as fetched
    is deleted like what was delivered.
    """

    selectors: tuple[Selector, ...] = ()
    filters: Filters | None = None
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
    delete_marked: bool = False

    @property
    def is_look(self) -> bool:
        """Whether standard output only gets a look at the messages: nothing is recorded or deleted."""
        return not self.mark and (bool(self.selectors) or self.lines is not None)

    @property
    def deletes(self) -> bool:
        """Whether messages are deleted, now or after some days."""
        return self.delete or self.delete_after is not None

    def due(self, now: float) -> int:
        """Return the moment up to which what was delivered is deleted, in seconds since the epoch."""
        return sys.maxsize if self.delete else int(now) - (self.delete_after or 0) * DAY

    @property
    def deletes_at_once(self) -> bool:
        """Whether what is delivered now is deleted now."""
        return self.delete or self.delete_after == 0


Verb = Literal["fetch", "mark", "delete", "show"]
Would = Callable[[Sequence[Verb], Message, "Summary | None"], None]  # takes what a dry run would do


class Action(NamedTuple):
    """What is done with one message."""

    verb: Verb
    message: Message


class Plan:
    """The actions of a session, made one by one: 100 000 of them at once would take 20 MiB.

    ``count``: how many messages are fetched or marked if nothing fails; ``oversize``: those that are skipped
    because of their size.
    """

    def __init__(
        self,
        listing: Listing,
        chosen: Iterable[int],
        order: Order,
        old_enough: Collection[Message],
        new: Collection[int],
    ) -> None:
        """``chosen``: indexes of what is wanted, in order, unless it is too large.

        ``old_enough``: messages that are recorded and may be deleted; ``new``: the indexes of those that are
        not fetched yet.
        """
        wanted = list(chosen)
        self.oversize: list[Message] = []
        if order.max_size is not None:
            self.oversize = [
                message for message in map(listing.message, wanted) if message.size > order.max_size
            ]
            too_large = {message.index for message in self.oversize}
            wanted = [index for index in wanted if index not in too_large]
        coming = set(wanted) if old_enough else ()
        self._old = [m for m in old_enough if m.index not in coming and m.index not in listing.unsized]
        self.listing = listing
        self._order = order
        self._wanted = wanted
        self._new = new
        self.count = len(wanted[: order.limit])

    def __iter__(self) -> Iterator[Action]:
        """Yield what is done if nothing fails."""
        verb: Verb = "mark" if self._order.mark else "fetch"
        wanted = self._wanted[: self._order.limit]
        for index in wanted:
            yield Action(verb, self.listing.message(index))
        for message in self._old:
            yield Action("delete", message)
        for index in wanted if self._order.deletes_at_once else ():
            if index not in self.listing.unsized:
                yield Action("delete", self.listing.message(index))

    def wanted(self, first: int, last: int | None) -> list[Message]:
        """Return the messages to fetch or mark from position ``first`` to before ``last``, or to the end.

        The limit is left to the run: messages that fail do not count.
        """
        return [self.listing.message(index) for index in self._wanted[first:last]]

    def wanted_again(self) -> Iterator[Key]:
        """Yield the messages to fetch that are fetched already."""
        return (self.listing.message(index).key for index in self._wanted if index not in self._new)

    def deletions(self, delivered: Collection[Key]) -> list[Message]:
        """Return the messages to delete, once those with the keys ``delivered`` are fetched.

        None whose size LIST lacks: it is not known if they came whole.
        """
        if not self._order.deletes_at_once:
            return self._old
        fetched = (message for message in map(self.listing.message, self._wanted) if message.key in delivered)
        return [*self._old, *(message for message in fetched if message.index not in self.listing.unsized)]


class Standing(NamedTuple):
    """How many messages of a run are delivered and recorded, and how many were to be fetched.

    ``others_are_new``: the next run fetches what is left.
    """

    safe: int
    wanted: int
    others_are_new: bool


def choose(listing: Listing, new: Collection[int], order: Order, done: Collection[Key] = ()) -> list[int]:
    """Return the indexes that ``order`` chooses, before its filters and limits.

    ``done``: what an earlier session of the same run has delivered or given up, which is left out. Raises
    MessageNotFound for a selector that selects nothing, unless it is a UID to be marked.
    """
    chosen: Iterable[int] = sorted(new)
    if order.selectors:
        from pop3fetch.message_words import select

        chosen = select(listing, order.selectors, all_uids=not order.mark)
        if order.mark:  # what was delivered must not become what was only marked
            chosen = [index for index in chosen if index in new]
    elif order.everything and not order.mark:
        chosen = listing.indexes()
    if done:
        chosen = (index for index in chosen if listing.message(index).key not in done)
    return list(chosen)
