"""The record of another address, beside the first listing of the new one: is it the same mailbox?

UIDs are a server's own. Another one may give the same ones, such as plain numbers, to other messages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pop3fetch.fetch.survey import Looked, headers_of
from pop3fetch.messages import Listing, Message
from pop3fetch.record.states import Known
from pop3fetch.record.store import ADDITIONS, MOVED, Entry, Store, set_aside

if TYPE_CHECKING:
    from pop3fetch.pop3.mail_session import MailSession

SAMPLE = 10  # messages that are looked at: if each is the recorded one, so are the others

IsSame = Callable[[Message, Looked, Entry], bool]


def is_same_mailbox(
    client: MailSession, store: Store, listing: Listing, known: Known, is_same: IsSame
) -> bool:
    """Return whether the UIDs of the record are those of the server.

    If not, the record keeps its messages under UIDs that no server has, as after a change of all UIDs.
    """
    if not len(listing):  # nothing to compare yet
        return True
    agreeing = [message for message in listing if known.size_of(message) == message.size]
    sample = {message.index: message for message in agreeing[:: len(agreeing) // SAMPLE + 1]}
    differ = not sample
    for index, looked in headers_of(client, sample):
        recorded = store.entry(sample[index].key)
        is_shown = recorded and not looked.failure(index, sample[index].size)
        differ |= not (is_shown and recorded and is_same(sample[index], looked, recorded))
    if differ:
        unlisted = store.additions() if store.fact(ADDITIONS) else {}
        keys = {*known.fetched(), *known.unsettled} - unlisted.keys()
        store.rename({key: set_aside(key) for key in keys})
    store.remember(MOVED, None)
    return not differ
