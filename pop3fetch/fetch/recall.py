"""Which listed messages are new, as the record and, if necessary, a look at them show.

A UID alone proves nothing. Servers give UIDs again, give one to several messages, change sizes of
messages that stay the same (Mailutils), leave messages out of a listing, or change all UIDs at once (a
migration). So a message that the record and the listing disagree about is looked at, and compared by the
identity of its headers; what follows from a look is in :mod:`pop3fetch.record.states`. A record of
which nothing is listed any more is matched by identity before anything is fetched again.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import suppress
from typing import TYPE_CHECKING

from pop3fetch.ahead import Ahead
from pop3fetch.errors import IncompleteMessage, MalformedListing, POP3Error
from pop3fetch.fetch.context import Reporter
from pop3fetch.fetch.plan import Comparison, Order, all_renumbered, compare, unlisted
from pop3fetch.fetch.survey import Looked, Recorded, headers_of, whole_of
from pop3fetch.headers.fields import Identity, former_identity, identity, proves, received_at
from pop3fetch.messages import Key, Listing, Message, is_short, stand_in_uid, stands_in
from pop3fetch.pop3.replies import UNFAMILIAR, Digests
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.states import DAY, Event, Known, State
from pop3fetch.record.store import ADDITIONS, LISTING, MOVED, Entry, Store, known_at
from pop3fetch.values import NamedTuple

if TYPE_CHECKING:
    from pop3fetch.pop3.mail_session import MailSession


def recorded_in(place: RecordPlace, account: str) -> Recorded:
    """Return what the record at ``place``, which another run may hold, knows of the account's server."""
    return Recorded(account, lambda: known_at(place).has_unique_ids)


# What is recorded of messages that may be listed without a unique-id, until they are DOUBTED.
UNSURE = {
    State.FETCHED: Event.UNLISTED,
    State.SHORT: Event.UNLISTED,
    State.MISSING: Event.LOOK_FAILED,
    State.DELETED: Event.LOOK_FAILED,
}
HANDFUL = 5  # messages of which none is listed any more, which need not mean that the server was moved


