"""The names of destinations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pop3fetch.delivery.kinds import PATHS, SCHEMES, Kind
from pop3fetch.delivery.maildir import Maildir
from pop3fetch.delivery.mbox import Mbox
from pop3fetch.delivery.opening import Choice, Openings, open_destination, open_server, parse
from pop3fetch.delivery.program import Program
from pop3fetch.delivery.servers.address import ServerAddress
from pop3fetch.delivery.servers.mailbox import Mailbox
from pop3fetch.delivery.servers.server import MailServer
from pop3fetch.delivery.servers.transfer import Transfer
from pop3fetch.delivery.stream import Stream
from pop3fetch.errors import UsageError
from pop3fetch.net.dial import Endpoint
from pop3fetch.pop3.trace import Secrets
from tests.support.delivering import TAG, delivery_context


def test_the_name_of_a_destination_selects_its_kind(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {
        "-": Choice(Kind.OUTPUT),
        "mbox:-": Choice(Kind.MBOX_OUTPUT),
        "maildir:/var/mail/alice": Choice(Kind.MAILDIR, Path("/var/mail/alice")),
        "maildir:Mail/../Mail/work/": Choice(Kind.MAILDIR, tmp_path / "Mail/work"),
        "maildir:~/Mail": Choice(Kind.MAILDIR, home / "Mail"),
        "maildir:-": Choice(Kind.MAILDIR, tmp_path / "-"),
        "maildir:mbox:x": Choice(Kind.MAILDIR, tmp_path / "mbox:x"),
        "maildir:inbox.mbox": Choice(Kind.MAILDIR, tmp_path / "inbox.mbox"),
        "mbox:inbox.mbox": Choice(Kind.MBOX, tmp_path / "inbox.mbox"),
        "mbox:inbox": Choice(Kind.MBOX, tmp_path / "inbox"),
        "mbox:~/inbox": Choice(Kind.MBOX, home / "inbox"),
        "mbox:/a b/\udcff": Choice(Kind.MBOX, Path("/a b/\udcff")),
        "Mail": Choice(Kind.MAILDIR, tmp_path / "Mail"),
        "~/Mail": Choice(Kind.MAILDIR, home / "Mail"),
        "./imap:x": Choice(Kind.MAILDIR, tmp_path / "imap:x"),
        "/srv/12:30": Choice(Kind.MAILDIR, Path("/srv/12:30")),
    }

    assert {name: parse(name) for name in names} == names


@pytest.mark.parametrize(
    "name", ["", "maildir:", "mbox:", "maldir:~/Mail", "MBOX:x", "imap://x", "a\0b", "~no-such-user/x"]
)
def test_what_names_no_destination_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        parse(name)


def test_a_bare_name_that_looks_like_an_mbox_file_makes_no_folder() -> None:
    with pytest.raises(UsageError, match=r"write mbox:~/inbox\.mbox or maildir:~/inbox\.mbox$"):
        parse("~/inbox.mbox")


def test_a_program_as_other_fetchers_write_it_makes_no_folder() -> None:
    with pytest.raises(
        UsageError, match=r"^'\|procmail -d x' could be a program .* given as exec, not as output$"
    ):
        parse("|procmail -d x")
    assert parse("./|procmail").kind is Kind.MAILDIR


@pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.PROGRAM, Kind.SERVER}, key=str))
def test_each_kind_that_is_named_has_a_name_that_is_read(kind: Kind) -> None:
    choice = Choice(kind, Path("/srv/x") if kind in PATHS else Path())
    assert parse(choice.name) == choice


def test_a_slip_of_the_pen_is_answered_with_what_to_write() -> None:
    with pytest.raises(UsageError, match=r"^unknown destination type 'maldir:'; write maildir:DIR, mbox:"):
        parse("maldir:~/Mail")


@pytest.mark.parametrize(("name", "kind"), [("maildir:/srv/a b", Maildir), ("mbox:/srv/\udcff", Mbox)])
def test_the_recorded_name_of_a_destination_opens_it_again(
    name: str, kind: type[object], tmp_path: Path
) -> None:
    destination = open_destination(parse(name), delivery_context(TAG, tmp_path))

    assert isinstance(destination, kind)
    assert destination.name == name


@pytest.mark.parametrize(
    ("choice", "kind", "name"),
    [
        (Choice(Kind.OUTPUT), Stream, "standard output"),
        (Choice(Kind.MBOX_OUTPUT), Stream, "standard output"),
        (Choice(Kind.PROGRAM, command=("sh", "-c", "cat")), Program, "exec:sh"),
    ],
)
def test_standard_output_and_programs_are_opened_at_the_same_door(
    choice: Choice, kind: type[object], name: str, tmp_path: Path
) -> None:
    destination = open_destination(choice, delivery_context(TAG, tmp_path))

    assert isinstance(destination, kind)
    assert destination.name == name
    assert choice.is_stream is (kind is Stream)


def test_a_maildir_loads_no_module_of_another_kind(tmp_path: Path) -> None:
    script = """
import sys
from tests.support.delivering import TAG, delivery_context
from pathlib import Path
from pop3fetch.delivery.opening import open_destination, parse
open_destination(parse(f"maildir:{sys.argv[1]}"), delivery_context(TAG, Path(sys.argv[1])))
print(*sorted(name for name in sys.modules if name.startswith("pop3fetch.delivery.")))
"""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, tmp_path], capture_output=True, text=True, check=True
    )
    loaded = {name.removeprefix("pop3fetch.delivery.") for name in ended.stdout.split()}
    assert loaded == {"destination", "kinds", "maildir", "opening"}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_opens_a_mail_server(scheme: str, tmp_path: Path) -> None:
    mailbox = "INBOX" if SCHEMES[scheme].protocol == "IMAP" else ""
    address = ServerAddress(scheme, "mail.example.org", SCHEMES[scheme].port, "alice", mailbox)
    server = MailServer(address, Endpoint("mail.example.org", address.port), "implicit", Secrets())

    destination = open_server(server, TAG, tmp_path)

    assert isinstance(destination, Mailbox if mailbox else Transfer)
    assert destination.name == str(address)


def test_destinations_are_interrupted_as_long_as_their_run_goes_on(tmp_path: Path) -> None:
    class Interruptible(Maildir):
        interrupts = 0

        def interrupt(self) -> None:
            self.interrupts += 1

    openings = Openings()
    first, second, other = (Interruptible(tmp_path / name, TAG) for name in ("first", "second", "other"))
    with openings.of_a_run() as keep_other:
        with openings.of_a_run() as keep:
            assert [keep(first), keep(second), keep_other(other)] == [first, second, other]
            openings.interrupt()
        openings.interrupt()
        assert openings.some_are_left()
    openings.interrupt()
    assert [opened.interrupts for opened in (first, second, other)] == [1, 1, 2]
    assert not openings.some_are_left()
