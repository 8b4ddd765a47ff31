"""Delivering to a real Dovecot, by LMTP and by IMAP: octets are compared where they arrive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.command import Ended
from tests.support.dovecot import Dovecot
from tests.support.in_process import Here
from tests.support.mail_server import Mailbox
from tests.support.nasty_mail import LARGE, NAMELESS, NASTY, ODD, number_of, with_crlf
from tests.support.scripted_server import ScriptedServer

TOP = (b"Return-Path:", b"Delivered-To:", b"Received:")


@pytest.fixture
def bob(stores: Dovecot) -> Dovecot:
    stores.clear("bob")
    return stores


def configuration(folder: Path, dovecot: Dovecot, **urls: str) -> Path:
    """Write the destinations of bob's; return the file."""
    tables = [
        f'[destinations.{name}]\nurl = "{url}"\nca_file = "{dovecot.ca_file}"\n'
        + (f'password = "{dovecot.users["bob"]}"\n' if url.startswith("imap") else 'recipients = "bob"\n')
        + ("starttls = true\n" if name == "starttls" else "")
        for name, url in urls.items()
    ]
    file = folder / "config.toml"
    file.touch(0o600)
    file.write_text("".join(tables))
    return file


def get(here: Here, messages: Sequence[bytes], *options: str | Path) -> Ended:
    """Fetch messages from a server that sends them as they are."""
    with ScriptedServer(Mailbox(messages)) as server:
        account = ["-a", server.url(), "--allow-insecure-login"]
        return here("get", *account, *options, env={"POP3FETCH_PASSWORD": "secret"})


def stored(dovecot: Dovecot) -> dict[int, bytes]:
    """Return what is in bob's maildrop, with CRLF and without what LMTP has added."""
    found = {}
    for file in dovecot._files("bob"):
        octets = with_crlf(file.read_bytes())
        while octets.startswith(TOP):
            lines = octets.split(b"\r\n")
            folded = next(
                index for index, line in enumerate(lines[1:], 1) if not line.startswith((b" ", b"\t"))
            )
            octets = b"\r\n".join(lines[folded:])
        assert number_of(octets) not in found, "no message comes twice"
        found[number_of(octets)] = octets
    return found


def expected(messages: Sequence[bytes]) -> dict[int, bytes]:
    """Return messages as the scripted server sends them: with a line end at the end."""
    return {number_of(octets): with_crlf(_ended(octets)) for octets in messages}


def _ended(octets: bytes) -> bytes:
    return octets if octets.endswith(b"\r\n") else octets + b"\r\n"


def ways(dovecot: Dovecot) -> dict[str, str]:
    return {
        "lmtp": f"lmtp://127.0.0.1:{dovecot.lmtp_port}",
        "socket": f"lmtp://{dovecot.folder}/lmtp",
        "starttls": f"lmtp://127.0.0.1:{dovecot.lmtp_port}",
        "imaps": f"imaps://bob@127.0.0.1:{dovecot.imaps_port}/INBOX",
        "imap": f"imap://bob@127.0.0.1:{dovecot.imap_port}",
    }


@pytest.mark.parametrize("way", ["lmtp", "socket", "starttls", "imaps", "imap"])
def test_the_nastiest_messages_arrive_octet_for_octet(
    here: Here, bob: Dovecot, tmp_path: Path, way: str
) -> None:
    file = configuration(tmp_path, bob, **{way: ways(bob)[way]})
    ended = get(here, [*NASTY, NAMELESS], "-o", f"@{way}", "-c", file)
    assert (ended.status, ended.err) == (0, b"")
    assert stored(bob) == expected([*NASTY, NAMELESS])


@pytest.mark.parametrize("way", ["lmtp", "imaps"])
def test_what_dovecot_changes_is_all_that_changes(here: Here, bob: Dovecot, tmp_path: Path, way: str) -> None:
    file = configuration(tmp_path, bob, **{way: ways(bob)[way]})
    ended = get(here, ODD, "-o", f"@{way}", "-c", file)
    assert (ended.status, ended.err) == (0, b"")

    def as_dovecot_has_it(octets: bytes) -> bytes:
        return _ended(octets).replace(b"\0", b"\x80").replace(b"\r", b"")

    found = {number: as_dovecot_has_it(octets) for number, octets in stored(bob).items()}
    assert found == {number_of(octets): as_dovecot_has_it(octets) for octets in ODD}


@pytest.mark.parametrize("way", ["lmtp", "imaps"])
def test_a_message_of_50_mib_arrives(here: Here, bob: Dovecot, tmp_path: Path, way: str) -> None:
    file = configuration(tmp_path, bob, **{way: ways(bob)[way]})
    ended = get(here, [LARGE], "-o", f"@{way}", "-c", file)
    assert (ended.status, ended.err) == (0, b"")
    assert stored(bob) == {2000: LARGE}


def test_each_message_is_named_with_its_mailbox_and_uid(here: Here, bob: Dovecot, tmp_path: Path) -> None:
    file = configuration(tmp_path, bob, bob=f"imaps://bob@127.0.0.1:{bob.imaps_port}/Lists")
    ended = get(here, NASTY[:2], "-v", "-o", "@bob", "-c", file)
    url = f"imaps://bob@127.0.0.1:{bob.imaps_port}/Lists"
    for number in (1, 2):
        assert f"message {number}: ".encode() in ended.err
        assert f" to {url}, UID {number}\n".encode() in ended.err


def test_a_recipient_that_does_not_exist_ends_the_delivery(here: Here, bob: Dovecot) -> None:
    url = f"lmtp://127.0.0.1:{bob.lmtp_port}"
    ended = get(here, NASTY[:3], "-o", url, "--recipient", "nobody-here")
    assert ended.status == 73
    assert b"the recipient <nobody-here> was refused: 550 5.1.1" in ended.err


def test_a_wrong_password_is_not_tried_again_by_cron(here: Here, bob: Dovecot, tmp_path: Path) -> None:
    file = configuration(tmp_path, bob, bob=f"imaps://bob@127.0.0.1:{bob.imaps_port}")
    file.write_text(file.read_text().replace(bob.users["bob"], "wrong"))
    assert get(here, NASTY[:1], "-o", "@bob", "-c", file).status == 77
    ended = get(here, NASTY[:1], "-o", "@bob", "-c", file)
    assert ended.status == 75
    assert b"no login before" in ended.err


def test_deleting_comes_after_the_delivery(here: Here, bob: Dovecot, tmp_path: Path) -> None:
    file = configuration(tmp_path, bob, bob=f"imaps://bob@127.0.0.1:{bob.imaps_port}")
    mailbox = Mailbox(NASTY[:5])
    with ScriptedServer(mailbox) as server:
        account = ["-a", server.url(), "--allow-insecure-login", "-c", str(file)]
        ended = here("get", *account, "-o", "@bob", "--delete", env={"POP3FETCH_PASSWORD": "secret"})
    assert (ended.status, ended.err, mailbox.messages) == (0, b"", [])
    assert stored(bob) == expected(NASTY[:5])
