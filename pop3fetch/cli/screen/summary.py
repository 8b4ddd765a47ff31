"""The last line of a `get`: what was fetched, deleted and skipped."""

from __future__ import annotations

from collections.abc import Sequence

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
    nothing = "no matching messages" if order.filters else "no new messages"
    return ", ".join(fact for fact, true in facts.items() if true) or nothing


def summary_of_all(accounts: int, outcomes: Sequence[Outcome], failed: Sequence[str]) -> str:
    """Return the last line of a run over all accounts; ``failed`` are the names of those that failed."""
    messages, octets, deleted = (
        sum(getattr(outcome, sum_of) for outcome in outcomes) for sum_of in ("messages", "octets", "deleted")
    )
    line = f"{accounts} accounts: {counted(messages)} fetched ({human_size(octets)})"
    if deleted:
        line += f", {deleted} deleted from the server"
    return f"{line}; {len(failed)} failed: {', '.join(failed)}" if failed else line
