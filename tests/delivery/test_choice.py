"""The names of destinations."""

from __future__ import annotations

from pathlib import Path

import pytest

from pop3fetch.delivery.choice import Choice, Kind, open_in_files, parse
from pop3fetch.delivery.maildir import Maildir
from pop3fetch.delivery.mbox import Mbox
from pop3fetch.errors import UsageError
from tests.support.delivering import TAG


def test_a_destination_is_what_its_name_says(
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


def test_a_slip_of_the_pen_is_answered_with_what_to_write() -> None:
    with pytest.raises(UsageError, match=r"^'maldir:' is no kind of destination: write maildir:DIR, mbox:"):
        parse("maldir:~/Mail")


@pytest.mark.parametrize(("name", "kind"), [("maildir:/srv/a b", Maildir), ("mbox:/srv/\udcff", Mbox)])
def test_the_recorded_name_of_a_destination_opens_it_again(
    name: str, kind: type[object], tmp_path: Path
) -> None:
    destination = open_in_files(parse(name), TAG, tmp_path)

    assert isinstance(destination, kind)
    assert destination.name == name
