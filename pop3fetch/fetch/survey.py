"""What is on the server: the listing of a session, and headers where they are needed.

Servers without UIDL, and messages with an empty UID, get a stand-in: a digest of the message's
headers with its size (RFC 1939 section 7 leaves UIDL optional).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pop3fetch.fetch.reporter import Reporter
from pop3fetch.headers import LIMIT as HEADERS_LIMIT
from pop3fetch.messages import Listing, stand_in_uid

if TYPE_CHECKING:
    from pop3fetch.pop3.client import POP3Client
    from pop3fetch.pop3.overview import Digests, Overview


def survey(client: POP3Client, reporter: Reporter) -> Listing:
    """Return what the server lists; raises MalformedListing."""
    return _listing(client, client.overview(), reporter)


def survey_unless(
    familiar: Digests, client: POP3Client, reporter: Reporter, when_unlike: Callable[[], object]
) -> tuple[Listing, Digests] | None:
    """Return what the server lists, with the digests of both lists; None where those are ``familiar``.

    ``when_unlike`` is called as early as they are known not to be.
    """
    told = client.overview_unless(familiar, when_unlike)
    if told is None:
        return None
    overview, digests = told
    return _listing(client, overview, reporter), digests


def _listing(client: POP3Client, overview: Overview, reporter: Reporter) -> Listing:
    """Return the messages of an overview, with stand-ins for the unique-ids that are missing."""
    sizes = overview.sizes
    unique_ids = overview.unique_ids
    if unique_ids is None:
        reporter.notice("the server has no UIDL: headers stand in for unique-ids")
        unique_ids = [None if size is None else b"" for size in sizes]
    listing = Listing(sizes, _completed(client, sizes, unique_ids))
    if listing.unpaired:
        reporter.warn(f"LIST and UIDL disagree: {listing.unpaired} messages are in one of them only")
    return listing


def _completed(
    client: POP3Client, sizes: Sequence[int | None], unique_ids: list[bytes | None]
) -> list[bytes | None]:
    """Return the UIDs with a stand-in for each empty one."""
    if b"" not in unique_ids:
        return unique_ids
    pairs = enumerate(zip(unique_ids, sizes, strict=False))
    empty = [index for index, (uid, size) in pairs if uid == b"" and size is not None]
    completed = list(unique_ids)
    for index, headers in headers_of(client, empty):
        # A message whose headers cannot be had is not in this session's listing.
        completed[index] = None if headers is None else stand_in_uid(headers, sizes[index] or 0)
    return completed


def headers_of(client: POP3Client, indexes: Iterable[int]) -> Iterator[tuple[int, bytes | None]]:
    """Yield (index, headers) by pipelined TOPs, or RETRs where there is no TOP; None where refused.

    Headers are cut at 64 KiB, and may have a line of the body behind them.
    """
    wanted = list(indexes)
    many = client.top_many(wanted) if client.offers("TOP") else client.retrieve_many(wanted)
    refused = []
    for retrieval in many:
        if retrieval.refusal and client.offers("TOP"):
            refused.append(retrieval.index)  # perhaps TOP alone is refused
        else:
            yield retrieval.index, None if retrieval.refusal else head(retrieval.blocks)
    for retrieval in client.retrieve_many(refused):
        yield retrieval.index, None if retrieval.refusal else head(retrieval.blocks)


def head(blocks: Iterator[bytes]) -> bytes:
    """Return the first 64 KiB of a message; the rest is read and dropped."""
    kept = bytearray()
    for block in blocks:
        if len(kept) < HEADERS_LIMIT:
            kept += block
    return bytes(kept[:HEADERS_LIMIT])
