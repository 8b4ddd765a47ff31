"""Messages that were added to the record without the server, in the sessions after that."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from pop3fetch.errors import NothingRecognised
from pop3fetch.fetch.plan import Order
from pop3fetch.messages import Key
from pop3fetch.record.editing import Addition, EditedStore
from pop3fetch.record.states import DAY, State
from pop3fetch.record.store import ADDED, IMPORTED, MARKED, MARKED_BY, Entry
from tests.support.fetching import Account, message, numbered, on_disk
from tests.support.mail_server import CAPABILITIES, Mailbox
from tests.support.scripted_server import ScriptedServer, StartServer

WRITTEN = 1_767_225_600  # the Date of the messages: 1 January 2026
FOUR = numbered(4)
UIDS = (b"uid-1", b"uid-2", b"uid-3", b"uid-4")
NO_TOP = tuple(name for name in CAPABILITIES if name != b"TOP")
DELETE, DELETE_MARKED = Order(delete=True), Order(delete=True, delete_marked=True)


@pytest.fixture
def account(tmp_path: Path) -> Account:
    account = Account(tmp_path)
    account.now = WRITTEN + 10 * DAY
    return account


def add(account: Account, *additions: Addition) -> int:
    with closing(EditedStore(account.place)) as store:
        return store.add(additions, account.now)


def entries(account: Account) -> dict[bytes, Entry]:
    with account.store() as store:
        return {entry.key.uid: entry for entry in store.entries()}


def numbers_of(account: Account) -> list[int]:
    return sorted(account.told.delivered_paths)


def looks(server: ScriptedServer) -> list[bytes]:
    return [line.rstrip() for line in server.commands if line.split()[0] in (b"TOP", b"RETR")]


class Case(NamedTuple):
    """What was added; the UIDs that the server lists; the numbers of the messages that are fetched."""

    added: Sequence[Addition]
    fetched: list[int]
    listed: Sequence[bytes] = UIDS


def imported(program: str, *uids: bytes) -> list[Addition]:
    return [Addition(uid, WRITTEN, IMPORTED + program) for uid in uids]


CASES = {
    "uids": Case([Addition(b"uid-1"), Addition(b"uid-3")], [2, 4]),
    "uids that are gone": Case([Addition(b"old"), Addition(b"uid-1"), Addition(b"older")], [2, 3, 4]),
    "all": Case(list(map(Addition, UIDS)), []),
    "case counts": Case([Addition(b"UID-1"), Addition(b"uid-2")], [1, 3, 4]),
    "a size that is right": Case([Addition(b"uid-2", size=len(FOUR[1]))], [1, 3, 4]),
    "a size that is wrong": Case([Addition(b"uid-2", WRITTEN, size=7)], [1, 3, 4]),
    "a size that is wrong, of a message that came later": Case(
        [Addition(b"uid-1"), Addition(b"uid-2", WRITTEN - 2 * DAY, size=7)], [2, 3, 4]
    ),
    "perhaps reused, and is not": Case([Addition(b"uid-1", WRITTEN - DAY, may_be_reused=True)], [2, 3, 4]),
    "perhaps reused, and is": Case([Addition(b"uid-1", WRITTEN - DAY - 1, may_be_reused=True)], [1, 2, 3, 4]),
    "marked": Case([Addition(b"uid-1", destination=MARKED)], [2, 3, 4]),
    "delivered": Case([Addition(b"uid-1", destination="maildir:/old")], [2, 3, 4]),
    "copies": Case([Addition(b"x"), Addition(b"x"), Addition(b"y")], [3], [b"x", b"x", b"x", b"y"]),
    "fetchmail cuts at a blank and at 128 octets": Case(
        imported("fetchmail", b"a", b"b", b"c" * 128), [3], [b"a b", b"b c d", b"new", b"c" * 129]
    ),
    "marked as listed by fetchmail": Case(
        [Addition(b"a", WRITTEN, f"{MARKED_BY}fetchmail")], [2, 3, 4], [b"a b", b"x", b"y", b"z"]
    ),
    "fetchmail lists one line for each": Case(
        imported("fetchmail", b"a", b"a"), [3], [b"a 1", b"a 2", b"a 3"]
    ),
    "getmail writes - for /": Case(imported("getmail", b"a-b", b"c-d-"), [2], [b"a-b", b"a/b", b"c/d/"]),
    "mpop lists UIDs as they are": Case(imported("mpop", b"a", b"c"), [1, 2], [b"a b", b"a/b", b"c"]),
    "octets": Case(imported("mpop", b"\xe9", b"%20", b"#h"), [4], [b"\xe9", b"%20", b"#h", b"#"]),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("capabilities", [CAPABILITIES, NO_TOP], ids=["TOP", "no TOP"])
def test_exactly_the_others_are_fetched_once(
    server: StartServer, account: Account, case: Case, capabilities: Sequence[bytes]
) -> None:
    mailbox = Mailbox(FOUR[: len(case.listed)], uids=case.listed, capabilities=capabilities)
    add(account, *case.added)
    account.fetch(server(mailbox))
    assert numbers_of(account) == case.fetched
    account.fetch(server(mailbox))
    assert numbers_of(account) == []
    assert account.delivered() == on_disk([FOUR[number - 1] for number in case.fetched])
    assert mailbox.messages == FOUR[: len(case.listed)]


def test_the_first_listing_completes_the_record_without_a_look(server: StartServer, account: Account) -> None:
    add(account, *map(Addition, UIDS[:3]), Addition(b"gone"))
    scripted = server(Mailbox(FOUR))
    account.fetch(scripted)
    assert looks(scripted) == [b"RETR 4"]
    found = entries(account)
    assert {uid: (found[uid].size, found[uid].state) for uid in found} == {
        **{uid: (len(FOUR[n]), State.FETCHED) for n, uid in enumerate(UIDS)},
        b"gone": (0, State.MISSING),
    }


def test_a_look_keeps_what_it_has_shown(server: StartServer, account: Account) -> None:
    add(account, Addition(b"uid-1", WRITTEN, may_be_reused=True))
    account.fetch(server(Mailbox(FOUR[:2])))
    account.fetch(server(Mailbox(FOUR[:2], uids=[b"a", b"b"])))
    assert numbers_of(account) == []
    assert not entries(account).keys() & {b"uid-1", b"uid-2"}


DELETIONS = {
    "an added one": (Addition(b"uid-1", WRITTEN), DELETE, True),
    "an imported one": (Addition(b"uid-1", WRITTEN, f"{IMPORTED}mpop"), DELETE, True),
    "one that came later": (Addition(b"uid-1", WRITTEN - DAY - 1), DELETE, False),
    "a marked one": (Addition(b"uid-1", WRITTEN, MARKED), DELETE, False),
    "one that another program leaves": (Addition(b"uid-1", WRITTEN, f"{MARKED_BY}fdm"), DELETE, False),
    "a marked one, if wanted": (Addition(b"uid-1", WRITTEN, MARKED), DELETE_MARKED, True),
    "one of long ago": (Addition(b"uid-1", WRITTEN), Order(delete_after=10), True),
    "one of yesterday": (Addition(b"uid-1", WRITTEN + 1), Order(delete_after=10), False),
    "one of unknown age": (Addition(b"uid-1"), Order(delete_after=1), False),
    "one of tomorrow": (Addition(b"uid-1", WRITTEN + 100 * DAY), Order(delete_after=0), True),
    "a marked one of long ago": (Addition(b"uid-1", WRITTEN, MARKED), Order(delete_after=10), False),
    "a marked one of long ago, if wanted": (
        Addition(b"uid-1", WRITTEN, MARKED), Order(delete_after=10, delete_marked=True), True,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("added", "order", "gone"), DELETIONS.values(), ids=DELETIONS)
def test_what_was_added_is_deleted_by_its_time(
    server: StartServer, account: Account, added: Addition, order: Order, gone: bool
) -> None:
    mailbox = Mailbox(FOUR[:2])
    add(account, added, Addition(b"uid-2", destination=MARKED))
    account.fetch(server(mailbox), order._replace(limit=None))
    was_other = added.fetched_at == WRITTEN - DAY - 1
    assert account.delivered() == (on_disk(FOUR[:1]) if was_other else [])
    kept = FOUR[1:2] if gone or was_other else FOUR[:2]
    if order.delete_marked and order.delete:
        kept = []
    assert mailbox.messages == kept


def test_a_message_without_a_date_is_never_deleted_unread(server: StartServer, account: Account) -> None:
    mailbox = Mailbox([b"Subject: x\r\n\r\n"])
    add(account, Addition(b"uid-1"))
    account.fetch(server(mailbox), DELETE)
    assert account.delivered() == [b"Subject: x\n\n"]


@pytest.mark.parametrize("yes", [True, False])
def test_a_list_of_another_mailbox_is_a_question(server: StartServer, account: Account, yes: bool) -> None:
    add(account, Addition(b"a"), Addition(b"b", may_be_reused=True), Addition(b"c", size=9))
    account.says_yes = yes
    if not yes:
        for _ in range(2):
            with pytest.raises(NothingRecognised, match="none of the 3 unique-ids added"):
                account.fetch(server(Mailbox(FOUR)))
    else:
        account.fetch(server(Mailbox(FOUR)))
        assert len(account.told.questions) == 1
        account.fetch(server(Mailbox(FOUR)))
        assert account.told.questions == []
    assert account.delivered() == (on_disk(FOUR) if yes else [])


def test_an_empty_mailbox_asks_nothing(server: StartServer, account: Account) -> None:
    add(account, Addition(b"a"))
    account.fetch(server(Mailbox([])))
    account.fetch(server(Mailbox(FOUR)))
    assert account.delivered() == on_disk(FOUR)


def test_adding_again_changes_nothing(server: StartServer, account: Account) -> None:
    assert add(account, Addition(b"uid-1", WRITTEN, f"{IMPORTED}mpop"), Addition(b"uid-1", 5)) == 2
    before = entries(account)
    assert add(account, Addition(b"uid-1", 7, MARKED, 70, may_be_reused=True), Addition(b"uid-9")) == 1
    assert entries(account) == before | {b"uid-9": entries(account)[b"uid-9"]}
    account.fetch(server(Mailbox([message(1)])))
    assert account.delivered() == []
    assert add(account, Addition(b"uid-1")) == 0
    with account.store() as store:
        assert store.entry(Key(b"uid-1", 0)) == Entry(
            Key(b"uid-1", 0), len(message(1)), None, None, State.FETCHED, WRITTEN
        )
    assert ADDED != MARKED