class Remembered:
    """What the record has of an account, loaded in the background: 100 000 messages take as long as a login.

    Most runs find the mailbox as the last one left it. So if a run leaves nothing new, the record keeps
    digests of what the server listed, and the next run compares those before it loads anything. Every
    change of the record drops them (see :class:`~pop3fetch.record.store.Store`). With digests a run with
    nothing new among 100 000 messages takes a third of the time (benchmark row ``nothing-new``).

    So does a run that deletes, while the record has nothing that is due at ``now``.
    """

    def __init__(self, store: Store, order: Order, now: float) -> None:
        self._store = store
        # Whether there is nothing to do if nothing is new.
        self._may_be_familiar = not (order.selectors or order.everything or order.dry_run) and not (
            order.deletes and store.has_deletable(order.due(now), marked=order.delete_marked)
        )
        words = (store.fact(LISTING) or "").split() if self._may_be_familiar else []
        self.digests = Digests(*words) if len(words) == len(Digests._fields) else UNFAMILIAR
        self._known: Ahead[Known] | None = None
        if self.digests == UNFAMILIAR:
            self.load()

    def load(self) -> Ahead[Known]:
        """Begin to load what is recorded, unless it is begun; its result can be taken once."""
        self._known = self._known or Ahead(self._store.known)
        return self._known

    def keep(self, digests: Digests, listing: Listing) -> None:
        """Keep the digests of a listing that is recorded completely.

        Every message must have a unique-id of its own; otherwise each run must look at some of them.
        """
        is_ambiguous = listing.unpaired or listing.has_copies or any(map(stands_in, listing.uids))
        if self._may_be_familiar and self.digests != digests and not is_ambiguous:
            with suppress(POP3Error):  # without them the next run reads the listing once more
                self._store.remember(LISTING, " ".join(digests))


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
        self._is_same_mailbox = True  # as far as the account's address shows
        self.undecided: dict[int, POP3Error] = {}

    def new(self, listing: Listing, known: Known) -> set[int]:
        """Return the indexes of the messages that are new; raises what a session raises."""
        if listing.former_stand_ins and self._rename_stand_ins(listing, known):
            known = self._store.known()
        if self._store.fact(MOVED):
            from pop3fetch.fetch.moved import is_same_mailbox

            self._is_same_mailbox = is_same_mailbox(self._client, self._store, listing, known, _is_same)
            known = self._store.known()
        if self._store.fact(ADDITIONS):
            from pop3fetch.fetch.additions import complete

            complete(self._store, listing, known, self._reporter, self._now)
            known = self._store.known()
        comparison = compare(listing, known)
        missing = unlisted(listing, known, comparison)
        if comparison.new and missing and self._match_by_headers(listing, known, comparison, missing):
            known = self._store.known()
            comparison = compare(listing, known)
            missing = unlisted(listing, known, comparison)
        if missing and listing.is_complete:
            from pop3fetch.record.missing import miss

            miss(self._store, known, missing, self._now)
        new = set(comparison.new)
        if listing.unusable:
            self.undecided |= _unsure_copies(listing, known)
        if comparison.doubted or comparison.shared:
            new.update(self._look_at(listing, known, comparison))
        new.difference_update(self.undecided)
        return new

    def confirm(self, listing: Listing, messages: Iterable[Message]) -> tuple[list[Message], list[int]]:
        """Look at what is to be deleted on the word of an earlier run, as UIDs may be given again.

        Returns the messages that are the recorded ones, and the indexes of those that are others, which
        are new. Without TOP there is no such look: UID and size alone decide.
        """
        messages = list(messages)
        if not messages or not self._client.offers("TOP"):
            return messages, []
        unseen = [message.index for message in messages if message.index not in self._confirmed]
        others = set(self._look_at_headers(listing, unseen))
        passed = [m for m in messages if m.index not in others and m.index not in self.undecided]
        return passed, sorted(others)

    # -- looks -------------------------------------------------------------------------------

    def _look_at(self, listing: Listing, known: Known, comparison: Comparison) -> list[int]:
        """Return the indexes of the messages in doubt that are other messages than the recorded ones."""
        # Also those that were missing meanwhile: headers show nothing of what they lack.
        short = self._store.short() if known.unsettled else set()
        whole: list[int] = []
        headers: list[int] = []
        for index in sorted({*comparison.doubted, *comparison.shared} - self.undecided.keys()):
            message = listing.message(index)
            needs_all = message.key in short or self._needs_octets(message)
            (whole if needs_all else headers).append(index)
        others = self._decide(listing, whole_of(self._client, whole), _is_same_as_a_whole)
        return [*self._look_at_headers(listing, headers), *others]

    def _needs_octets(self, message: Message) -> bool:
        """Whether headers do not show if it is the recorded message, because LIST lacks it, or lacked it.

        They prove nothing, or the message came far shorter than it is listed now.
        """
        recorded = self._store.entry(message.key)
        if recorded is None or not _lacks_size(message, recorded):
            return False
        return not proves(recorded.identity) or is_short(message.size, recorded.octets)

    def _look_at_headers(self, listing: Listing, indexes: Iterable[int]) -> list[int]:
        return self._decide(listing, headers_of(self._client, indexes), _is_same)

    def _decide(self, listing: Listing, looks: Iterable[tuple[int, Looked]], is_same: _Compare) -> list[int]:
        """Keep what looks show; return the indexes of what is not the recorded message."""
        same: list[Entry] = []
        others: dict[int, Identity | None] = {}
        first_seen: dict[Key, Identity] = {}
        for index, looked in looks:
            message = listing.message(index)
            recorded = self._store.entry(message.key)
            failure = looked.failure(index, message.size)
            if not message.size and looked.is_blank and recorded and recorded.identity:
                # LIST lacks the message, and no headers show what the record has of them.
                failure = failure or IncompleteMessage(message.number, recorded.size)
            if failure:
                self.undecided[index] = failure
            elif recorded is not None and is_same(message, looked, recorded):
                same.append(recorded)
                self._confirmed.add(index)
                if recorded.unseen_since is not None and (who := identity(looked.headers)):
                    first_seen[recorded.key] = who
            elif recorded is not None and _shows_less(message, looked, recorded):
                self.undecided[index] = IncompleteMessage(message.number, message.size, looked.octets)
            else:
                others[index] = identity(looked.headers)
        moved = self._moved(listing, others, {entry.key for entry in same})
        left = others.keys() - self._confirmed
        self._keep(listing, same, moved, left)
        if first_seen:
            self._store.identify(first_seen)
        return sorted(left)

    def _moved(
        self, listing: Listing, others: Mapping[int, Identity | None], used: set[Key]
    ) -> dict[Key, Key]:
        """Return old to new keys of messages that have another place among those that share their UID."""
        moved: dict[Key, Key] = {}
        for index, who in others.items():
            message = listing.message(index)
            for entry in self._store.copies_of(message.uid) if proves(who) else ():
                is_free = entry.key not in used and entry.key != message.key and not _is_short(entry)
                if is_free and entry.identity == who and entry.size == message.size:
                    moved[entry.key] = message.key
                    used.add(entry.key)
                    self._confirmed.add(index)
                    break
        return moved

    def _keep(self, listing: Listing, same: list[Entry], moved: dict[Key, Key], others: set[int]) -> None:
        """Bring the record up to date with what looks have shown."""
        if moved:
            # Messages whose place a moved one takes go to the places that become free.
            free = [key for key in moved if key not in moved.values()]
            taken = [key for key in moved.values() if key not in moved and self._store.entry(key)]
            self._store.rename(moved | dict(zip(taken, free, strict=False)))
        settled = [entry.key for entry in same if entry.state is not State.FETCHED]
        failed = [listing.message(index).key for index in self.undecided]
        found = {
            Event.LOOKED_SAME: [*settled, *moved.values()],
            Event.LOOKED_OTHER: [listing.message(index).key for index in others],
            Event.LOOK_FAILED: failed,
        }
        for event, keys in found.items():
            if keys:
                self._store.happened(event, keys, self._now)
        # A size that LIST lacks takes nothing from the record.
        sizes = {entry.key: listing.size_of(entry.key) or entry.size for entry in same}
        changed = {entry.key: sizes[entry.key] for entry in same if sizes[entry.key] != entry.size}
        if changed:
            self._store.resize(changed)

    # -- UIDs that have changed --------------------------------------------------------------

    def _rename_stand_ins(self, listing: Listing, known: Known) -> bool:
        """Rename stand-ins that an older version made of the same headers; return whether there were any."""
        uids = {former: uid for uid, former in listing.former_stand_ins.items()}
        keys = (*known.fetched(), *known.unsettled) if uids else ()
        renamed = {
            former: Key(uids[former.uid], former.occurrence)
            for former in keys
            if former.uid in uids and not listing.has(former)
        }
        if renamed:
            self._store.rename(renamed)
        return bool(renamed)

    def _match_by_headers(
        self, listing: Listing, known: Known, comparison: Comparison, missing: Iterable[Key]
    ) -> bool:
        """Find new messages among the recorded ones that are not listed; return whether there were any.

        They have another UID: the server gives none now, or did not then, or has changed it. If it has
        changed all of them, sizes may differ as well, as servers count in ways of their own; of a few
        messages only if all of them are found: other messages may have taken the place of some.
        """
        recorded = _Recorded(self._still_expected(listing, known, missing))
        is_move = all_renumbered(known, comparison)
        sizes_of = {index: listing.message(index).size for index in comparison.new}
        candidates = [index for index, size in sizes_of.items() if is_move or recorded.has_size(size)]
        if not candidates:
            return False
        seen: dict[int, _Traits] = {}
        for index, looked in headers_of(self._client, candidates):
            if failure := looked.failure(index, sizes_of[index]):
                self.undecided[index] = failure
            seen[index] = _Traits(identity(looked.headers), stand_in_uid(looked.headers, sizes_of[index]))
        listed = {listing.message(index): traits for index, traits in seen.items()}
        found = recorded.find_all(listed, is_move)
        # Headers without a size do not distinguish a message that is listed again from another copy.
        unsure = {
            m.index: m for m, (who, _) in listed.items() if m not in found and recorded.may_be_deleted(m, who)
        }
        for index, looked in whole_of(self._client, unsure):
            if failure := looked.failure(index, 0):
                self.undecided[index] = failure
            elif entry := recorded.take_deleted(identity(looked.headers), looked.octets):
                found[unsure[index]] = entry
        if listing.unpaired:
            self._wait_for_uids(
                recorded, {message: listed[message] for message in listed.keys() - found.keys()}
            )
        if not found or not (self._is_same_mailbox or recorded.are_mostly(found, candidates)):
            return False
        # The record keeps them under the UIDs and with the sizes that the server has given them.
        self._store.rename({entry.key: message.key for message, entry in found.items()})
        # What came far shorter than listed is still to be looked at as a whole.
        confirmed = [message for message, entry in found.items() if not _is_short(entry)]
        self._confirmed.update(message.index for message in confirmed)
        self._store.happened(Event.LOOKED_SAME, (message.key for message in confirmed), self._now)
        self._store.resize({message.key: message.size or entry.size for message, entry in found.items()})
        if is_move and len(found) > HANDFUL:
            self._reporter.warn(
                f"the server has changed all unique-ids: {len(found)} of {len(listing)} messages"
                " were recognised by their headers and are not fetched again"
            )
        return True

    def _wait_for_uids(self, recorded: _Recorded, listed: Mapping[Message, _Traits]) -> None:
        """Leave what UIDL lacks, and may be recorded, to the next session, in which it is new if need be."""
        taken = {message.index: recorded.take_unsure(message, traits) for message, traits in listed.items()}
        unsure = {index: entry for index, entry in taken.items() if entry}
        error = MalformedListing("UIDL lacks its unique-id, and its headers do not show if it is new")
        self.undecided |= dict.fromkeys(unsure, error)
        for state, event in UNSURE.items():
            keys = [entry.key for entry in unsure.values() if entry.state is state]
            if keys:
                self._store.happened(event, keys, self._now)

    def _still_expected(self, listing: Listing, known: Known, missing: Iterable[Key]) -> Iterator[Entry]:
        """Yield what is recorded of the missing messages.

        Those that were deleted are left out, unless a server that takes a deletion back would list them
        under another name: UIDL lacked them then, or lacks some now.
        """
        for key in missing:
            row = known.unsettled.get(key)
            if row is None or row.state is not State.DELETED or stands_in(key.uid) or listing.unpaired:
                entry = self._store.entry(key)
                # Headers show nothing of what this program has never seen.
                if entry is not None and (entry.unseen_since is None or stands_in(key.uid)):
                    yield entry


