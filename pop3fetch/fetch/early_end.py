"""A run that ends early: how many of its messages are safe."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from pop3fetch.fetch.context import Context
from pop3fetch.fetch.plan import Order, Plan, Standing
from pop3fetch.messages import Key


def standing(context: Context, order: Order, plan: Plan, delivered: AbstractSet[Key]) -> Standing:
    """Return how a run stands after it was tidied up; ``plan`` is its last session's."""
    wanted = {message.key for message in plan.wanted(0, order.limit)} - delivered
    others_are_new = not (order.selectors or order.everything)
    safe = len(delivered)
    if others_are_new:  # a delivery may have failed after it had recorded some messages
        safe += len(wanted & context.store.delivered_before(int(context.clock())))
    count = len(delivered) + len(wanted)
    return Standing(safe, count if order.limit is None else min(count, order.limit), others_are_new)
