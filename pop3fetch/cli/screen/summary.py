"""The last line of a `get`: what was fetched, deleted and skipped."""

from __future__ import annotations

from collections.abc import Sequence

from pop3fetch.cli.screen.numbers import counted, human_size
from pop3fetch.fetch.plan import Order
from pop3fetch.fetch.retrieving import Outcome


def summary(outcome: Outcome, order: Order, destination: str) -> str:
    """Return the summary of a run that delivered to ``destination``."""
    done = "marked as fetched" if order.mark else f"fetched ({human_size(outcome.octets)}) to {destination}"
    again = f"{outcome.again} of them again" if outcome.messages > 1 else "again"
    of_each = " of each" if outcome.again > 1 else ""
    facts = {
        f"{counted(outcome.messages)} {done}": outcome.messages,
        f"{again}: there is now another copy{of_each}": outcome.again,
        f"{outcome.deleted} deleted from the server": outcome.deleted,
        left(outcome, order): True,
    }
    nothing = "no matching messages" if order.filters else "no new messages"
    return ", ".join(fact for fact, true in facts.items() if fact and true) or nothing


def left(outcome: Outcome, order: Order) -> str:
    """Return what a run, or a dry run, leaves on the server although it is new; "" if there is nothing."""
    facts = {
        f"{outcome.oversize} skipped (larger than {human_size(order.max_size or 0)})": outcome.oversize,
        f"{outcome.failures} failed": outcome.failures,
    }
    return ", ".join(fact for fact, true in facts.items() if true)


def summary_of_all(accounts: int, outcomes: Sequence[Outcome] | None, failed: Sequence[str]) -> str:
    """Return the last line of a run over all accounts; ``failed`` are the names of those that failed.

    ``outcomes`` are None after a dry run, which has shown the sums of each account.
    """
    line = "1 account" if accounts == 1 else f"{accounts} accounts"
    if outcomes is None:
        line += ": nothing was changed"
    else:
        messages, octets, deleted = (
            sum(getattr(outcome, sum_of) for outcome in outcomes)
            for sum_of in ("messages", "octets", "deleted")
        )
        line += f": {counted(messages)} fetched ({human_size(octets)})"
        if deleted:
            line += f", {deleted} deleted from the server"
    return f"{line}; {len(failed)} failed: {', '.join(failed)}" if failed else line
