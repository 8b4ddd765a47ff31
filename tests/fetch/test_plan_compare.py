"""The server's listing beside the record, as tables."""

from __future__ import annotations

import pytest

from pop3fetch.fetch.plan import Comparison, all_renumbered, compare, unlisted
from pop3fetch.messages import Key, Listing, stand_in_uid
from pop3fetch.record.states import Known, State, Unsettled

A, B, C = b"A", b"B", b"C"


def listing(*rows: tuple[bytes | None, int | None]) -> Listing:
    """Return a listing of (UID, size); None for a message that LIST or UIDL lacks."""
    return Listing([size for _, size in rows], [uid for uid, _ in rows])


def unsettled(state: State, *uids: bytes) -> dict[Key, Unsettled]:
    return {Key(uid, 0): Unsettled(state, 0, 1) for uid in uids}


IN_DOUBT = Known(unsettled=unsettled(State.DOUBTED, A))


@pytest.mark.parametrize(
    ("listed", "known", "expected"),
    [
        pytest.param(listing(), Known(), Comparison([], [], 0, []), id="nothing at all"),
        pytest.param(listing((A, 1), (B, 2)), Known(), Comparison([0, 1], [], 0, []), id="a first run"),
        pytest.param(
            listing((A, 1), (B, 2)), Known({A: 1, B: 2}), Comparison([], [], 2, []), id="all fetched before"
        ),
        pytest.param(listing((A, 1), (B, 2)), Known({A: 1}), Comparison([1], [], 1, []), id="one is new"),
        pytest.param(listing((A, 1)), Known({A: 2}), Comparison([], [0], 0, [], 1), id="another size"),
        pytest.param(
            listing((A, 1), (B, 2)), Known({A: 2, B: 1}), Comparison([], [0, 1], 0, [], 2), id="other sizes"
        ),
        pytest.param(
            listing((A, 1), (B, 2), (C, 3)),
            Known({B: 2}, {}, unsettled(State.ADDED, A, C)),
            Comparison([], [], 1, [], 0, (0, 2)),
            id="two that were recorded without the server",
        ),
        pytest.param(listing((A, 9), (B, 9)), IN_DOUBT, Comparison([1], [0], 0, []), id="in doubt"),
        pytest.param(listing((b"a", 1)), Known({A: 1}), Comparison([0], [], 0, []), id="case counts"),
        pytest.param(listing((None, 1), (B, 2)), Known({B: 2}), Comparison([], [], 1, []), id="a gap"),
        pytest.param(listing((A, 0)), Known({A: 0}), Comparison([], [], 1, []), id="no octets"),
    ],
)
def test_a_listing_is_compared_by_uid_and_size(listed: Listing, known: Known, expected: Comparison) -> None:
    assert compare(listed, known) == expected


@pytest.mark.parametrize(
    ("listed", "known", "expected"),
    [
        (listing((A, 1), (A, 1)), Known(), Comparison([0, 1], [], 0, [])),
        (listing((A, 1), (A, 1)), Known({A: 1}), Comparison([1], [], 1, [0])),
        (listing((A, 1), (A, 1)), Known({A: 1}, {Key(A, 1): 1}), Comparison([], [], 2, [0, 1])),
        (listing((A, 1), (A, 2)), Known({A: 2}, {Key(A, 1): 2}), Comparison([], [0], 1, [1], 1)),
        (listing((A, 1), (B, 5), (A, 1)), Known({A: 1, B: 5}), Comparison([2], [], 2, [0])),
        (listing((A, 1)), Known({A: 1}, {Key(A, 1): 1}), Comparison([], [], 1, [])),
    ],
)
def test_messages_that_share_a_uid_are_distinguished_by_their_order_and_named_apart(
    listed: Listing, known: Known, expected: Comparison
) -> None:
    assert compare(listed, known) == expected


@pytest.mark.parametrize(
    ("listed", "known", "expected"),
    [
        (listing((A, 1)), Known({A: 1}), []),
        (listing((A, 1)), Known({A: 2}), []),
        (listing((A, 1)), Known({A: 1, B: 2}), [(B, 0)]),
        (listing((A, 1)), Known({A: 1}, {Key(A, 1): 1}), [(A, 1)]),
        (listing((C, 1)), Known({A: 1, B: 2}), [(A, 0), (B, 0)]),
        (listing((B, 1)), Known({B: 1}, {}, unsettled(State.MISSING, A)), [(A, 0)]),
        (listing((A, 1), (B, 1)), Known({B: 1}, {}, unsettled(State.MISSING, A)), []),
        (listing((A, 1)), Known({B: 1}, {}, unsettled(State.DELETED, A, C)), [(B, 0), (C, 0)]),
    ],
)
def test_what_is_recorded_and_not_listed_is_found(listed: Listing, known: Known, expected: list[Key]) -> None:
    assert unlisted(listed, known, compare(listed, known)) == expected


STAND_IN = stand_in_uid(b"Subject: x", 1)


@pytest.mark.parametrize(
    ("listed", "known", "renumbered"),
    [
        pytest.param(listing((A, 100)), Known({B: 100}), True, id="none of one"),
        pytest.param(listing((A, 100), (B, 100)), Known({B: 100, C: 1}), False, id="one is left"),
        pytest.param(listing((A, 100), (B, 101)), Known({B: 100}), False, id="one is left with another size"),
        pytest.param(listing(), Known({B: 100}), False, id="an empty listing"),
        pytest.param(listing((A, 100)), Known({STAND_IN: 100}), True, id="no stand-ins any more"),
        pytest.param(listing((STAND_IN, 100)), Known(), False, id="a first run with stand-ins"),
        pytest.param(listing((A, 9)), Known({}, {Key(B, 1): 9}), True, id="a copy"),
        pytest.param(
            listing((A, 9)), Known(unsettled=unsettled(State.MISSING, B)), True, id="one was missing before"
        ),
        pytest.param(
            listing((A, 9)), Known(unsettled=unsettled(State.DELETED, B)), False, id="one was deleted"
        ),
    ],
)
def test_all_uids_may_have_changed_if_nothing_is_listed_that_should_be(
    listed: Listing, known: Known, renumbered: bool
) -> None:
    assert all_renumbered(known, compare(listed, known)) is renumbered
