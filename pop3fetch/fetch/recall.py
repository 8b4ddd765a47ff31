"""What the record makes of a listing: which messages are new, after a look where it must look.

A UID alone is no proof. Servers give UIDs again, give one to several messages, change sizes of
messages that stay the same (Mailutils), leave messages out of a listing, or change all UIDs at once (a
migration). So a message that the record and the listing disagree about is looked at, and compared by the
identity of its headers; what follows from a look is in :mod:`pop3fetch.record.states`. A record of
which nothing is listed any more is matched by identity before anything is fetched again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from pop3fetch.ahead import Ahead
from pop3fetch.errors import POP3Error
from pop3fetch.fetch.journal import key_of
from pop3fetch.fetch.plan import Comparison, Known, all_renumbered, compare, unlisted
from pop3fetch.fetch.reporter import Reporter
from pop3fetch.fetch.survey import Looked, headers_of, whole_of
from pop3fetch.headers import identity, proves
from pop3fetch.messages import Listing, Message, stand_in_uid
from pop3fetch.record.states import Event, State
from pop3fetch.record.store import Entry, Key, Store

if TYPE_CHECKING:
    from pop3fetch.pop3.mail_session import MailSession


def known_of(store: Store) -> Known:
    """Return what the record has fetched."""
    return Known(store.sizes(), store.copies(), store.unsettled())


HANDFUL = 5  # messages of which none is listed any more, which need not mean that the server was moved


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
    """Compare a session's listing with the record, look at what is in doubt, and keep what was found.

    ``now`` in seconds since the epoch. What a look that failed could not decide is in ``undecided``,
    by index: it is neither fetched nor deleted in this session.
    """

    def __init__(self, client: MailSession, store: Store, reporter: Reporter, now: float) -> None:
        self._client = client
        self._store = store
        self._reporter = reporter
        self._now = int(now)
        self._confirmed: set[int] = set()  # indexes that a look of this session has confirmed
        self.undecided: dict[int, POP3Error] = {}

    def new(self, listing: Listing, known: Known) -> set[int]:
        """Return the indexes of the messages that are new; raises what a session raises."""
        if self._rename_stand_ins(listing, known):
            known = known_of(self._store)
        comparison = compare(listing, known)
        missing = unlisted(listing, known, comparison)
        if comparison.new and missing and self._match_by_headers(listing, known, comparison, missing):
            known = known_of(self._store)
            comparison = compare(listing, known)
            missing = unlisted(listing, known, comparison)
        self._miss(listing, known, missing)
        new = set(comparison.new)
        new.update(self._look_at(listing, known, comparison))
        new.difference_update(self.undecided)
        return new

    def confirm(self, listing: Listing, messages: Iterable[Message]) -> tuple[list[Message], list[int]]:
        """Look at what is to be deleted on the word of an earlier run, as UIDs may be given again.

        Returns the messages that are the recorded ones, and the indexes of those that are others, which
        are new. A server without TOP allows no such look: there UID and size alone decide.
        """
        messages = list(messages)
        if not messages or not self._client.offers("TOP"):
            return messages, []
        unseen = [message.index for message in messages if message.index not in self._confirmed]
        others = set(self._look_at_headers(listing, unseen))
        passed = [m for m in messages if m.index not in others and m.index not in self.undecided]
        return passed, sorted(others)

    # -- what is not listed ------------------------------------------------------------------

    def _miss(self, listing: Listing, known: Known, missing: Iterable[tuple[bytes, int]]) -> None:
        """Keep what a complete listing lacks: it is missing at first, and forgotten in the end."""
        if listing.unpaired or listing.unreadable:
            return  # it is not complete: what it lacks may be there
        missed, expired = [], []
        for key in missing:
            row = known.unsettled.get(key)
            if row is None or row.counts_misses:
                missed.append(Key(*key))
            elif row.is_expired(self._now):
                expired.append(Key(*key))
        for event, keys in ((Event.UNLISTED, missed), (Event.EXPIRED, expired)):
            if keys:
                self._store.happened(event, keys, self._now)

    # -- looks -------------------------------------------------------------------------------

    def _look_at(self, listing: Listing, known: Known, comparison: Comparison) -> list[int]:
        """Return the indexes of the messages in doubt that are other messages than the recorded ones."""
        short = {key for key, row in known.unsettled.items() if row.state is State.SHORT}
        whole: list[int] = []
        headers: list[int] = []
        for index in sorted([*comparison.doubted, *comparison.shared]):
            (whole if key_of(listing.message(index)) in short else headers).append(index)
        return [*self._look_at_headers(listing, headers), *self._look_at_whole(listing, whole)]

    def _look_at_headers(self, listing: Listing, indexes: Iterable[int]) -> list[int]:
        return self._decide(listing, headers_of(self._client, indexes), _is_same)

    def _look_at_whole(self, listing: Listing, indexes: Iterable[int]) -> list[int]:
        """Retrieve messages once more that came far shorter than listed."""
        return self._decide(listing, whole_of(self._client, indexes), _is_same_in_whole)

    def _decide(self, listing: Listing, looks: Iterable[tuple[int, Looked]], is_same: _Compare) -> list[int]:
        """Keep what looks show; return the indexes of what is not the recorded message."""
        same: list[Entry] = []
        others: dict[int, bytes | None] = {}
        for index, looked in looks:
            message = listing.message(index)
            recorded = self._store.entry(key_of(message))
            if looked.refusal is not None:
                self.undecided[index] = looked.refusal
            elif recorded is not None and is_same(message, looked, recorded):
                same.append(recorded)
                self._confirmed.add(index)
            else:
                others[index] = identity(looked.headers)
        moved = self._moved(listing, others, {entry.key for entry in same})
        left = others.keys() - self._confirmed
        self._keep(listing, same, moved, left)
        return sorted(left)

    def _moved(self, listing: Listing, others: Mapping[int, bytes | None], used: set[Key]) -> dict[Key, Key]:
        """Return old to new keys of messages that have another place among those that share their UID."""
        moved: dict[Key, Key] = {}
        for index, who in others.items():
            message = listing.message(index)
            for entry in self._store.copies_of(message.uid) if proves(who) else ():
                is_free = entry.key not in used and entry.key != key_of(message)
                if is_free and entry.identity == who and entry.size == message.size:
                    moved[entry.key] = key_of(message)
                    used.add(entry.key)
                    self._confirmed.add(index)
                    break
        return moved

    def _displaced(self, moved: Mapping[Key, Key]) -> dict[Key, Key]:
        """Return where the messages go whose place a moved one takes: to the places that become free."""
        free = [key for key in moved if key not in moved.values()]
        taken = [key for key in moved.values() if key not in moved and self._store.entry(key)]
        return dict(zip(taken, free, strict=False))

    def _keep(self, listing: Listing, same: list[Entry], moved: dict[Key, Key], others: set[int]) -> None:
        """Bring the record up to date with what looks have shown."""
        if moved:
            self._store.rename(moved | self._displaced(moved))
        settled = [entry.key for entry in same if entry.state is not State.FETCHED]
        failed = [key_of(listing.message(index)) for index in self.undecided]
        found = {
            Event.LOOKED_SAME: [*settled, *moved.values()],
            Event.LOOKED_OTHER: [key_of(listing.message(index)) for index in others],
            Event.LOOK_FAILED: failed,
        }
        for event, keys in found.items():
            if keys:
                self._store.happened(event, keys, self._now)
        sizes = {entry.key: listing.size_of(*entry.key) for entry in same}
        changed = {entry.key: sizes[entry.key] for entry in same if sizes[entry.key] != entry.size}
        if changed:
            self._store.resize(changed)

    # -- UIDs that have changed --------------------------------------------------------------

    def _rename_stand_ins(self, listing: Listing, known: Known) -> bool:
        """Rename stand-ins that an older version made of the same headers; return whether there were any."""
        uids = {former: uid for uid, former in listing.former_stand_ins.items()}
        keys = (*known.fetched(), *known.unsettled) if uids else ()
        renamed = {
            Key(former, occurrence): Key(uids[former], occurrence)
            for former, occurrence in keys
            if former in uids and not listing.has(former, occurrence)
        }
        if renamed:
            self._store.rename(renamed)
        return bool(renamed)

    def _match_by_headers(
        self, listing: Listing, known: Known, comparison: Comparison, missing: Iterable[tuple[bytes, int]]
    ) -> bool:
        """Find new messages among the recorded ones that are not listed; return whether there were any.

        They have another UID: the server gives none now, or did not then, or has changed it. If it has
        changed all of them, sizes may differ as well, as servers count in ways of their own; of a few
        messages only if all of them are found: other messages may have taken the place of some.
        """
        recorded = _Recorded(self._still_expected(known, missing))
        if not recorded.sizes:
            return False
        is_move = all_renumbered(known, comparison)
        sizes_of = {index: listing.message(index).size for index in comparison.new}
        candidates = [index for index, size in sizes_of.items() if is_move or size in recorded.sizes]
        if not candidates:
            return False
        seen: dict[int, _Traits] = {}
        for index, looked in headers_of(self._client, candidates):
            if looked.refusal is not None:
                self.undecided[index] = looked.refusal
            seen[index] = _Traits(identity(looked.headers), stand_in_uid(looked.headers, sizes_of[index]))
        found = recorded.find_all({listing.message(index): traits for index, traits in seen.items()}, is_move)
        self._confirmed.update(message.index for message in found)
        self._rename(found)
        if is_move and len(found) > HANDFUL:
            self._reporter.warn(
                f"the server has changed all unique-ids: {len(found)} of {len(listing)} messages"
                " were recognised by their headers and are not fetched again"
            )
        return bool(found)

    def _still_expected(self, known: Known, missing: Iterable[tuple[bytes, int]]) -> Iterator[Entry]:
        """Yield what is recorded of the missing messages, without those that were deleted."""
        for key in missing:
            row = known.unsettled.get(key)
            if row is None or row.state is not State.DELETED:
                entry = self._store.entry(Key(*key))
                if entry is not None:
                    yield entry

    def _rename(self, found: Mapping[Message, Entry]) -> None:
        """Keep messages under the UIDs and with the sizes that the server has given them."""
        if found:
            self._store.rename({entry.key: key_of(message) for message, entry in found.items()})
            self._store.happened(Event.LOOKED_SAME, map(key_of, found), self._now)
            self._store.resize({key_of(message): message.size for message in found})


class _Traits(NamedTuple):
    """What the headers of a listed message show: its identity, and what would stand in for its UID."""

    identity: bytes | None
    stand_in: bytes


class _Recorded:
    """Recorded messages, found by what their headers show."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.sizes: set[int] = set()
        self._by_size: dict[tuple[int, bytes | None], list[Entry]] = {}
        self._by_identity: dict[bytes | None, list[Entry]] = {}
        self._count = 0
        self._by_uid: dict[bytes, list[Entry]] = {}
        for entry in entries:
            self._count += 1
            self.sizes.add(entry.size)
            self._by_size.setdefault((entry.size, entry.identity), []).append(entry)
            self._by_identity.setdefault(entry.identity, []).append(entry)
            self._by_uid.setdefault(entry.key.uid, []).append(entry)

    def find_all(self, listed: Mapping[Message, _Traits], is_move: bool) -> dict[Message, Entry]:
        """Return the recorded message that each listed one is, as far as there is one."""
        found = {
            message: entry for message, traits in listed.items() if (entry := self._take(message, traits))
        }
        if not is_move:
            return found
        counts = Counter(traits.identity for traits in listed.values())
        others = {
            message: entry
            for message, traits in listed.items()
            if message not in found and counts[traits.identity] == 1 and (entry := self._take_unique(traits))
        }
        is_sure = self._count > HANDFUL or len(found) + len(others) == self._count
        return found | others if is_sure else found

    def _take(self, message: Message, traits: _Traits) -> Entry | None:
        """Return the recorded message that size and headers prove to be this one, once, or None."""
        if alike := self._by_uid.get(traits.stand_in):
            return alike.pop(0)
        alike = self._by_size.get((message.size, traits.identity), [])
        return alike.pop(0) if alike and proves(traits.identity) else None

    def _take_unique(self, traits: _Traits) -> Entry | None:
        """Return the recorded message of this identity, if it is the only one, whatever its size, or None."""
        alike = self._by_identity.get(traits.identity, [])
        return alike.pop() if len(alike) == 1 and proves(traits.identity) else None


_Compare = Callable[[Message, Looked, Entry], bool]


def _is_same(message: Message, looked: Looked, recorded: Entry) -> bool:
    who, known = identity(looked.headers), recorded.identity
    if proves(who) and proves(known):
        return who == known
    # Nothing proves that they are one, so that another size, or other weak headers, make them two.
    differ = who is not None and known is not None and len(who) == len(known) and who != known
    return message.size == recorded.size and not differ


def _is_same_in_whole(message: Message, looked: Looked, recorded: Entry) -> bool:
    return looked.octets == recorded.octets and _is_same(message, looked, recorded)
