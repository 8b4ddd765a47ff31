"""What the record makes of a listing: which messages are new, after a look where it must look.

A UID alone is no proof. Servers give UIDs again, give one to several messages, change sizes of
messages that stay the same (Mailutils), or change all UIDs at once (a migration). So a recorded
UID with another size, or that several messages share, is looked at, and compared by the
identity of its headers; and a record of which nothing is listed any more is matched by identity
and size before anything is fetched again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pop3fetch.ahead import Ahead
from pop3fetch.fetch.plan import Comparison, Known, all_renumbered, compare, gone
from pop3fetch.fetch.reporter import Reporter
from pop3fetch.fetch.survey import headers_of
from pop3fetch.headers import identity, proves
from pop3fetch.messages import Listing, Message
from pop3fetch.record.journal import key_of
from pop3fetch.record.store import Entry, Key, Store

if TYPE_CHECKING:
    from pop3fetch.pop3.client import POP3Client


def known_of(store: Store) -> Known:
    """Return what the record has fetched."""
    return Known(store.sizes(), store.copies())


class Loading:
    """What the record has fetched, loaded in the background: 100 000 messages take as long as a login."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: Ahead[Known] | None = None

    def begin(self) -> None:
        """Begin, unless it is begun."""
        self._known = self._known or Ahead(lambda: known_of(self._store))

    def result(self) -> Known:
        """Return what is recorded, or raise what went wrong; once."""
        self.begin()
        assert self._known
        return self._known.result()


class Recall:
    """Compare a session's listing with the record, and bring the record up to date."""

    def __init__(self, client: POP3Client, store: Store, reporter: Reporter) -> None:
        self._client = client
        self._store = store
        self._reporter = reporter

    def new(self, listing: Listing, known: Known) -> list[int]:
        """Return the indexes of the messages that are new; raises what a session raises."""
        comparison = compare(listing, known)
        if all_renumbered(listing, known, comparison):
            self._match_by_headers(listing, comparison)
            known = known_of(self._store)
            comparison = compare(listing, known)
        self._prune(listing, known, comparison)
        return sorted([*comparison.new, *self._look_at(listing, [*comparison.changed, *comparison.shared])])

    def _prune(self, listing: Listing, known: Known, comparison: Comparison) -> None:
        if listing.unpaired:
            return  # it is not complete: what it lacks may be there
        if len(listing):
            missing = gone(listing, known, comparison)
            if missing:
                self._store.forget(Key(*key) for key in missing)
        elif len(known):
            # Emptied by its owner, or the server has a bad day: forgetting could fetch everything
            # again, remembering could hide a message whose UID is given anew. So doubt it.
            self._store.doubt_all()

    def _look_at(self, listing: Listing, indexes: Iterable[int]) -> list[int]:
        """Return those of ``indexes`` that are other messages than the recorded ones."""
        others: list[int] = []
        same: dict[Key, int] = {}
        for index, headers in headers_of(self._client, indexes):
            message = listing.message(index)
            recorded = self._store.entry(key_of(message))
            if recorded is None or headers is None or not _is_same(message, headers, recorded):
                others.append(index)
            elif recorded.size != message.size:
                same[recorded.key] = message.size
        if same:
            self._store.resize(same)
        return others

    def _match_by_headers(self, listing: Listing, comparison: Comparison) -> None:
        recorded: dict[tuple[int, bytes | None], list[Key]] = {}
        for entry in self._store.entries():
            recorded.setdefault((entry.last_size, entry.identity), []).append(entry.key)
        sizes = {size for size, _ in recorded}
        alike = [index for index in comparison.new if listing.message(index).size in sizes]
        renamed: dict[Key, Key] = {}
        for index, headers in headers_of(self._client, alike):
            message = listing.message(index)
            who = identity(headers) if headers is not None else None
            old = recorded.get((message.size, who)) if proves(who) else None
            if old:
                renamed[old.pop(0)] = key_of(message)
        self._store.rename(renamed)
        if renamed:  # or else all old ones are gone, and these are new
            self._reporter.warn(
                f"the server has changed all unique-ids: {len(renamed)} of {len(listing)} messages"
                " were recognised by their headers and are not fetched again"
            )


def _is_same(message: Message, headers: bytes, recorded: Entry) -> bool:
    who, known = identity(headers), recorded.identity
    if proves(who) and proves(known):
        return who == known
    # Nothing proves that they are one, so that another size, or other weak headers, make them two.
    differ = who is not None and known is not None and len(who) == len(known) and who != known
    return message.size == recorded.last_size and not differ
