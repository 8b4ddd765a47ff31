"""The real fetchers hand over to pop3fetch: nothing is fetched twice, and nothing is missed."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import ssl
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pop3fetch.record.states import DAY
from pop3fetch.status import Status
from tests.support.bare_client import BareClient
from tests.support.command import Ended, Run
from tests.support.dovecot import USERS, Dovecot
from tests.support.other_fetchers import FETCHERS, Fetcher, Server

USER = "bob"
HOST = "localhost"
# Each of them is changed by one of the programs, or looks like a comment, a time or an account.
ODD_UIDS = {
    "mpop": "#hash%20",
    "fetchmail": "x" * 140,
    "getmail": "a/b//c",
    "fdm": '16"\\x',
}
MAILDIR = "taken"


def letter(number: int) -> bytes:
    return b"Date: Fri, 3 Jan 2020 10:00:00 +0100\nSubject: %02d\n\ntext\n" % number


@pytest.fixture
def open_home() -> Iterator[Path]:
    """Return a home that other users can look into: fdm logs in as one of its own."""
    with TemporaryDirectory(prefix="pop3fetch-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        yield home


@contextmanager
def put_back(folder: Path) -> Iterator[None]:
    """Put a folder back as it was."""
    copy = folder.with_name(f"{folder.name}.copy")
    subprocess.run(["cp", "-a", folder, copy], check=True)  # with their owners
    try:
        yield
    finally:
        shutil.rmtree(folder)
        copy.rename(folder)


class Handover:
    """A home, a mailbox, and the old program."""

    def __init__(self, fetcher: Fetcher, dovecot: Dovecot, home: Path) -> None:
        self.fetcher = fetcher
        self.dovecot = dovecot
        self.home = home
        self.server = Server(HOST, dovecot.pop3s_port, USER, USERS[USER], dovecot.ca_file)
        self.command = Run(home, home)
        # fdm verifies nothing, and has no file of authorities that could be imported.
        self.trust = {"SSL_CERT_FILE": str(dovecot.ca_file)}
        fetcher.set_up(self.server, home)

    @property
    def old_list(self) -> Path:
        return self.fetcher.list_in(self.home, self.server)

    def uids(self) -> list[str]:
        context = ssl.create_default_context(cafile=str(self.dovecot.ca_file))
        with BareClient(self.dovecot.host, self.dovecot.pop3s_port, context) as client:
            client.login(USER, USERS[USER])
            listed = client.ask_long("UIDL").decode().split("\r\n")[:-1]
            client.ask("QUIT")
        return [line.split(" ", 1)[1] for line in listed]

    def file_of(self, number: int) -> Path:
        """Return the file that Dovecot has of a message."""
        maildir = self.dovecot.maildir(USER)
        files = [file for folder in ("new", "cur") for file in (maildir / folder).iterdir()]
        [found] = [file for file in files if file.read_bytes() == letter(number)]
        return found

    def give_uid(self, number: int, uid: str) -> None:
        """Give a message another UID, as a migrated mailbox of Dovecot has it."""
        listed = self.dovecot.maildir(USER) / "dovecot-uidlist"
        name = self.file_of(number).name.partition(":")[0]
        listed.write_text(listed.read_text().replace(f" :{name}", f" P{uid} :{name}"))

    def fetch_by_the_old(self) -> None:
        ended = self.fetcher.run(self.home)
        assert ended.returncode == 0, ended
        assert self.taken("Mail") == [letter(number) for number in range(1, 11)]

    def taken(self, folder: str) -> list[bytes]:
        """Return the messages of a folder in their order, without what the old programs add to them."""
        octets = [path.read_bytes() for path in (self.home / folder / "new").iterdir()]
        return sorted(octet[octet.index(b"Date: ") :] for octet in octets)

    def __call__(self, *words: str) -> Ended:
        return self.command(*words, env=self.trust)

    def get(self, *options: str) -> None:
        ended = self("get", "-o", f"maildir:{self.home / MAILDIR}", *options)
        assert (ended.status, ended.err) == (0, b"")

    def let_days_pass(self, days: int) -> None:
        """Make all that is recorded so much older, as the list of this program has no times."""
        [record] = (self.home / ".local/state/pop3fetch").glob("*.sqlite")
        with closing(sqlite3.connect(record)) as database, database:
            database.execute("UPDATE message SET delivered = delivered - ?", (days * DAY,))


def always(*names: str) -> pytest.MarkDecorator:
    """Let a test run after these programs each time, and after the others if all tests run."""
    choice = [each if each.name in names else pytest.param(each, marks=pytest.mark.slow) for each in FETCHERS]
    return pytest.mark.parametrize("before", choice, ids=lambda fetcher: fetcher.name, indirect=True)


@pytest.fixture
def before(request: pytest.FixtureRequest, dovecot: Dovecot, open_home: Path) -> Handover:
    """Return what the old program has not fetched from yet."""
    fetcher: Fetcher = request.param
    reason = fetcher.missing()
    if reason:
        pytest.skip(reason)
    before = Handover(fetcher, dovecot, open_home)
    dovecot.deliver(USER, [letter(number) for number in range(1, 11)])
    before.uids()  # so that Dovecot lists the messages in a file
    before.give_uid(3, ODD_UIDS[fetcher.name])
    assert before.uids()[2] == ODD_UIDS[fetcher.name]
    return before


@pytest.fixture
def handover(before: Handover) -> Handover:
    before.fetch_by_the_old()
    return before


@always("mpop", "fetchmail", "getmail", "fdm")
def test_the_next_get_fetches_exactly_what_the_old_program_had_not(handover: Handover) -> None:
    dovecot = handover.dovecot
    handover.file_of(5).unlink()
    dovecot.deliver(USER, [letter(number) for number in (11, 12, 13)])
    before = handover.old_list.read_bytes()

    shown = handover("import", handover.fetcher.name, "--dry-run")
    assert (shown.status, shown.err) == (0, b"")
    assert not (handover.home / ".config/pop3fetch").exists()
    assert not (handover.home / ".local/state/pop3fetch").exists()
    done = handover("import", handover.fetcher.name)
    assert (done.status, done.err, done.out) == (0, b"", shown.out)
    assert b"10 fetched" in done.out
    assert b"; 12 on the server; 3 new; " in done.out
    assert USERS[USER].encode() not in done.out
    assert handover.old_list.read_bytes() == before

    handover.get()
    assert handover.taken(MAILDIR) == [letter(number) for number in (11, 12, 13)]
    handover.get()
    assert len(handover.taken(MAILDIR)) == 3
    assert dovecot.count(USER) == 12


@always("getmail")
def test_what_the_old_program_fetched_long_ago_is_deleted(handover: Handover) -> None:
    long_ago = int(handover.old_list.stat().st_mtime) - 10 * DAY
    octets = handover.old_list.read_bytes()
    if handover.fetcher.name == "getmail":
        lines = [line.partition(b"\0")[0] for line in octets.splitlines()]
        handover.old_list.write_bytes(b"".join(b"%b\0%d\n" % (uid, long_ago) for uid in lines))
    elif handover.fetcher.name == "fdm":
        os.utime(handover.old_list, (long_ago, long_ago))
    handover.dovecot.deliver(USER, [letter(11)])
    assert handover("import", handover.fetcher.name, "--offline").status == 0
    if handover.fetcher.name in ("mpop", "fetchmail"):
        handover.let_days_pass(10)
    handover.get("--delete-after", "11")
    assert handover.dovecot.count(USER) == 11
    handover.get("--delete-after", "9")
    assert handover.taken(MAILDIR) == [letter(11)]
    assert handover.dovecot.count(USER) == 1


@always("mpop")
def test_the_password_goes_into_a_file_of_its_own(handover: Handover) -> None:
    assert handover("import", handover.fetcher.name).status == 0
    folder = handover.home / ".config/pop3fetch"
    config = folder / "config.toml"
    account = tomllib.loads(config.read_text())["accounts"]["work"]
    assert (account["user"], account["password_file"]) == (USER, "~/.config/pop3fetch/work.password")
    assert (folder / "work.password").read_text() == USERS[USER] + "\n"
    assert [path.stat().st_mode & 0o777 for path in (config, folder / "work.password")] == [0o600, 0o600]


@always("fetchmail")
def test_a_mailbox_with_nothing_of_the_list_is_a_question(handover: Handover) -> None:
    handover.dovecot.clear(USER)
    handover.dovecot.deliver(USER, [letter(11)])
    ended = handover("import", handover.fetcher.name)
    assert ended.status == Status.CONFIGURATION
    assert b"lists none of the 10 messages" in ended.err
    assert not (handover.home / ".config/pop3fetch").exists()


@always("mpop", "fdm")
def test_a_run_that_was_killed_is_seen_and_repeated(before: Handover) -> None:
    fetcher, home = before.fetcher, before.home
    fetcher.change(before.server, home, fetcher.to_maildir)
    (home / "fatal").touch()
    assert fetcher.run(home).returncode == -signal.SIGKILL
    taken = before.taken("Mail")  # fdm delivers several at once, in any order
    assert set(taken) < {letter(number) for number in range(1, 11)}
    assert 3 <= len(set(taken)) == len(taken)

    shown = before("import", fetcher.name, "--dry-run")
    if fetcher.name == "fdm":  # which has listed what it has fetched, and leaves its lock
        assert b"note: fdm seems to be running: " in shown.out
        refused = before("import", "fdm")
        assert (refused.status, b"or remove that file if it was killed" in refused.err) == (75, True)
        (home / ".fdm.lock").unlink()
        listed = before.old_list.read_bytes().count(b"\n")
        facts = f"{listed} fetched; 10 on the server; {10 - listed} new; "
        assert facts.encode() in before("import", "fdm", "--dry-run").out
    else:
        assert shown.status == 0
        assert b"; 10 on the server; 10 new; " in b"; " + shown.out.replace(b"\n  ", b"; ")
        assert b"so all messages on the server are new" in shown.out

    (home / "fatal").unlink()
    assert fetcher.run(home).returncode == 0
    assert before("import", fetcher.name).status == 0
    before.get()
    assert before.taken(MAILDIR) == []


@always("fetchmail", "getmail")
def test_what_the_old_program_would_delete_now_is_deleted(handover: Handover) -> None:
    """Its next run shows what that is; it sees the same mailbox as the next `get`."""
    dovecot, fetcher = handover.dovecot, handover.fetcher
    fetcher.change(handover.server, handover.home, fetcher.to_delete)
    dovecot.deliver(USER, [letter(11)])
    ended = handover("import", fetcher.name)
    assert (ended.status, ended.err) == (0, b"")
    with put_back(dovecot.maildir(USER)):
        assert fetcher.run(handover.home).returncode == 0
        left = dovecot.count(USER)
    assert left == (10 if fetcher.name in ("fetchmail", "fdm") else 0)
    assert dovecot.count(USER) == 11
    handover.get()
    assert handover.taken(MAILDIR) == [letter(11)]
    assert dovecot.count(USER) == left
    handover.get("--delete-marked", "--delete")
    assert dovecot.count(USER) == 0