class _Traits(NamedTuple):
    """What the headers of a listed message show: its identity, and what would stand in for its UID."""

    identity: Identity | None
    stand_in: bytes


class _Alike:
    """Recorded messages by their size and identity; a size of 0 is not known, as LIST lacked the message."""

    def __init__(self) -> None:
        self.by_identity: dict[Identity | None, deque[Entry]] = {}
        self._by_size: dict[tuple[int, Identity | None], deque[Entry]] = {}

    def add(self, entry: Entry) -> None:
        self.by_identity.setdefault(entry.identity, deque()).append(entry)
        self._by_size.setdefault((entry.size, entry.identity), deque()).append(entry)

    def places(self, message: Message, who: Identity | None) -> list[deque[Entry] | None]:
        """Return where the recorded message may be, the likeliest place first."""
        places = [self._by_size.get((message.size, who)), self._by_size.get((0, who))]
        return places if message.size else [*places, self.by_identity.get(who)]


class _Recorded:
    """Recorded messages, found by what their headers show."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._sizes: set[int] = set()  # 0 if LIST lacked the message
        self._expected = _Alike()
        self._deleted = _Alike()
        self._deleted_stand_ins = _Alike()
        self._count = 0
        self._taken: set[Key] = set()
        self._by_uid: dict[bytes, deque[Entry]] = {}
        for entry in entries:
            self._sizes.add(entry.size)
            if entry.state is not State.DELETED:
                self._count += 1
                self._expected.add(entry)
            elif stands_in(entry.key.uid):
                self._deleted_stand_ins.add(entry)
            else:  # so that another copy of it is new, its size must be known
                self._deleted.add(entry._replace(size=entry.size or entry.octets or 0))
                continue
            self._by_uid.setdefault(entry.key.uid, deque()).append(entry)

    def has_size(self, size: int) -> bool:
        """Return whether a message of this size is recorded, as far as both sizes are known."""
        return bool(self._sizes) and (not size or size in self._sizes or 0 in self._sizes)

    def are_mostly(self, found: Sized, listed: Sized) -> bool:
        """Return whether so many are ``found`` that it is the same mailbox, not one with some of its mail."""
        most = 2 * len(found) >= min(self._count, len(listed))
        return len(found) == self._count or (len(found) > HANDFUL and most)

    def may_be_deleted(self, message: Message, who: Identity | None) -> bool:
        """Return whether a message whose size LIST lacks may be one that was deleted under a stand-in."""
        return not message.size and proves(who) and who in self._deleted_stand_ins.by_identity

    def take_deleted(self, who: Identity | None, octets: int | None) -> Entry | None:
        """Return the deleted message that had a stand-in and came with so many octets, once, or None."""
        alike = self._deleted_stand_ins.by_identity.get(who, ())
        return self._first(deque(entry for entry in alike if entry.octets == octets))

    def find_all(self, listed: Mapping[Message, _Traits], is_move: bool) -> dict[Message, Entry]:
        """Return the recorded message that each listed one is, as far as there is one."""
        # A message without a size could be any copy: first those that have one.
        in_order = sorted(listed.items(), key=lambda pair: not pair[0].size)
        found = {message: entry for message, traits in in_order if (entry := self._take(message, traits))}
        if not is_move:
            return found
        counts = Counter(traits.identity for traits in listed.values())
        others: dict[Message, Entry] = {}
        for message, (who, _) in listed.items():
            # The only one recorded is the only one listed with the same identity, whatever their sizes.
            alike = self._expected.by_identity.get(who)
            is_unique = counts[who] == 1 and alike and len(alike) == 1 and proves(who)
            if message not in found and is_unique and (entry := self._first(alike)):
                others[message] = entry
        is_sure = self._count > HANDFUL or len(found) + len(others) == self._count
        return found | others if is_sure else found

    def _take(self, message: Message, traits: _Traits) -> Entry | None:
        """Return the recorded message that size and headers prove to be this one, once, or None."""
        found, who = self._first(self._by_uid.get(traits.stand_in)), traits.identity
        if found or not proves(who):
            return found
        places = self._expected.places(message, who)
        if stands_in(message.uid):
            places += self._deleted.places(message, who)
        return next(filter(None, map(self._first, places)), None)

    def take_unsure(self, message: Message, traits: _Traits) -> Entry | None:
        """Return what a message that UIDL lacks may be, although nothing proves it, unless it was put off."""
        if proves(traits.identity) or not stands_in(message.uid):
            return None
        recorded = (self._expected, self._deleted, self._deleted_stand_ins)
        places = (place for alike in recorded for place in alike.places(message, traits.identity))
        entry = next(filter(None, map(self._first, places)), None)
        return entry if entry and entry.state in UNSURE else None

    def _first(self, alike: deque[Entry] | None) -> Entry | None:
        """Take the first that is not taken yet, or return None."""
        while alike:
            entry = alike.popleft()
            if entry.key not in self._taken:
                self._taken.add(entry.key)
                return entry
        return None


def _unsure_copies(listing: Listing, known: Known) -> dict[int, POP3Error]:
    """Return the messages that share a UID: one of them may be in a line that was left out."""
    shared = {uid for uid, occurrence in (*known.copies, *known.unsettled) if occurrence}
    shared |= {message.uid for message in listing if message.occurrence}
    error = MalformedListing("messages share its unique-id, and the line of one may be unusable")
    return {message.index: error for message in listing if message.uid in shared}


def _is_short(recorded: Entry) -> bool:
    """Whether it came far shorter than listed, and was not shown like that by another session."""
    return recorded.state is not State.FETCHED and is_short(recorded.size, recorded.octets)


_Compare = Callable[[Message, Looked, Entry], bool]


def _is_same(message: Message, looked: Looked, recorded: Entry) -> bool:
    if recorded.unseen_since is not None:
        # Nothing is known of it but when it was fetched. Rather twice than never.
        date = received_at(looked.headers)
        return date is not None and date.timestamp() <= recorded.unseen_since + DAY
    who, known = identity(looked.headers), recorded.identity
    former = former_identity(looked.headers)  # None if a look shows none of the fields that it is of
    if proves(known) and former:
        return known in (who, former)
    # Nothing proves that they are one, so that another size, or other weak headers, make them two.
    differ = who is not None and known is not None and not proves(known) and who != known
    has_same_size = message.size == recorded.size
    if looked.octets is not None and _lacks_size(message, recorded):
        octets = (recorded.size or None) if recorded.octets is None else recorded.octets
        has_same_size = octets in (None, looked.octets)
    return has_same_size and not differ


def _is_same_as_a_whole(message: Message, looked: Looked, recorded: Entry) -> bool:
    return recorded.octets in (None, looked.octets) and _is_same(message, looked, recorded)


def _shows_less(message: Message, looked: Looked, recorded: Entry) -> bool:
    """Whether the recorded message came more complete than the server sends it now."""
    less = recorded.octets is not None and looked.octets is not None and looked.octets < recorded.octets
    return less and is_short(message.size, looked.octets) and _is_same(message, looked, recorded)


def _lacks_size(message: Message, recorded: Entry) -> bool:
    return message.size != recorded.size and 0 in (message.size, recorded.size)
