"""What a run of `get` will do: a value that --dry-run prints, and that the run carries out.

Pure: it is computed from the listing, before anything is done.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from pop3fetch.messages import Key, Listing, Message, Selector, select


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


Verb = Literal["fetch", "mark", "delete"]


class Action(NamedTuple):
    """What is done with one message."""

    verb: Verb
    message: Message


class Plan:
    """The actions of a session, made one by one: 100 000 of them at once would take 20 MiB.

    ``wanted``: indexes of the messages to fetch or mark, in order. ``old``: messages that were delivered
    before and are deleted now. ``oversize``: messages that are skipped because of their size.
    """

    def __init__(
        self,
        listing: Listing,
        order: Order,
        wanted: Sequence[int],
        old: list[Message],
        oversize: list[Message],
    ) -> None:
        self._listing = listing
        self._order = order
        self._wanted = wanted
        self._old = old
        self.oversize = oversize

    def __len__(self) -> int:
        """Return the number of messages to fetch or mark, if there were no limit."""
        return len(self._wanted)

    def __iter__(self) -> Iterator[Action]:
        """Yield what is done if nothing fails."""
        verb: Verb = "mark" if self._order.mark else "fetch"
        wanted = self._wanted[: self._order.limit]
        for index in wanted:
            yield Action(verb, self._listing.message(index))
        for message in self._old:
            yield Action("delete", message)
        for index in wanted if self._order.deletes_at_once else ():
            yield Action("delete", self._listing.message(index))

    def wanted(self, first: int, last: int | None) -> list[Message]:
        """Return the messages to fetch or mark from position ``first`` to before ``last``, or to the end.

        The limit is left to the run: messages that fail do not count.
        """
        return [self._listing.message(index) for index in self._wanted[first:last]]

    def deletions(self, delivered: Collection[Key]) -> list[Message]:
        """Return the messages to delete, once those with the keys ``delivered`` are fetched."""
        if not self._order.deletes_at_once:
            return self._old
        fetched = (
            message for message in map(self._listing.message, self._wanted) if message.key in delivered
        )
        return [*self._old, *fetched]


def make_plan(
    listing: Listing,
    new: Collection[int],
    order: Order,
    old_enough: Collection[Message],
    done: Collection[Key] = (),
) -> Plan:
    """Return the plan of a session.

    ``old_enough``: messages that are recorded and may be deleted; ``done``: those that an earlier session
    of the same run has delivered or given up. Raises MessageNotFound for a selector that selects nothing.
    """
    wanted: list[int] = []
    oversize: list[Message] = []
    for index in _chosen(listing, new, order):
        message = listing.message(index)
        if message.key in done:
            continue
        if order.max_size is None or message.size <= order.max_size:
            wanted.append(index)
        else:
            oversize.append(message)
    coming = set(wanted) if old_enough else ()
    old = [message for message in old_enough if message.index not in coming]
    return Plan(listing, order, wanted, old, oversize)


def _chosen(listing: Listing, new: Collection[int], order: Order) -> Iterable[int]:
    if order.selectors:
        chosen = select(listing, order.selectors)
        # What was delivered must not become what was only marked.
        return [index for index in chosen if index in new] if order.mark else chosen
    return listing.indexes() if order.everything and not order.mark else sorted(new)
