"""What only a maildir has: three folders, unique names, and readers that move what is new."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from pop3fetch.delivery.destination import Draft, Place, Settled
from pop3fetch.delivery.maildir import Maildir
from pop3fetch.errors import DeliveryError
from pop3fetch.messages import Message
from tests.support.delivering import TAG, Died, Journal, deliver, drafts
from tests.support.swapping import USER, swap_before_opening

ONE, TWO = b"Subject: one\n\nhello\n", b"Subject: two\n\nhello\n"


@pytest.fixture
def destination(maildir: Path) -> Maildir:
    return Maildir(maildir, TAG)


def dead_run(destination: Maildir, moment: str) -> list[Place]:
    """Die at ``moment``; return the places of what was intended."""
    journal = Journal(dies=moment)
    destination.prepare()
    with pytest.raises(Died):
        destination.deliver(drafts(destination, [ONE, TWO]), journal)
    return list(journal.intents.values())


def test_a_maildir_is_made_with_the_folders_above_it(tmp_path: Path) -> None:
    Maildir(tmp_path / "a/b/Maildir", TAG).prepare()

    assert sorted(os.listdir(tmp_path / "a/b/Maildir")) == ["cur", "new", "tmp"]


def test_what_is_in_a_maildir_stays_as_it_is(destination: Maildir, maildir: Path) -> None:
    for name in ("cur/1:2,S", "new/2", "tmp/3", "dovecot-uidlist", ".Trash"):
        (maildir / name).parent.mkdir(parents=True, exist_ok=True)
        (maildir / name).write_bytes(b"x")
    before = {path: path.stat() for path in maildir.rglob("*") if path.is_file()}
    maildir.chmod(0o750)

    deliver(destination, ONE)
    destination.remove_leftovers()

    assert {path: path.stat() for path in before} == before
    assert maildir.stat().st_mode & 0o777 == 0o750


def test_names_are_unique_as_the_maildir_manual_wants_them(destination: Maildir, maildir: Path) -> None:
    deliver(destination, ONE, TWO)

    name = rf"[0-9]+\.M[0-9]{{1,6}}P{os.getpid()}Q([12])\.pop3fetch-{TAG}\.(\S+)"
    matches = [re.fullmatch(name, found) for found in os.listdir(maildir / "new")]
    assert sorted(match[1] for match in matches if match) == ["1", "2"]
    assert {match[2] for match in matches if match} == {os.uname().nodename}


def test_a_host_name_cannot_spoil_a_file_name(maildir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.uname", lambda: os.uname_result(("Linux", "../a:b,;!", "6", "1", "x86_64")))
    deliver(Maildir(maildir, TAG), ONE)

    (name,) = os.listdir(maildir / "new")
    assert name.endswith(r".pop3fetch-0123456789abcdef...\057a\072b\054\073\041")


def test_the_path_of_a_message_is_its_final_one(destination: Maildir, maildir: Path) -> None:
    destination.prepare()
    batch = drafts(destination, [ONE])
    destination.deliver(batch, Journal())

    assert [Path(str(draft.path)).read_bytes() for draft in batch] == [ONE]


@pytest.mark.parametrize("moment", ["after intend", "before done"])
def test_settling_finishes_what_a_crash_left(moment: str, destination: Maildir, maildir: Path) -> None:
    places = dead_run(destination, moment)
    again = Maildir(maildir, TAG)

    assert again.settle(places) == [Settled.DELIVERED] * 2
    assert {path.read_bytes() for path in maildir.glob("new/*")} == {ONE, TWO}
    assert os.listdir(maildir / "tmp") == []


def test_what_a_reader_has_moved_was_delivered(destination: Maildir, maildir: Path) -> None:
    places = dead_run(destination, "before done")
    moved, deleted = (maildir / "new" / place.name for place in places)
    moved.rename(maildir / "cur" / f"{moved.name}:2,S")
    deleted.unlink()  # this cannot be distinguished from one that never existed

    assert Maildir(maildir, TAG).settle(places) == [Settled.DELIVERED, Settled.UNDONE]
    assert os.listdir(maildir / "new") == []


def test_a_draft_that_vanishes_from_tmp_is_refused_and_the_others_are_delivered(
    destination: Maildir, maildir: Path
) -> None:
    destination.prepare()
    batch = drafts(destination, [ONE, TWO, ONE])
    (maildir / "tmp" / Path(str(batch[1].path)).name).unlink()
    journal = Journal()

    ((refused, error),) = destination.deliver(batch, journal)

    assert (refused, error.reason) == (batch[1], "its file vanished from tmp/")
    assert (journal.delivered, journal.intents) == ([0, 2], {})
    assert [path.read_bytes() for path in maildir.glob("new/*")] == [ONE, ONE]


@pytest.mark.parametrize("is_replaced", [True, False])
def test_message_is_not_done_in_a_maildir_that_was_moved_away(
    destination: Maildir, maildir: Path, is_replaced: bool
) -> None:
    class Moving(Journal):
        def intend(self, drafts: Sequence[Draft], places: Sequence[Place]) -> None:
            super().intend(drafts, places)
            maildir.rename(maildir.with_name("away"))
            if is_replaced:
                again = Maildir(maildir, TAG)
                again.prepare()
                again.close()

    destination.prepare()
    journal = Moving()
    with pytest.raises(DeliveryError, match="moved or replaced") as caught:
        destination.deliver(drafts(destination, [ONE, TWO]), journal)

    assert caught.value.fatal
    assert (journal.delivered, sorted(journal.intents)) == ([], [0, 1])
    places = list(journal.intents.values())
    with pytest.raises(DeliveryError, match="moved or replaced" if is_replaced else "not mounted"):
        destination.settle(places)
    if is_replaced:
        assert Maildir(maildir, TAG).settle(places) == [Settled.UNDONE] * 2


def test_nothing_is_settled_in_a_maildir_that_replaces_the_one_prepared(
    destination: Maildir, maildir: Path
) -> None:
    # Or else what is undone in this one would be delivered to the other once more.
    (place, _) = dead_run(destination, "after intend")
    maildir.rename(maildir.with_name("away"))
    Maildir(maildir, TAG).prepare()

    with pytest.raises(DeliveryError, match="moved or replaced"):
        destination.settle([place])
    assert Maildir(maildir, TAG).settle([place]) == [Settled.UNDONE]


@pytest.mark.parametrize("spoil", ["cut", "link", "none"])
def test_draft_that_is_not_whole_any_more_is_not_delivered(
    spoil: str, destination: Maildir, maildir: Path
) -> None:
    (place, _) = dead_run(destination, "after intend")
    draft = maildir / "tmp" / place.name
    if spoil == "cut":
        os.truncate(draft, 3)
    elif spoil == "link":
        draft.unlink()
        draft.symlink_to("/etc/passwd")
    expected = Settled.DELIVERED if spoil == "none" else Settled.UNDONE

    assert Maildir(maildir, TAG).settle([place]) == [expected]
    assert len(os.listdir(maildir / "new")) == (spoil == "none")


def test_draft_whose_length_the_record_did_not_keep_is_delivered(destination: Maildir, maildir: Path) -> None:
    places = [place._replace(length=0, folder="") for place in dead_run(destination, "after intend")]
    assert Maildir(maildir, TAG).settle(places) == [Settled.DELIVERED] * 2


# -- a maildir that is not there -------------------------------------------------------------------


def test_a_maildir_that_has_taken_mail_is_not_made_anew(maildir: Path) -> None:
    for known in ("", "1:2"):
        with pytest.raises(DeliveryError, match="not mounted"):
            Maildir(maildir, TAG).prepare(known)
    assert not maildir.exists()
    maildir.mkdir()  # the mount point
    with pytest.raises(DeliveryError, match="not mounted"):
        Maildir(maildir, TAG).prepare("1:2")
    assert os.listdir(maildir) == []
    destination = Maildir(maildir, TAG)
    destination.prepare("1:2", create=True)
    destination.close()
    assert sorted(os.listdir(maildir)) == ["cur", "new", "tmp"]


def test_disk_that_goes_while_a_maildir_is_prepared_is_not_made_anew(
    maildir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Maildir(maildir, TAG).prepare()

    def go(_: Path) -> None:
        maildir.rename(maildir.with_name("away"))
        maildir.mkdir()

    monkeypatch.setattr("pop3fetch.delivery.maildir.owner_for", go)
    with pytest.raises(DeliveryError, match="not mounted"):
        Maildir(maildir, TAG).prepare("1:2")
    assert os.listdir(maildir) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root delivers for others")
@pytest.mark.parametrize("there", [("", "tmp", "new", "cur"), ("",), ()])
def test_what_root_delivers_belongs_to_the_owner_of_the_maildir(tmp_path: Path, there: Sequence[str]) -> None:
    home = tmp_path / "home"
    for folder in (home, *(home / "Maildir" / name for name in there)):
        folder.mkdir()
        os.chown(folder, 54321, 54322)
    deliver(Maildir(home / "Maildir", TAG), ONE)
    made = [home / "Maildir", *(home / "Maildir").rglob("*")]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(54321, 54322)}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root delivers for others")
def test_root_follows_no_link_of_the_owner(tmp_path: Path, maildir: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (maildir / "new").mkdir(parents=True)
    (maildir / "tmp").symlink_to(elsewhere)
    os.chown(maildir, 54321, 54322)
    with pytest.raises(DeliveryError):
        deliver(Maildir(maildir, TAG), ONE)
    assert os.listdir(elsewhere) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root delivers for others")
def test_root_does_not_follow_a_link_that_the_owner_has_just_put_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maildir, secret = tmp_path / "home/Maildir", tmp_path / "secret"
    for folder in (maildir, secret):
        for name in ("tmp", "new", "cur"):
            (folder / name).mkdir(parents=True)
    for path in (maildir.parent, maildir, *maildir.iterdir()):
        os.chown(path, USER, USER)
    swap_before_opening(maildir / "tmp", maildir, secret, monkeypatch)
    with pytest.raises(DeliveryError, match="link of another user"):
        deliver(Maildir(maildir, TAG), ONE)
    assert [*secret.glob("*/*")] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root delivers for others")
@pytest.mark.parametrize("link", ["Maildir", "Maildir/new", "Maildir/cur"])
def test_root_does_not_follow_a_link_to_a_place_that_only_root_can_write(tmp_path: Path, link: str) -> None:
    home, secret = tmp_path / "home", tmp_path / "secret"
    (home / link).parent.mkdir(parents=True)
    secret.mkdir()
    (home / link).symlink_to(secret)
    for path in (home, *home.rglob("*")):
        os.chown(path, 54321, 54321, follow_symlinks=False)
    with pytest.raises(DeliveryError, match="link of another user"):
        Maildir(home / "Maildir", TAG).prepare()
    assert os.listdir(secret) == []


def test_a_draft_that_someone_else_has_put_there_first_is_not_overwritten(
    destination: Maildir, maildir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination.prepare()
    monkeypatch.setattr("time.time_ns", lambda: 1_700_000_000_000_001_000)
    (first,) = drafts(destination, [ONE])
    (name,) = os.listdir(maildir / "tmp")
    target = maildir / "target"
    target.touch()
    (maildir / "tmp" / name.replace("Q1", "Q2")).symlink_to(target)

    with pytest.raises(OSError, match="File exists"):
        drafts(destination, [TWO])

    assert target.read_bytes() == b""
    first.discard()


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system takes no such advice")
def test_the_disk_begins_with_a_large_message_before_it_is_whole(
    destination: Maildir, maildir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[int, ...]] = []
    monkeypatch.setattr("pop3fetch.delivery.maildir.LARGE", 1000)
    monkeypatch.setattr(
        "os.posix_fadvise", lambda file, offset, length, advice: begun.append((offset, length))
    )
    destination.prepare()
    draft = destination.draft(Message(0, 2700, b"large"))
    blocks = [bytes([number]) * 300 for number in range(9)]

    for block in blocks:
        draft.write(block)
    destination.deliver([draft], Journal())

    assert sorted(begun) == [(0, 0), (0, 1200), (1200, 1200)]  # and the rest at the end
    (path,) = (maildir / "new").iterdir()
    assert path.read_bytes() == b"".join(blocks)
