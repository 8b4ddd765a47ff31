"""`record`: what is shown, exported, added and forgotten."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from pop3fetch.cli.actions.record_lines import read
from pop3fetch.delivery.destination import Place
from pop3fetch.errors import UsageError
from pop3fetch.headers.fields import Identity
from pop3fetch.messages import Key
from pop3fetch.record.editing import Addition, EditedStore
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.states import Event, State
from pop3fetch.record.store import ADDED, Entry, Intent, ReadOnlyStore
from pop3fetch.status import Status
from tests.support.command import Ended
from tests.support.in_process import Here
from tests.support.served_mail import HOSTILE, LETTERS, StartPost, delivered, harmless
from tests.support.terminal import Terminal

ADDRESS = "alice@mail.example.org"
NOON = 1_700_000_000
TIMES = [f"2023-11-14T22:13:{20 + seconds}Z" for seconds in range(10)]
PROOF = Identity(b"p" * 16, proves=True)
BOX = "maildir:/mail"


class Desk:
    """Runs `record` for one account."""

    def __init__(self, here: Here, folder: Path) -> None:
        self.place = RecordPlace(folder / "state", ADDRESS)
        self._here = here

    def __call__(self, *arguments: str | Path, stdin: bytes = b"") -> Ended:
        options = ("-a", f"pop3s://{ADDRESS}", "--state-dir", self.place.folder)
        return self._here("record", *arguments, *options, stdin=stdin)

    def fill(self, *uids: bytes) -> None:
        """Record messages as delivered, a second apart."""
        with closing(EditedStore(self.place)) as store:
            for number, uid in enumerate(uids):
                store.done([Entry(Key(uid, 0), 100 + number, PROOF, 98)], BOX, NOON + number, "1:2")

    def uids(self) -> list[bytes]:
        with closing(ReadOnlyStore(self.place)) as store:
            return [entry.key.uid for entry, _, _ in store.fetched()]


@pytest.fixture
def record(here: Here, tmp_path: Path) -> Desk:
    return Desk(here, tmp_path)


# -- show, list, export ----------------------------------------------------------------------------


def test_a_record_is_shown(record: Desk) -> None:
    record.fill(b"a", b"b", b"c")
    with closing(EditedStore(record.place)) as store:
        store.happened(Event.UNLISTED, [Key(b"b", 0)], NOON)
        store.happened(Event.DELETED, [Key(b"c", 0)], NOON)  # which contradicts nothing
    path = str(record.place.database)
    assert record().out.decode().splitlines() == [
        f"path\t{path}", "messages\t3", f"first fetch\t{TIMES[0]}", f"last fetch\t{TIMES[2]}", "in doubt\t1",
    ]  # fmt: skip
    assert json.loads(record("--json").out) == {
        "path": path, "messages": 3, "first_fetch": TIMES[0], "last_fetch": TIMES[2], "in_doubt": 1,
    }  # fmt: skip
    assert record("-v").err == b"pop3fetch: in doubt: b (missing)\n"


def test_a_missing_record_is_empty_and_is_not_made(record: Desk) -> None:
    assert record().out.splitlines()[1:] == [
        b"messages\t0",
        b"first fetch\t-",
        b"last fetch\t-",
        b"in doubt\t0",
    ]
    for command in ("list", "export"):
        assert record(command) == Ended(0, b"", b"")
    assert not record.place.folder.exists()


def test_what_a_crash_left_is_reported(record: Desk) -> None:
    record.fill(b"a")
    with closing(EditedStore(record.place)) as store:
        store.intend([Intent(Entry(Key(b"i", 0), 1, None), Place(BOX, "name"))])
    assert record().err.startswith(b"pop3fetch: a crash left 1 message in maildir:/mail")


def test_messages_are_listed_in_the_order_of_time(record: Desk) -> None:
    record.fill(b"b", b"a\xe9\t\n")
    record("add", "-", "--fetched-at", "2023-01-01T00:00Z", stdin=b"old\n")
    assert record("list").out.decode().splitlines() == [
        "old\t\t2023-01-01T00:00:00Z\tadded",
        f"b\t100\t{TIMES[0]}\t{BOX}",
        f"a\\xe9\\x09\\x0a\t101\t{TIMES[1]}\t{BOX}",
    ]
    assert [json.loads(line) for line in record("list", "--json").out.splitlines()][1:] == [
        {"uid": "b", "size": 100, "fetched_at": TIMES[0], "destination": BOX},
        {"uid": "a\\xe9\\x09\\x0a", "size": 101, "fetched_at": TIMES[1], "destination": BOX},
    ]


def test_an_export_has_all_that_is_recorded(record: Desk) -> None:
    record.fill(b"a")
    assert json.loads(record("export").out) == {
        "uid": "a", "size": 100, "fetched_at": TIMES[0], "destination": BOX, "occurrence": 0, "octets": 98,
        "identity": PROOF.digest.hex(), "proves": True, "in_doubt": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("events", "in_doubt"),
    [
        ([Event.UNLISTED], True),
        ([Event.DELETING], True),
        ([Event.DELETING, Event.DELETED], True),  # the server may give its unique-id again
        ([Event.UNLISTED, Event.LOOKED_SAME], False),
    ],
)
def test_an_export_shows_which_messages_a_look_must_confirm(
    record: Desk, events: list[Event], in_doubt: bool
) -> None:
    record.fill(b"a")
    with closing(EditedStore(record.place)) as store:
        for event in events:
            store.happened(event, [Key(b"a", 0)], NOON)
    assert json.loads(record("export").out)["in_doubt"] is in_doubt


def test_an_export_can_be_added_elsewhere(here: Here, record: Desk, tmp_path: Path) -> None:
    record.fill(b"a", b"\xe9\\xe9", b"{", b"uid:x")
    with closing(EditedStore(record.place)) as store:
        short = Entry(Key(b"a", 2), 9, PROOF, 1, State.SHORT)
        store.done([short, Entry(Key(b"weak", 0), 7, None, 7)], BOX, NOON)
        store.add([Addition(b"new"), Addition(b"sized", size=3), Addition(b"d", may_be_reused=True)], NOON)
    other = Desk(here, tmp_path / "other")
    assert other("add", "-", stdin=record("export").out) == Ended(0, b"", b"")
    with closing(ReadOnlyStore(record.place)) as store, closing(ReadOnlyStore(other.place)) as copy:
        assert list(copy.fetched()) == list(store.fetched())


def test_a_table_is_shown_on_a_terminal(terminal: Terminal, tmp_path: Path) -> None:
    place = RecordPlace(tmp_path / "state", ADDRESS)
    with closing(EditedStore(place)) as store:
        store.done([Entry(Key(HOSTILE.encode(), 0), 1234, None)], BOX, NOON)
    seen = terminal("record", "list", "-a", f"pop3s://{ADDRESS}", "--state-dir", place.folder, columns=200)
    assert harmless(seen.raw.replace(b"\r", b"").replace(b"\x1b[1m", b"").replace(b"\x1b[0m", b""))
    assert seen.screen[0].split() == ["fetched", "size", "destination", "uid"]
    assert seen.screen[1].split()[2:5] == ["1.2", "kB", BOX]


def test_all_accounts_are_shown(here: Here, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("".join(f"[accounts.{n}]\nhost = '{n}.example.org'\nuser = 'u'\n" for n in ("a", "b")))
    for name in ("a", "b"):
        with closing(EditedStore(RecordPlace(tmp_path / "state", f"u@{name}.example.org"))) as store:
            store.add([Addition(b"of-" + name.encode())], NOON)
    options = ("-A", "-c", config, "--state-dir", tmp_path / "state")
    env = {"POP3FETCH_PASSWORD": "secret"}  # which nothing asks for
    assert [line.split(b"\t")[:2] for line in here("record", "list", *options, env=env).out.splitlines()] == [
        [b"a", b"of-a"], [b"b", b"of-b"],
    ]  # fmt: skip
    exported = here("record", "export", *options, env=env).out
    assert [json.loads(line)["account"] for line in exported.splitlines()] == ["a", "b"]
    ended = here("record", "add", "-", *options[1:], "-a", "a", stdin=exported)
    assert (ended.status, b"of several accounts" in ended.err) == (2, True)
    for change in (("add", "-"), ("forget", "--all")):
        ended = here("record", *change, *options, env=env)
        assert (ended.status, b"a change needs one account" in ended.err) == (2, True)


@pytest.mark.parametrize("before", [True, False])
def test_options_may_come_before_the_command(here: Here, tmp_path: Path, before: bool) -> None:
    with closing(EditedStore(RecordPlace(tmp_path, ADDRESS))) as store:
        store.add([Addition(b"a")], NOON)
    options = ("-a", f"pop3s://{ADDRESS}", "--state-dir", tmp_path)
    arguments = (*options, "list", "--json") if before else ("list", "--json", *options)
    assert json.loads(here("record", *arguments).out)["uid"] == "a"


# -- add -------------------------------------------------------------------------------------------


def test_uids_are_added_one_per_line(record: Desk, tmp_path: Path) -> None:
    (tmp_path / "uids").write_bytes(b"one\r\n\n  two \n\\xe9\n\xe8\n#x\n")
    ended = record("add", tmp_path / "uids", "-v")
    assert ended == Ended(0, b"", b"pop3fetch: 5 messages recorded as fetched\n")
    assert record.uids() == [b"#x", b"one", b"two", b"\xe8", b"\xe9"]
    assert record("add", tmp_path / "uids", "-v").err.endswith(
        b"0 messages recorded as fetched; 5 recorded before\n"
    )


def test_what_was_added_is_not_fetched(here: Here, post: StartPost, tmp_path: Path, maildir: Path) -> None:
    served = post(LETTERS)
    state = ("--state-dir", tmp_path / "state")
    here("record", "add", "-", *state, env=served.environment, stdin=b"uid-1\nuid-3\nuid-9\n")
    listed = here("list", "--new", *state, env=served.environment)
    assert [line.split(b"\t")[2] for line in listed.out.splitlines()] == [b"uid-2"]
    ended = here("get", "-o", f"maildir:{maildir}", *state, env=served.environment)
    assert (ended.status, ended.err) == (0, b"")
    assert delivered(maildir) == [LETTERS[1].replace(b"\r\n", b"\n")]


LINES = {
    "a UID alone": (b'{"uid": "a"}', Addition(b"a")),
    "blanks around it": (b' \t{ "uid" : "a" } \r', Addition(b"a")),
    "escapes": (b'{"uid": "\\\\xe9\\u00e8"}', Addition(b"\xe9\xc3\xa8")),
    "a time": (b'{"uid": "a", "fetched_at": "2023-11-14T22:13:20Z"}', Addition(b"a", NOON)),
    "another zone": (b'{"uid": "a", "fetched_at": "2023-11-15T00:13:20+02:00"}', Addition(b"a", NOON)),
    "nulls": (b'{"uid": "a", "size": null, "identity": null, "destination": null}', Addition(b"a")),
    "a weak identity": (
        b'{"uid": "a", "identity": "0000000000000001", "proves": false, "size": 3}',
        Addition(b"a", None, ADDED, 3, Identity(b"\0" * 7 + b"\x01", proves=False)),
    ),
    "in doubt": (b'{"uid": "a", "in_doubt": true}', Addition(b"a", may_be_reused=True)),
    "a copy": (b'{"uid": "a", "occurrence": 3}', Addition(b"a", occurrence=3)),
    "not JSON": (b"{a}", Addition(b"{a}")),
    "a number": (b"7", Addition(b"7")),
}  # fmt: skip


@pytest.mark.parametrize(("line", "addition"), LINES.values(), ids=LINES)
def test_a_line_is_read(line: bytes, addition: Addition) -> None:
    assert read(line + b"\n", "f", None) == [addition]


def test_the_time_given_is_that_of_lines_without_one() -> None:
    assert read(b'{"uid": "a"}\n{"uid": "b", "fetched_at": "2023-11-14T22:13:20Z"}', "f", 7) == [
        Addition(b"a", 7), Addition(b"b", NOON),
    ]  # fmt: skip
    assert read(b"a\n", "f", 7) == [Addition(b"a", 7)]
    assert read(b"\n \n", "f", 7) == []


WRONG_LINES = {
    b'{"uid": "a"}\nb': "f, line 2: not a JSON object with a uid",
    b'\n{"size": 1}': "f, line 2: not a JSON object with a uid",
    b'a\n\n{"uid": "b"}': "f, line 3: a JSON object, although the first line is none",
    b'{"uid": ""}': "uid must be a string, and not empty",
    b'{"uid": null}': "uid must be a string, and not empty",
    b'{"uid": 7}': "uid must be a string, and not empty",
    b'{"uid": "a", "szie": 1}': "unknown key 'szie'",
    b'{"uid": "a", "size": -1}': "size must be a number",
    b'{"uid": "a", "size": true}': "size must be a number",
    b'{"uid": "a", "size": 99999999999999999999}': "size must be a number",
    b'{"uid": "a", "fetched_at": "yesterday"}': "fetched_at must be a time such as",
    b'{"uid": "a", "fetched_at": 7}': "fetched_at must be a time such as",
    b'{"uid": "a", "identity": "00"}': "identity must be 16 or 32 hexadecimal digits",
    b'{"uid": "a", "identity": "xx"}': "identity",
    b'{"uid": "a", "proves": 1}': "proves must be true or false",
    b"uid:a\nuid:b\n": "f: its lines begin with uid:; write the unique-ids alone",
}


@pytest.mark.parametrize(("octets", "reason"), WRONG_LINES.items())
def test_a_wrong_line_is_named(octets: bytes, reason: str) -> None:
    with pytest.raises(UsageError) as raised:
        read(octets, "f", None)
    assert reason in str(raised.value)


def test_a_wrong_line_adds_nothing(record: Desk) -> None:
    assert record("add", "-", stdin=b'{"uid": "a"}\nb\n').status == 2
    assert not record.place.folder.exists()


@pytest.mark.parametrize("when", ["yesterday", "6m", ""])
def test_a_wrong_time_is_a_wrong_command_line(record: Desk, when: str) -> None:
    assert record("add", "-", "--fetched-at", when).status == 2


def test_a_file_that_cannot_be_read_is_named(record: Desk) -> None:
    assert record("add", "/no/such") == Ended(2, b"", b"pop3fetch: /no/such: No such file or directory\n")


# -- forget, rename ----------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("forget", "--all"), ("forget", "uid:a"), ("add", "-"), ("list",), ()])
def test_a_record_on_a_disk_that_is_not_mounted_cannot_be_used(
    record: Desk, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    record.place.make()
    record.place.database.symlink_to(tmp_path / "nas" / "record")
    ended = record(*arguments, stdin=b"a\n")
    assert ended.status == Status.CONFIGURATION
    assert ended.err.startswith(b"pop3fetch: cannot use the record ")


def test_messages_are_forgotten(record: Desk) -> None:
    record.fill(b"a", b"\xe9", b"\\xe9", b"d")
    ended = record("forget", "uid:a", "uid:\\xe9", "-v")
    assert ended == Ended(0, b"", b"pop3fetch: 2 messages forgotten\n")
    assert record.uids() == [b"\\xe9", b"d"]
    record("forget", "--stdin", stdin=b"uid:\\x5cxe9\n")
    assert record.uids() == [b"d"]
    record("forget", "--all")
    assert record.uids() == []


@pytest.mark.parametrize("has_record", [True, False])
def test_what_is_not_recorded_is_an_error_before_anything_is_forgotten(
    record: Desk, has_record: bool
) -> None:
    if has_record:
        record.fill(b"a")
    ended = record("forget", "uid:a", "uid:b")
    assert ended.status == Status.NO_MESSAGE
    assert ended.err.endswith(b"in the record\n")
    assert record.uids() == ([b"a"] if has_record else [])


def test_forgotten_messages_are_fetched_again(
    here: Here, post: StartPost, tmp_path: Path, maildir: Path
) -> None:
    served = post(LETTERS)
    state = ("--state-dir", tmp_path / "state")
    for step in (("get",), ("record", "forget", "uid:uid-2"), ("get",)):
        output = ("-o", f"maildir:{maildir}") if step[0] == "get" else ()
        assert here(*step, *output, *state, env=served.environment).status == 0
    lf = [letter.replace(b"\r\n", b"\n") for letter in LETTERS]
    assert sorted(delivered(maildir)) == sorted([*lf, lf[1]])


WRONG_WORDS = {
    ("forget",): "record forget needs either uid:XYZ or --all",
    ("forget", "--all", "uid:a"): "record forget needs either uid:XYZ or --all",
    ("forget", "3"): "only uid:XYZ names a message here",
    ("forget", "last"): "only uid:XYZ names a message here",
    ("rename", "a@b", "a@b"): "OLD and NEW are the same address",
    ("forget-destination", "/no"): "/no is not a destination of this record; it has none",
    ("forgot",): "no such command: forgot; did you mean 'forget'?",
    ("add",): "FILE is missing",
}


@pytest.mark.parametrize(("words", "reason"), WRONG_WORDS.items(), ids=map(" ".join, WRONG_WORDS))
def test_a_wrong_command_line_is_explained(here: Here, words: tuple[str, ...], reason: str) -> None:
    account = () if words[0] == "rename" else ("-a", f"pop3s://{ADDRESS}")
    ended = here("record", words[0], *account, *words[1:])
    assert (ended.status, ended.out) == (2, b"")
    assert reason in ended.err.decode()


def test_a_record_is_renamed(here: Here, record: Desk) -> None:
    record.fill(b"a")
    state = ("--state-dir", record.place.folder)
    ended = here("record", "rename", ADDRESS, "bob@example.org", "-v", *state)
    assert ended == Ended(
        0, b"", f"pop3fetch: the record of {ADDRESS} is now that of bob@example.org\n".encode()
    )
    assert b"\na\t" in b"\n" + here("record", "list", "-a", "pop3s://bob@example.org", *state).out
    ended = here("record", "rename", ADDRESS, "bob@example.org", *state)
    assert (ended.status, b"nothing is recorded of alice@mail.example.org" in ended.err) == (78, True)


@pytest.mark.parametrize("given", [BOX, "/mail", "/mail/../mail"])
def test_a_destination_is_given_up(record: Desk, given: str) -> None:
    record.fill(b"a")
    with closing(EditedStore(record.place)) as store:
        store.intend([Intent(Entry(Key(b"i", 0), 1, None), Place(BOX, "name"))])
    ended = record("forget-destination", given, "-v")
    assert ended.err == (
        b"pop3fetch: maildir:/mail is forgotten; 1 message that a crash left there will be fetched again\n"
    )
    assert record("forget-destination", given).status == 2
    assert record.uids() == [b"a"]


@pytest.mark.parametrize(
    "change", [("add", "-"), ("forget", "uid:a"), ("forget", "--all"), ("forget-destination", BOX)]
)
def test_a_record_in_use_is_not_changed(record: Desk, change: tuple[str, ...]) -> None:
    record.fill(b"a")
    lock = record.place.take()
    ended = record(*change, stdin=b"b\n")
    assert (ended.status, ended.err[:33]) == (75, b"pop3fetch: another pop3fetch is u")
    for command in ((), ("list",), ("export",)):
        assert record(*command).status == 0
    lock.release()
    assert record.uids() == [b"a"]
