"""What is on the server: the listing of a session, and looks at messages.

Servers without UIDL, messages with an empty UID, and messages that UIDL leaves out get a stand-in: a
digest of the message's headers with its size (RFC 1939 section 7 leaves UIDL optional).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from pop3fetch.errors import IncompleteMessage, MalformedListing, POP3Error, UniqueIdsRefused
from pop3fetch.fetch.context import Reporter
from pop3fetch.headers.fields import LIMIT as HEADERS_LIMIT
from pop3fetch.messages import Listing, former_stand_in_uid, is_short, stand_in_uid
from pop3fetch.status import Status

if TYPE_CHECKING:
    from pop3fetch.pop3.mail_session import MailSession
    from pop3fetch.pop3.pipeline import IncomingMessage
    from pop3fetch.pop3.replies import Overview

MOST_UNPAIRED = 1000  # messages in one list only that are believed to exist
NAMED = 10  # of them that a warning names


class Looked(NamedTuple):
    """What a look at a message shows: its ``headers``, or the ``refusal``.

    Headers are cut at 64 KiB and may have a line of the body behind them. ``octets``: the size of the
    message as received, if all of it was looked at.
    """

    headers: bytes
    refusal: POP3Error | None = None
    octets: int | None = None

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing but white space."""
        return not self.headers.strip()

    def failure(self, index: int, size: int) -> POP3Error | None:
        """Return why this decides nothing of the message at ``index``, listed with ``size``; or None.

        Either the look was refused, or the message came blank although much more is listed.
        """
        if self.refusal is None and self.is_blank and is_short(size, self.octets):
            return IncompleteMessage(index + 1, size)
        return self.refusal


class Recorded(NamedTuple):
    """What the record of ``account`` knows of its server; it is read only if the server refuses UIDL."""

    account: str
    has_unique_ids: Callable[[], bool]


NOTHING_RECORDED = Recorded("", lambda: False)


def survey(
    client: MailSession, reporter: Reporter, recorded: Recorded = NOTHING_RECORDED, *, by_number: bool = False
) -> Listing:
    """Return what the server lists; raises MalformedListing, and UniqueIdsRefused if it has UIDs.

    ``by_number``: UIDs are not needed, so that missing ones get no stand-ins.
    """
    overview = client.overview()
    sizes, unique_ids, unusable = overview
    if by_number and not unusable and (unique_ids is None or b"" in unique_ids):
        return Listing(sizes, [None if size is None else b"" for size in sizes])
    listing = listing_of(client, overview, reporter, recorded)
    for index, error in islice(listing.unreadable.items(), NAMED):
        reporter.warn(f"message {index + 1} cannot be listed: {error}")
    if len(listing.unreadable) > NAMED:
        reporter.warn(f"{len(listing.unreadable) - NAMED} more messages cannot be listed")
    return listing


def status_of(listing: Listing) -> Status:
    """Return OK, or the exit status for the first line or message that could not be listed."""
    error = next(chain(listing.unusable, listing.unreadable.values()), None)
    return Status.OK if error is None else error.exit_status


def listing_of(client: MailSession, overview: Overview, reporter: Reporter, recorded: Recorded) -> Listing:
    """Return the messages of an overview, with stand-ins for the unique-ids that are missing.

    If lines are unusable, it is not known which messages they mean: those without a unique-id are left alone.
    So are those without a size if something must stand in for the unique-id. Raises UniqueIdsRefused if all
    are missing although the record has some.
    """
    sizes, unique_ids, unusable = overview
    for error in unusable[:NAMED]:
        reporter.warn(str(error))
    if len(unusable) > NAMED:
        reporter.warn(f"{len(unusable) - NAMED} more lines are unusable")
    unpaired = 0
    if unique_ids is None:
        if recorded.has_unique_ids():
            raise UniqueIdsRefused(recorded.account)
        reporter.notice("the server has no UIDL: headers stand in for unique-ids")
        unique_ids = [None if size is None else b"" for size in sizes]
    elif len(sizes) != len(unique_ids) or None in sizes or None in unique_ids:
        sizes, unique_ids, unpaired = _paired(sizes, unique_ids, reporter, all_usable=not unusable)
    listing = _completed(client, sizes, unique_ids) if b"" in unique_ids else Listing(sizes, unique_ids)
    listing.unpaired = max(listing.unpaired, unpaired)
    if unpaired:  # LIST has no size of a message that it does not name
        named = overview.sizes
        listing.unsized = {i for i in listing.indexes() if i >= len(named) or named[i] is None}
    listing.unusable = unusable
    if unusable or unpaired:
        nameless = _nameless(sizes, unique_ids, all_usable=not unusable)
        error = MalformedListing("LIST and UIDL do not show which message it is")
        listing.unreadable = {**dict.fromkeys(nameless, error), **listing.unreadable}
    return listing


