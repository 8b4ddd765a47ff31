"""The plan of a run, as tables: what is wanted, and what follows."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable

import pytest

from pop3fetch.errors import MessageNotFound
from pop3fetch.fetch.plan import Action, Order, Plan, choose
from pop3fetch.message_words import parse
from pop3fetch.messages import Key, Listing, Message

FIVE = Listing([10, 20, 30, 40, 50], [b"A", b"B", b"C", b"D", b"E"])


def indexes(messages: Iterable[Message]) -> list[int]:
    return [message.index for message in messages]


def planned(
    new: list[int], order: Order, old_enough: Collection[Message] = (), done: Collection[Key] = ()
) -> Plan:
    return Plan(FIVE, choose(FIVE, new, order, done), order, old_enough, new)


def wanted(plan: Plan) -> list[int]:
    return indexes(plan.wanted(0, None))


@pytest.mark.parametrize(
    ("order", "new", "fetched"),
    [
        (Order(), [1, 3], [1, 3]),
        (Order(), [], []),
        (Order(everything=True), [1], [0, 1, 2, 3, 4]),
        (Order(selectors=parse(["4-5", "2"])), [], [3, 4, 1]),
        (Order(selectors=parse(["uid:C", "last"])), [0], [2, 4]),
        (Order(limit=2), [0, 2, 4], [0, 2, 4]),
        (Order(max_size=30), [0, 2, 3], [0, 2]),
        (Order(mark=True), [1, 2], [1, 2]),
        (Order(mark=True, everything=True), [1, 2], [1, 2]),
        (Order(mark=True, selectors=parse(["1-2"])), [1], [1]),
        (Order(mark=True, selectors=parse(["1-2", "uid:nowhere"])), [1], [1]),
    ],
)
def test_what_is_fetched_follows_from_the_order(order: Order, new: list[int], fetched: list[int]) -> None:
    assert wanted(planned(new, order)) == fetched


def test_what_is_too_large_is_named_apart() -> None:
    plan = planned([0, 1, 2, 3], Order(max_size=20, limit=2), [])
    assert (wanted(plan), indexes(plan.oversize)) == ([0, 1], [2, 3])


@pytest.mark.parametrize(
    ("order", "new", "uids"),
    [
        (Order(), [1, 3], b""),
        (Order(everything=True), [1, 3], b"ACE"),
        (Order(everything=True, max_size=40), [1], b"ACD"),
        (Order(selectors=parse(["4-5", "2"])), [3], b"EB"),
    ],
)
def test_what_is_fetched_and_not_new_is_fetched_again(order: Order, new: list[int], uids: bytes) -> None:
    again = list(planned(new, order).wanted_again())
    assert again == [Key(uids[place : place + 1], 0) for place in range(len(uids))]


@pytest.mark.parametrize(
    ("order", "due"),
    [
        (Order(delete=True), sys.maxsize),
        (Order(delete_after=0), 1_000_000),
        (Order(delete_after=3), 1_000_000 - 3 * 24 * 60 * 60),
    ],
)
def test_what_was_delivered_days_ago_is_due(order: Order, due: int) -> None:
    assert order.due(1_000_000.9) == due


def test_a_selector_that_selects_nothing_is_an_error() -> None:
    with pytest.raises(MessageNotFound, match="uid:nowhere"):
        planned([], Order(selectors=parse(["1", "uid:nowhere"])), [])


def test_what_is_fetched_again_is_not_deleted_before() -> None:
    plan = planned([], Order(selectors=parse(["1-2"]), delete=True), list(FIVE))
    assert (wanted(plan), indexes(plan.deletions(()))) == ([0, 1], [2, 3, 4])


def test_what_this_run_has_delivered_is_not_fetched_again() -> None:
    order = Order(everything=True, delete=True)
    delivered = {Key(b"A", 0), Key(b"B", 0)}
    old_enough = [FIVE.message(0), FIVE.message(1)]
    plan = planned([2, 3, 4], order, old_enough, delivered)
    assert (wanted(plan), indexes(plan.deletions(()))) == ([2, 3, 4], [0, 1])


@pytest.mark.parametrize(
    ("order", "at_once"),
    [
        (Order(), False),
        (Order(delete=True), True),
        (Order(delete_after=0), True),
        (Order(delete_after=1), False),
        (Order(delete=True, delete_after=1), True),
    ],
)
def test_what_is_delivered_is_deleted_at_once_by_delete_or_after_zero_days(
    order: Order, at_once: bool
) -> None:
    assert order.deletes_at_once is at_once


@pytest.mark.parametrize(
    ("order", "actions"),
    [
        (Order(), [("fetch", 1), ("fetch", 2), ("delete", 4)]),
        (Order(limit=1), [("fetch", 1), ("delete", 4)]),
        (Order(mark=True, limit=1), [("mark", 1), ("delete", 4)]),
        (Order(delete=True), [("fetch", 1), ("fetch", 2), ("delete", 4), ("delete", 1), ("delete", 2)]),
        (Order(delete=True, limit=1), [("fetch", 1), ("delete", 4), ("delete", 1)]),
        (Order(delete_after=1), [("fetch", 1), ("fetch", 2), ("delete", 4)]),
    ],
)
def test_plan_is_a_list_of_actions(order: Order, actions: list[tuple[str, int]]) -> None:
    plan = planned([1, 2], order, [FIVE.message(4)])
    assert [(verb, message.index) for verb, message in plan] == actions
    assert all(isinstance(action, Action) for action in plan)


@pytest.mark.parametrize(
    ("order", "deleted"),
    [(Order(delete=True), [4, 2]), (Order(delete_after=0), [4, 2]), (Order(delete_after=1), [4])],
)
def test_only_what_was_delivered_is_deleted(order: Order, deleted: list[int]) -> None:
    plan = planned([1, 2], order, [FIVE.message(4)])
    assert indexes(plan.deletions({Key(b"C", 0), Key(b"D", 0)})) == deleted
