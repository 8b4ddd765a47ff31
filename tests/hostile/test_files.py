"""Files: private whatever the umask, and never what another user has put in their place."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pop3fetch.record.place import file_name
from pop3fetch.status import Status
from tests.support.file_modes import mode
from tests.support.file_modes import umask as masked
from tests.support.hostile_servers import ONE, PASSWORD, THREE, TWO, Attack, mailbox
from tests.support.scripted_server import Talk


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set a umask that is careless, usual, strict, or leaves no permission to any user."""
    with masked(request.param):
        yield request.param


def modes_below(folder: Path) -> dict[int, set[bool]]:
    """Return the modes of all that is in a folder, each with whether folders have it."""
    modes: dict[int, set[bool]] = {}
    for path in folder.rglob("*"):
        if path.name not in (".out", ".err"):
            modes.setdefault(mode(path), set()).add(path.is_dir())
    return modes


# -- who can read ----------------------------------------------------------------------------


def test_maildir_and_record_are_private_whatever_the_umask(attack: Attack, umask: int) -> None:
    prepared(attack)
    attack(mailbox(capabilities=[b"TOP", b"UIDL", b"LOGIN-DELAY 1"])).succeeds()
    assert modes_below(attack.folder) == {0o700: {True}, 0o600: {False}}


def prepared(attack: Attack) -> None:
    for name in (".out", ".err"):
        (attack.folder / name).touch()
        (attack.folder / name).chmod(0o600)


def test_an_mbox_and_its_drafts_are_private_whatever_the_umask(attack: Attack, umask: int) -> None:
    prepared(attack)
    drafts: list[int] = []

    def look(talk: Talk) -> None:
        for draft in attack.state.glob("draft-*"):
            with suppress(FileNotFoundError):  # delivered meanwhile
                drafts.append(mode(draft))

    attack(
        mailbox(after={b"RETR 3\r\n": look}), "-o", f"mbox:{attack.folder}/mbox", command=("get",)
    ).succeeds()
    assert mode(attack.folder / "mbox") == 0o600
    assert set(drafts) <= {0o600}


def test_what_was_there_keeps_its_permissions(attack: Attack) -> None:
    attack.maildir.mkdir(0o755)
    attack.maildir.chmod(0o755)
    attack(mailbox()).succeeds()
    assert mode(attack.maildir) == 0o755
    assert {mode(path) for path in (attack.maildir / "new").iterdir()} == {0o600}


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o644, 0o666])
def test_a_configuration_with_a_password_that_others_can_read_is_refused(attack: Attack, bits: int) -> None:
    file = attack.folder / "config.toml"
    file.write_text(f'[accounts.a]\nhost = "127.0.0.1"\nuser = "alice"\npassword = "{PASSWORD}"\n')
    file.chmod(bits)
    ended = attack.here("get", "-c", file)
    assert ended.status == Status.CONFIGURATION
    assert ended.err.startswith(b"pop3fetch: ") and ended.err.count(b"\n") == 1
    assert PASSWORD.encode() not in ended.err


def test_a_configuration_that_others_can_change_is_reported(attack: Attack) -> None:
    served = attack.start(mailbox())
    file = attack.folder / "config.toml"
    file.write_text(
        f'[accounts.a]\nhost = "127.0.0.1"\nport = {served.port}\nuser = "alice"\ntls = "auto"\n'
        'password_command = "echo correct-horse"\n'
    )
    file.chmod(0o666)
    ended = attack.here("stat", "-v", "-c", file)
    assert ended.status == 0
    assert b"others can change which commands it runs" in ended.err


@pytest.mark.parametrize("bits", [0o644, 0o666])
def test_a_record_that_others_can_read_is_reported(attack: Attack, bits: int) -> None:
    first = attack(mailbox(), command=("get", "-o", attack.maildir)).succeeds()
    database = next(attack.state.glob("*.sqlite"))
    database.chmod(bits)
    after = attack(first.server, "-v", command=("get", "-o", attack.maildir))
    assert after.ended.status == 0
    assert f"{database}: others can" in after.error


# -- what was put in the way -----------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Return a file of another user, to which a link may lead."""
    file = tmp_path / "precious"
    file.write_text("precious")
    return file


@pytest.mark.parametrize("ending", [".lock", ".aside", ".login"])
@pytest.mark.parametrize("dangling", [False, True])
def test_no_link_in_the_state_folder_is_followed(
    attack: Attack, elsewhere: Path, ending: str, dangling: bool
) -> None:
    served = attack.start(mailbox(capabilities=[b"TOP", b"UIDL", b"LOGIN-DELAY 1"]))
    attack.state.mkdir(0o700)
    if dangling:
        elsewhere.unlink()
    name = file_name(f"alice@127.0.0.1:{served.port}")
    (attack.state / f"{name}{ending}").symlink_to(elsewhere)
    after = attack(served)
    assert after.ended.status in (0, Status.CONFIGURATION)
    assert elsewhere.exists() is not dangling
    assert dangling or elsewhere.read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("ending", ["", "-wal"])