def _nameless(
    sizes: Sequence[int | None], unique_ids: Sequence[bytes | None], *, all_usable: bool
) -> list[int]:
    """Return the indexes of messages without a unique-id, for which nothing can stand in either."""
    pairs = enumerate(zip(sizes, unique_ids, strict=True))
    nameless = (
        index
        for index, (size, uid) in pairs
        if (size is None and uid == b"") or (size is not None and uid is None and not all_usable)
    )
    return list(islice(nameless, MOST_UNPAIRED))


def _paired(
    sizes: Sequence[int | None], unique_ids: Sequence[bytes | None], reporter: Reporter, *, all_usable: bool
) -> tuple[list[int | None], list[bytes | None], int]:
    """Return both lists with what each lacks, and how many messages only one of them has.

    An empty UID means that UIDL lacks it, unless it may be in a line that is not usable; a size of 0
    for one that LIST lacks, unless it has an empty UID.
    """
    count = max(len(sizes), len(unique_ids))
    all_sizes = [*sizes, *[None] * (count - len(sizes))]
    all_uids = [*unique_ids, *[None] * (count - len(unique_ids))]
    pairs = enumerate(zip(all_sizes, all_uids, strict=True))
    unpaired = [
        index
        for index, (size, uid) in pairs
        if (size is None) != (uid is None) and (uid is not None or all_usable)
    ]
    if unpaired and all_usable:
        named = ", ".join(str(index + 1) for index in unpaired[:NAMED])
        more = ", …" if len(unpaired) > NAMED else ""
        messages = f"{len(unpaired)} messages are" if len(unpaired) > 1 else "1 message is"
        reporter.warn(f"LIST and UIDL disagree: {messages} in one of them only ({named}{more})")
    for index in unpaired[:MOST_UNPAIRED]:
        if all_uids[index] is None:
            all_uids[index] = b""
        elif all_uids[index]:
            all_sizes[index] = 0
    return all_sizes, all_uids, len(unpaired)


def _completed(
    client: MailSession, sizes: Sequence[int | None], unique_ids: Sequence[bytes | None]
) -> Listing:
    """Return the listing with a stand-in for each empty UID."""
    pairs = enumerate(zip(unique_ids, sizes, strict=False))
    empty = [index for index, (uid, size) in pairs if uid == b"" and size is not None]
    completed = list(unique_ids)
    unreadable: dict[int, POP3Error] = {}
    former: dict[bytes, bytes] = {}
    for index, looked in headers_of(client, empty):
        size = sizes[index] or 0
        if failure := looked.failure(index, size):
            completed[index] = None
            unreadable[index] = failure
            continue
        completed[index] = stand_in = stand_in_uid(looked.headers, size)
        old = former_stand_in_uid(looked.headers, size)
        if old != stand_in:
            former[stand_in] = old
    listing = Listing([None if i in unreadable else size for i, size in enumerate(sizes)], completed)
    listing.unreadable = unreadable
    listing.former_stand_ins = former
    return listing


def headers_of(
    client: MailSession, indexes: Iterable[int], *, decides: bool = True
) -> Iterator[tuple[int, Looked]]:
    """Yield (index, headers) in order, by pipelined TOPs.

    RETR is used if TOP is not offered or refused; also if TOP shows nothing, unless nothing is decided by it.
    Then no more TOPs are sent until the replies to all are received, and RETR has shown those messages.
    Otherwise TOPs are sent while earlier replies are read, and ``list -l`` takes one round trip for them, not
    one for a hundred messages (benchmark row ``known-list``).
    """
    left = iter(list(indexes))
    if not client.offers("TOP"):
        yield from whole_of(client, left)
        return
    failed: list[int] = []

    def next_one() -> int | None:
        return None if failed else next(left, None)

    while True:
        waiting: dict[int, Looked] = {}
        for index, looked in tops_of(client, iter(next_one, None)):
            if looked.refusal is not None or (decides and looked.is_blank):
                failed.append(index)
            if failed:
                waiting[index] = looked
            else:
                yield index, looked
        if not failed:
            return
        waiting |= dict(whole_of(client, failed))  # perhaps TOP alone fails
        yield from waiting.items()
        failed.clear()


def tops_of(client: MailSession, indexes: Iterable[int]) -> Iterator[tuple[int, Looked]]:
    """Yield (index, headers) in order, by pipelined TOPs alone."""
    for message in client.top_many(indexes):
        yield message.index, _looked(message)


def whole_of(client: MailSession, indexes: Iterable[int]) -> Iterator[tuple[int, Looked]]:
    """Yield (index, headers and octets) by pipelined RETRs."""
    for message in client.retrieve_many(indexes):
        yield message.index, _looked(message, is_whole=True)


def _looked(message: IncomingMessage, *, is_whole: bool = False) -> Looked:
    if message.refusal is not None:
        return Looked(b"", message.refusal)
    kept = bytearray()
    octets = 0
    for block in message.blocks:
        octets += len(block)
        if len(kept) < HEADERS_LIMIT:
            kept += block
    return Looked(bytes(kept[:HEADERS_LIMIT]), None, octets if is_whole else None)
