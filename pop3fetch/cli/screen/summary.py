"""The last line of a `get`: what was fetched, deleted and skipped."""

from __future__ import annotations

from pop3fetch.cli.screen.numbers import counted, human_size
from pop3fetch.fetch.plan import Order
from pop3fetch.fetch.retrieving import Outcome


def summary(outcome: Outcome, order: Order, destination: str) -> str:
    """Return the summary of a run that delivered to ``destination``."""
    done = "marked as fetched" if order.mark else f"fetched ({human_size(outcome.octets)}) to {destination}"
    facts = {
        f"{counted(outcome.messages)} {done}": outcome.messages,
        f"{outcome.deleted} deleted from the server": outcome.deleted,
        f"{outcome.oversize} skipped (larger than {human_size(order.max_size or 0)})": outcome.oversize,
        f"{outcome.failures} failed": outcome.failures,
    }
    return ", ".join(fact for fact, true in facts.items() if true) or "no new messages"