@pytest.mark.parametrize("bits", [0o777, 0o1777, 0o755])
def test_a_record_of_another_user_in_a_folder_of_all_is_not_used(
    attack: Attack, ending: str, bits: int
) -> None:
    first = attack(mailbox(), command=("get", "-o", attack.maildir)).succeeds()
    database = next(attack.state.glob("*.sqlite"))
    planted = database.with_name(database.name + ending)
    planted.touch()
    os.chown(planted, 1000, 1000)
    attack.state.chmod(bits)
    after = attack(first.server, command=("get", "-o", attack.maildir))
    if bits == 0o755:
        after.succeeds()
    else:
        after.fails(Status.CONFIGURATION, f"record {planted}: it belongs to another user")


@pytest.mark.parametrize("dangling", [False, True])
def test_a_record_that_is_a_link_to_something_else_is_not_a_record(
    attack: Attack, elsewhere: Path, dangling: bool
) -> None:
    served = attack.start(mailbox())
    attack.state.mkdir(0o700)
    if dangling:
        elsewhere.unlink()
    (attack.state / f"{file_name(f'alice@127.0.0.1:{served.port}')}.sqlite").symlink_to(elsewhere)
    after = attack(served)
    assert elsewhere.exists() is not dangling
    if not dangling:
        after.fails(Status.CONFIGURATION, "cannot use the record")
        assert elsewhere.read_text() == "precious"
        after.told_nothing()


def test_no_draft_is_written_through_a_link_in_tmp(attack: Attack, elsewhere: Path) -> None:
    for name in ("tmp", "new", "cur"):
        (attack.maildir / name).mkdir(parents=True)
    (attack.maildir / "tmp" / "1.M2P3Q1.x").symlink_to(elsewhere)
    assert attack.maildir.joinpath("tmp/1.M2P3Q1.x").is_symlink()
    ended = attack.here(
        "get", "-o", attack.maildir, "--state-dir", attack.state,
        env={"POP3FETCH_ACCOUNT": attack.start(mailbox()).url(), "POP3FETCH_PASSWORD": PASSWORD},
    )  # fmt: skip
    assert ended.status == 0
    assert elsewhere.read_text() == "precious"
    assert len(list((attack.maildir / "new").iterdir())) == 3
    assert not any(path.is_symlink() for path in (attack.maildir / "new").iterdir())


def test_a_dot_lock_does_not_lead_through_a_link(attack: Attack, elsewhere: Path) -> None:
    mbox = attack.folder / "mbox"
    for path in attack.folder.glob("mbox.lock*"):
        path.unlink()
    first = attack(mailbox([ONE]), "-o", f"mbox:{mbox}", command=("get",)).succeeds()
    tag = tag_of(attack)
    (attack.folder / f"mbox.lock.pop3fetch-{tag}").symlink_to(elsewhere)
    served = first.server
    attack(served, "-o", f"mbox:{mbox}", "--all", command=("get",)).succeeds()
    assert elsewhere.read_text() == "precious"
    assert mbox.read_bytes().count(b"Subject: one") == 2


def tag_of(attack: Attack) -> str:
    database = sqlite3.connect(next(attack.state.glob("*.sqlite")))
    (tag,) = database.execute("SELECT value FROM fact WHERE name = 'tag'").fetchone()
    database.close()
    return str(tag)


def test_an_mbox_that_is_not_a_file_is_refused(attack: Attack) -> None:
    os.mkfifo(attack.folder / "mbox")
    served = mailbox()
    after = attack(served, "-o", f"mbox:{attack.folder}/mbox", command=("get", "--delete"))
    after.fails(Status.CANNOT_DELIVER, "regular file")
    assert served.messages == [ONE, TWO, THREE]


# -- children --------------------------------------------------------------------------------


def test_no_child_inherits_the_password(attack: Attack) -> None:
    log = attack.folder / "log"
    attack(mailbox([ONE]), "--exec", f"sh -c 'cat >/dev/null; env >> {log}'", command=("get",)).succeeds()
    assert b"POP3FETCH_NUMBER=1" in log.read_bytes()
    assert PASSWORD.encode() not in log.read_bytes()


def test_a_message_gives_a_program_no_words(attack: Attack) -> None:
    log = attack.folder / "log"
    uid = b"$(touch${IFS}owned);`id`"
    after = attack(
        mailbox([b"Subject: ;id\r\n\r\n"], uids=[uid]),
        "--exec", f"sh -c 'cat >/dev/null; env >> {log}; echo $# >> {log}'", command=("get",),
    )  # fmt: skip
    after.succeeds()
    assert log.read_bytes().endswith(b"\n0\n")
    assert not (attack.folder / "owned").exists()
