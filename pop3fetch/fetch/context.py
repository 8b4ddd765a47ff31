"""What a run works with: the server, the record, the destination, and whom it tells."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pop3fetch.delivery.destination import Destination
from pop3fetch.fetch.batch import BATCH_MESSAGES
from pop3fetch.fetch.reporter import Reporter
from pop3fetch.fetch.settling import Reopen
from pop3fetch.record.store import Store

if TYPE_CHECKING:
    from pop3fetch.pop3.mail_session import MailSession

Connect = Callable[[bool], "MailSession"]  # (pipelining) -> a client that is logged in


class Surroundings(NamedTuple):
    """What a run works with: ``connect`` gives a client that is logged in, ``reopen`` a destination
    that an earlier run delivered to, ``clock`` seconds since the epoch; ``room``: drafts in a batch;
    ``account``: its address, for errors."""

    connect: Connect
    store: Store
    destination: Destination
    reopen: Reopen
    reporter: Reporter
    clock: Callable[[], float] = time.time
    room: int = BATCH_MESSAGES
    account: str = ""
