"""A named account keeps its record if its address changes: no message comes twice, and none is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from pop3fetch.delivery.destination import Place
from pop3fetch.messages import Key
from pop3fetch.record.editing import Addition, EditedStore
from pop3fetch.record.place import RecordPlace, last_address
from pop3fetch.record.store import Entry, Intent
from pop3fetch.status import Status
from tests.support.command import Ended
from tests.support.fetching import message, numbered, on_disk
from tests.support.in_process import Here
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import ScriptedServer, StartServer

TEN = numbered(10)
NUMBERS = [b"%d" % number for number in range(1, 11)]  # UIDs as some servers give them


class Account(NamedTuple):
    """An account as the configuration file has it."""

    host: str
    port: int
    user: str = "alice"


class Desk:
    """A configuration file, records, and a maildir for each account."""

    def __init__(self, here: Here, folder: Path) -> None:
        self._here = here
        self.folder = folder
        self.state = folder / "state"

    def configure(self, **accounts: Account) -> None:
        """Write the file; an underscore in a name is an @."""
        tables = [
            f"[accounts.'{name.replace('_', '@')}']\n"
            f"host = '{account.host}'\nport = {account.port}\nuser = '{account.user}'\ntls = 'off'\n"
            f"allow_insecure_login = true\noutput = 'maildir:{self.folder / name}'\n"
            for name, account in accounts.items()
        ]
        (self.folder / "config.toml").write_text("".join(tables))

    def run(self, *arguments: str | Path) -> Ended:
        options = ("-c", self.folder / "config.toml", "--state-dir", self.state)
        return self._here(*arguments, *options, env={"POP3FETCH_PASSWORD": "secret"})

    def get(self, name: str = "work", *options: str | Path) -> None:
        ended = self.run("get", "-a", name.replace("_", "@"), *options)
        assert (ended.status, ended.out) == (0, b""), ended.err

    def mail(self, name: str = "work") -> list[bytes]:
        return sorted(path.read_bytes() for path in (self.folder / name).glob("new/*"))

    def place(self, account: Account) -> RecordPlace:
        return RecordPlace(self.state, f"{account.user}@{account.host}:{account.port}")


@pytest.fixture
def desk(here: Here, tmp_path: Path) -> Desk:
    return Desk(here, tmp_path)


def mailbox(messages: Sequence[bytes] = TEN, uids: Sequence[bytes] | None = None) -> Mailbox:
    return Mailbox(messages, uids=uids, user="")


def at(server: ScriptedServer, host: str = "localhost", user: str = "alice") -> Account:
    return Account(host, server.port, user)


CHANGES: dict[str, Callable[[Account], Account]] = {
    "the host": lambda account: account._replace(host="127.0.0.1"),
    "the user": lambda account: account._replace(user="alice@example.org"),
    "both": lambda account: account._replace(host="127.0.0.1", user="Alice"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_new_address_fetches_only_what_is_new(
    desk: Desk, server: StartServer, change: Callable[[Account], Account]
) -> None:
    mail = mailbox()
    old = at(server(mail))
    desk.configure(work=old)
    desk.get()
    mail.add(message(11), b"uid-11")
    new = change(old)
    desk.configure(work=new)
    listed = desk.run("list", "--new", "-a", "work").out
    assert [line.split(b"\t")[2] for line in listed.splitlines()] == [b"uid-11"]
    for _ in range(2):
        desk.get()
        assert desk.mail() == on_disk([*TEN, message(11)])
    assert last_address(desk.state, "work") == desk.place(new).address


def test_the_change_is_reported(desk: Desk, server: StartServer) -> None:
    account = at(server(mailbox()))
    desk.configure(work=account)
    desk.get()
    desk.configure(work=account._replace(user="bob"))
    ended = desk.run("get", "-v", "-a", "work")
    assert f"what was fetched from {desk.place(account).address} is known here" in ended.err.decode()
    assert b"is known here" not in desk.run("get", "-v", "-a", "work").err


def test_a_record_that_was_found_by_its_address_is_kept(desk: Desk, server: StartServer) -> None:
    account = at(server(mailbox()))
    desk.configure(work=account)
    desk.get()
    (desk.state / "work.account").unlink()  # as an earlier version leaves it
    desk.get()
    desk.configure(work=account._replace(user="bob"))
    desk.get()
    assert desk.mail() == on_disk(TEN)


def test_an_account_that_is_named_like_its_address_is_known_without_a_file(
    desk: Desk, server: StartServer
) -> None:
    port = server(mailbox()).port
    old = Account("localhost", port)
    name = f"alice@localhost:{port}"
    desk.configure(work=old)
    desk.get()  # by an earlier version
    (desk.state / "work.account").unlink()
    config = desk.folder / "config.toml"
    config.write_text(config.read_text().replace("work'", f"{name}'", 1).replace("alice'", "bob'"))
    desk.get(name)
    assert desk.mail() == on_disk(TEN)


def test_a_new_name_for_an_address_finds_its_record(desk: Desk, server: StartServer) -> None:
    account = at(server(mailbox()))
    desk.configure(work=account)
    desk.get()
    desk.configure(office=account)
    desk.get("office")
    assert desk.mail("office") == []


@pytest.mark.parametrize("is_renamed", [False, True])
def test_a_new_name_at_a_new_address_is_known_if_the_record_is_renamed(
    desk: Desk, server: StartServer, is_renamed: bool
) -> None:
    old = at(server(mailbox()))
    new = old._replace(user="bob")
    desk.configure(work=old)
    desk.get()
    desk.configure(office=new)
    if is_renamed:
        renamed = desk.run("record", "rename", desk.place(old).address, desk.place(new).address)
        assert (renamed.status, renamed.err) == (0, b"")
    ended = desk.run("get", "-v", "-a", "office")
    assert ended.status == 0
    assert (b"first run: fetching 10 messages" in ended.err) is not is_renamed
    assert desk.mail("office") == ([] if is_renamed else on_disk(TEN))


def test_two_names_for_an_address_part(desk: Desk, server: StartServer) -> None:
    mail = mailbox()
    account = at(server(mail))
    desk.configure(work=account, office=account)
    desk.get("work")
    desk.get("office")
    mail.add(message(11), b"uid-11")
    desk.configure(work=account._replace(host="127.0.0.1"), office=account)
    for _ in range(2):
        desk.get("work")
        desk.get("office")
    assert (desk.mail("office"), desk.mail("work")) == (on_disk([message(11)]), on_disk([*TEN, message(11)]))


def test_a_record_at_the_new_address_is_kept_beside_the_former_one(desk: Desk, server: StartServer) -> None:
    mail = mailbox(TEN[:5])
    old = at(server(mail))
    new = old._replace(host="127.0.0.1")
    desk.configure(work=old, spare=new)
    desk.get("work")
    for number in (6, 7, 8):
        mail.add(message(number), b"uid-%d" % number)
    desk.get("spare")
    assert desk.mail("spare") == on_disk(TEN[:8])
    mail.add(message(9), b"uid-9")
    desk.get("work")
    mail.add(message(10), b"uid-10")
    desk.configure(work=new)
    for _ in range(2):
        desk.get("work")
    assert desk.mail("work") == on_disk([*TEN[:5], *TEN[5:9], TEN[9]]), "6, 7 and 8 came to spare as well"


def test_a_change_and_back_loses_nothing(desk: Desk, server: StartServer) -> None:
    mail = mailbox(TEN[:8])
    account = at(server(mail))
    for number, host in ((8, "localhost"), (9, "127.0.0.1"), (10, "localhost")):
        if number > 8:
            mail.add(message(number), b"uid-%d" % number)
        desk.configure(work=account._replace(host=host))
        for _ in range(2):
            desk.get()
            assert desk.mail() == on_disk(TEN[:number])


def test_a_wrong_host_changes_nothing_for_good(desk: Desk, server: StartServer) -> None:
    account = at(server(mailbox()))
    desk.configure(work=account)
    desk.get()
    desk.configure(work=account._replace(port=1))
    assert desk.run("get", "-a", "work").status == 75
    desk.configure(work=account)
    desk.get()
    desk.configure(work=account._replace(host="127.0.0.1"))
    desk.get()
    assert desk.mail() == on_disk(TEN)


def test_another_port_for_one_run_is_the_same_account(desk: Desk, server: StartServer) -> None:
    mail = mailbox()
    desk.configure(work=at(server(mail)))
    other = server(mail).port
    for options in ((), ("--port", str(other)), ()):
        desk.get("work", *options)
    assert desk.mail() == on_disk(TEN)


def test_other_uids_at_the_new_address_are_matched_by_headers(desk: Desk, server: StartServer) -> None:
    desk.configure(work=at(server(mailbox(TEN, NUMBERS))))
    desk.get()
    moved = mailbox([*reversed(TEN), message(11)], [*NUMBERS, b"11"])  # other messages have the same UIDs
    desk.configure(work=at(server(moved)))
    for _ in range(2):
        desk.get()
    assert desk.mail() == on_disk([*TEN, message(11)])


ANONYMOUS = [
    b"Date: Thu, 1 Jan 2026 00:00:0%d +0000\r\nFrom: a@b\r\nSubject: %d\r\n\r\nx\r\n" % (n, n)
    for n in range(10)
]
LATER = b"-ERR [SYS/TEMP] try again later\r\n"


@pytest.mark.parametrize(("refused", "status"), [(1, Status.OK), (4, Status.OK), (5, Status.TRY_LATER)])
def test_a_refused_look_makes_no_other_mailbox(
    desk: Desk, server: StartServer, refused: int, status: Status
) -> None:
    desk.configure(work=at(server(mailbox(ANONYMOUS, NUMBERS))))
    desk.get()
    moved = mailbox(ANONYMOUS, NUMBERS)
    for number in range(1, refused + 1):
        moved.replies |= {b"TOP %d 0\r\n" % number: LATER, b"RETR %d\r\n" % number: LATER}
    desk.configure(work=at(server(moved)))
    assert desk.run("get", "-a", "work").status == status
    moved.replies = {}
    desk.get()
    assert desk.mail() == on_disk(ANONYMOUS)


def test_another_mailbox_with_the_same_uids_and_sizes_is_fetched(desk: Desk, server: StartServer) -> None:
    def letters(word: bytes) -> list[bytes]:
        return [
            b"Message-ID: <%d@%s>\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\nFrom: a@b\r\n\r\nx\r\n"
            % (n, word)
            for n in range(10)
        ]

    desk.configure(work=at(server(mailbox(letters(b"old"), NUMBERS))))
    desk.get()
    desk.configure(work=at(server(mailbox(letters(b"new"), NUMBERS))))
    for _ in range(2):
        desk.get()
    assert desk.mail() == on_disk([*letters(b"old"), *letters(b"new")])


def test_a_mail_to_both_mailboxes_is_fetched_from_both(desk: Desk, server: StartServer) -> None:
    desk.configure(work=at(server(mailbox())))
    desk.get()
    desk.configure(work=at(server(mailbox([TEN[4], message(11)], [b"a", b"b"]))))
    desk.get()
    assert desk.mail() == on_disk([*TEN, TEN[4], message(11)])


def test_additions_are_taken_over(desk: Desk, server: StartServer) -> None:
    mail = mailbox()
    account = at(server(mail))
    desk.configure(work=account)
    with closing(EditedStore(desk.place(account))) as store:
        store.add((Addition(b"uid-%d" % number) for number in range(1, 10)), 2_000_000_000)
    desk.get()
    desk.configure(work=account._replace(host="127.0.0.1"))
    for _ in range(2):
        desk.get()
        assert desk.mail() == on_disk(TEN[9:])


def test_additions_that_were_never_listed_are_taken_over(desk: Desk, server: StartServer) -> None:
    account = at(server(mailbox()))
    desk.configure(work=account._replace(port=1))
    assert desk.run("get", "-a", "work").status == 75  # nothing listens there
    with closing(EditedStore(desk.place(account._replace(port=1)))) as store:
        store.add((Addition(b"uid-%d" % number) for number in range(1, 10)), 2_000_000_000)
    desk.configure(work=account)
    desk.get()
    assert desk.mail() == on_disk(TEN[9:])


def test_a_run_at_the_former_address_is_waited_for(desk: Desk, server: StartServer) -> None:
    account = at(server(mailbox()))
    desk.configure(work=account)
    desk.get()
    lock = desk.place(account).take()
    desk.configure(work=account._replace(user="bob"))
    ended = desk.run("get", "-a", "work")
    assert (ended.status, last_address(desk.state, "work")) == (75, desk.place(account).address)
    lock.release()
    desk.get()
    assert desk.mail() == on_disk(TEN)


def test_what_a_crash_left_is_settled_at_the_new_address(desk: Desk, server: StartServer) -> None:
    mail = mailbox(TEN[:9])
    account = at(server(mail))
    desk.configure(work=account)
    desk.get()
    mail.add(message(10), b"uid-10")
    entry = Entry(Key(b"uid-10", 0), len(message(10)), None, len(message(10)))
    with closing(EditedStore(desk.place(account))) as store:
        name = f"1.M2P3Q1.pop3fetch-{store.tag}.host"
        (desk.folder / "work" / "new" / name).write_bytes(on_disk([message(10)])[0])
        store.intend([Intent(entry, Place(f"maildir:{desk.folder / 'work'}", name))])
    desk.configure(work=account._replace(host="127.0.0.1"))
    desk.get()
    assert desk.mail() == on_disk(TEN)
    with closing(EditedStore(desk.place(account))) as store:
        assert store.intents() == []


def test_a_damaged_record_of_the_former_address_ends_the_run(desk: Desk, server: StartServer) -> None:
    account = at(server(mailbox()))
    desk.configure(work=account)
    desk.get()
    desk.place(account).database.write_bytes(b"")
    desk.configure(work=account._replace(user="bob"))
    for _ in range(2):
        assert desk.run("get", "-a", "work").status == 78
    assert desk.mail() == on_disk(TEN)


def test_a_maildir_that_is_not_mounted_is_known_at_the_new_address(desk: Desk, server: StartServer) -> None:
    account = at(server(mailbox()))
    desk.configure(work=account)
    desk.get()
    (desk.folder / "work").rename(desk.folder / "away")
    desk.configure(work=account._replace(user="bob"))
    assert desk.run("get", "-a", "work").status == 73
    assert not (desk.folder / "work").exists()
