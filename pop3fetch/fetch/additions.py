"""What was added to the record without the server, beside the first listing that it is compared with.

It completes the record: with the sizes that the server lists, and with the UIDs as the server sends
them, because some programs keep only a form of them.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping

from pop3fetch.errors import NothingRecognised
from pop3fetch.fetch.context import Reporter
from pop3fetch.fetch.plan import compare
from pop3fetch.messages import Key, Listing
from pop3fetch.record.states import Event, Known
from pop3fetch.record.store import ADDITIONS, IMPORTED, MARKED_BY, Store

# The forms in which other programs list a UID.
_FORMS: Mapping[str, Callable[[bytes], bytes]] = {
    "fetchmail": lambda uid: uid.partition(b" ")[0][:128],
    "getmail": lambda uid: uid.replace(b"/", b"-"),
}
FORMS = {f"{origin}{name}": form for name, form in _FORMS.items() for origin in (IMPORTED, MARKED_BY)}


def complete(store: Store, listing: Listing, known: Known, reporter: Reporter, now: int) -> None:
    """Complete what is listed; raises NothingRecognised if nothing is, unless the user agrees."""
    additions = store.additions()
    name_as_listed(store, listing, known, additions)
    comparison = compare(listing, store.known())
    sees_some = comparison.added or comparison.doubted or comparison.fetched
    if additions and comparison.new and not sees_some:
        listed = f"the {len(listing)} messages on the server"
        reason = f"none of the {len(additions)} unique-ids added to it is among {listed}"
        error = NothingRecognised(str(store.path), reason)
        if not reporter.agrees(f"{error}. Fetch them all?"):
            raise error
    completed = [listing.message(index) for index in comparison.added]
    store.resize({message.key: message.size for message in completed})
    store.happened(Event.LISTED, (message.key for message in completed), now)
    if listing.is_complete:
        store.remember(ADDITIONS, None)


def name_as_listed(store: Store, listing: Listing, known: Known, additions: Mapping[Key, str]) -> None:
    """Rename what another program lists in a form of its own to the UID that the server lists.

    A UID that is recorded as it is listed comes first; the messages are in the order of the server.
    """
    waiting: dict[str, dict[bytes, deque[Key]]] = {}
    for key, destination in sorted(additions.items()):
        if destination in FORMS and not listing.has(key):
            waiting.setdefault(destination, defaultdict(deque))[key.uid].append(key)
    keys: dict[Key, Key] = {}
    unknown = [listing.message(index) for index in compare(listing, known).new] if waiting else []
    for message in unknown:
        for destination, recorded in waiting.items():
            same = recorded.get(FORMS[destination](message.uid))
            if same:
                keys[same.popleft()] = message.key
                break
    store.rename(keys)
