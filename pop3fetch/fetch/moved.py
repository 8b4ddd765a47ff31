"""The record of another address, beside the first listing of the new one: is it the same mailbox?

UIDs are a server's own. Another one may give the same ones, such as plain numbers, to other messages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pop3fetch.errors import POP3Error
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
    A message that cannot be looked at decides nothing. If too few others are left, the first refusal that
    is temporary is raised: one mail may be in two mailboxes.
    """
    if not len(listing):  # nothing to compare yet
        return True
    agreeing = [message for message in listing if known.size_of(message) == message.size]
    sample = {message.index: message for message in agreeing[:: len(agreeing) // SAMPLE + 1]}
    same: list[bool] = []
    failures: list[POP3Error] = []
    for index, looked in headers_of(client, sample):
        if failure := looked.failure(index, sample[index].size):
            failures.append(failure)
            continue
        recorded = store.entry(sample[index].key)
        same.append(recorded is not None and is_same(sample[index], looked, recorded))
    is_same_one = bool(same) and all(same) and len(same) >= len(failures)
    if all(same) and not is_same_one:
        for failure in failures:
            if failure.is_temporary:
                raise failure
    if not is_same_one:
        unlisted = store.additions() if store.fact(ADDITIONS) else {}
        keys = {*known.fetched(), *known.unsettled} - unlisted.keys()
        store.rename({key: set_aside(key) for key in keys})
    store.remember(MOVED, None)
    return is_same_one
