"""Delivering to a real Cyrus, by LMTP and by IMAP, and to a real Exim, by SMTP."""

from __future__ import annotations

import imaplib
import re
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import trustme

from tests.support import cyrus as cyrus_server
from tests.support import exim as exim_server
from tests.support.command import Ended
from tests.support.cyrus import Cyrus
from tests.support.exim import Exim
from tests.support.in_process import Here
from tests.support.mail_server import Mailbox
from tests.support.nasty_mail import LARGE, NAMELESS, NASTY, ODD, message, number_of, with_crlf
from tests.support.scripted_server import ScriptedServer

ADDED = (b"Return-Path:", b"Received:", b"X-Cyrus-Session-Id:", b"X-Sieve:")
NUL = next(octets for octets in ODD if b"\0" in octets)


@pytest.fixture(scope="module")
def running_exim(authority: trustme.CA) -> Iterator[Exim]:
    """Run one Exim for all tests."""
    if reason := exim_server.missing():
        pytest.skip(reason)
    with Exim.start(authority) as exim:
        yield exim


@pytest.fixture
def exim(running_exim: Exim) -> Exim:
    running_exim.clear()
    return running_exim


def get(here: Here, file: Path, messages: Sequence[bytes], *options: str) -> Ended:
    """Fetch messages from a server that sends them as they are, to the destination ``box``."""
    with ScriptedServer(Mailbox(messages, user="bob")) as server:
        account = ["-a", server.url("bob"), "--allow-insecure-login", "-c", str(file), "-o", "@box"]
        return here("get", *account, *options, env={"POP3FETCH_PASSWORD": "secret"})


def table(folder: Path, ca_file: Path, *lines: str) -> Path:
    file = folder / "config.toml"
    file.touch(0o600)
    file.write_text("\n".join(["[destinations.box]", f'ca_file = "{ca_file}"', *lines, ""]), "utf-8")
    return file


def without_additions(octets: bytes) -> bytes:
    lines = octets.split(b"\r\n")
    while lines[0].startswith(ADDED):
        del lines[0]
        while lines[0].startswith((b" ", b"\t")):
            del lines[0]
    return b"\r\n".join(lines)


def expected(messages: Sequence[bytes]) -> dict[int, bytes]:
    """Return messages as the scripted server sends them: with a line end at the end."""
    ended = {number_of(each): each if each.endswith(b"\r\n") else each + b"\r\n" for each in messages}
    return {number: with_crlf(octets) for number, octets in ended.items()}


# -- Cyrus -------------------------------------------------------------------------------------------


def in_mailbox(cyrus: Cyrus, authority: trustme.CA, mailbox: str) -> dict[int, bytes]:
    """Return what is in a mailbox of alice's, by a client that is not ours; and remove it."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    client = imaplib.IMAP4_SSL("localhost", cyrus.imaps_port, ssl_context=context)
    proof = b"\0" + cyrus_server.USER.encode() + b"\0" + cyrus_server.PASSWORD.encode()
    client.authenticate("PLAIN", lambda challenge: proof)
    assert client.select(mailbox)[0] == "OK"
    _, answers = client.fetch("1:*", "(BODY.PEEK[])")
    bodies = [answer[1] for answer in answers if isinstance(answer, tuple)]
    client.store("1:*", "+FLAGS", "(\\Deleted)")
    client.expunge()
    client.logout()
    found = {number_of(octets): without_additions(octets) for octets in bodies}
    assert len(found) == len(bodies), "no message comes twice"
    return found


def as_cyrus_has_it(octets: bytes) -> bytes:
    """Return a message with an X for each 8-bit octet of its header."""
    header, end, body = octets.partition(b"\r\n\r\n")
    return re.sub(rb"[\x80-\xff]", b"X", header) + end + body


@pytest.mark.parametrize("scheme", ["imaps", "imap"])
def test_the_nastiest_messages_reach_cyrus_by_imap(
    here: Here, cyrus: Cyrus, authority: trustme.CA, ca_file: Path, tmp_path: Path, scheme: str
) -> None:
    port = cyrus.imaps_port if scheme == "imaps" else cyrus.imap_port
    url = f'url = "{scheme}://{cyrus_server.USER}@localhost:{port}/INBOX"'
    file = table(tmp_path, ca_file, url, f'password = "{cyrus_server.PASSWORD}"')
    messages = [*NASTY, NUL, NAMELESS, LARGE]
    ended = get(here, file, messages)
    assert (ended.status, ended.err) == (0, b"")
    found = in_mailbox(cyrus, authority, "INBOX")
    assert found == {number: as_cyrus_has_it(octets) for number, octets in expected(messages).items()}


# Cyrus offers STARTTLS only to clients that must log in, which LMTP here does not.
@pytest.mark.parametrize("way", ["socket", "plain"])
def test_the_nastiest_messages_reach_cyrus_by_lmtp(
    here: Here, cyrus: Cyrus, authority: trustme.CA, ca_file: Path, tmp_path: Path, way: str
) -> None:
    url = f"lmtp://{cyrus.folder}/lmtp" if way == "socket" else f"lmtp://localhost:{cyrus.lmtp_port}"
    file = table(tmp_path, ca_file, f'url = "{url}"', 'recipients = "alice"')
    messages = [*NASTY, NAMELESS, LARGE]
    ended = get(here, file, messages)
    assert (ended.status, ended.err) == (0, b"")
    found = in_mailbox(cyrus, authority, "INBOX")
    wanted = {number: as_cyrus_has_it(octets) for number, octets in expected(messages).items()}
    added = re.compile(rb"Date: (?!nonsense)[^\r]*\r\n|Message-ID: <cmu-[^\r]*\r\n")  # if there is none
    assert {number: added.sub(b"", octets) for number, octets in found.items()} == wanted


def test_a_message_that_cyrus_refuses_stays_new(
    here: Here, cyrus: Cyrus, ca_file: Path, tmp_path: Path, authority: trustme.CA
) -> None:
    file = table(tmp_path, ca_file, f'url = "lmtp://{cyrus.folder}/lmtp"', 'recipients = "alice"')
    one, two = (message(number, b"", b"hello\r\n") for number in (3001, 3002))
    ended = get(here, file, [one, NUL, two])
    assert ended.status == 73
    assert b"message 2 stays on the server" in ended.err
    assert b"554 5.6.0" in ended.err
    assert in_mailbox(cyrus, authority, "INBOX").keys() == {3001, 3002}


def test_a_mailbox_of_cyrus_is_created(
    here: Here, cyrus: Cyrus, authority: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    url = f'url = "imaps://{cyrus_server.USER}@localhost:{cyrus.imaps_port}/INBOX.Lists"'
    file = table(tmp_path, ca_file, url, f'password = "{cyrus_server.PASSWORD}"')
    ended = get(here, file, NASTY[:2])
    assert (ended.status, ended.err) == (0, b"")
    assert in_mailbox(cyrus, authority, "INBOX.Lists").keys() == {0, 1}


# -- Exim --------------------------------------------------------------------------------------------


def in_maildir(exim: Exim, count: int) -> dict[int, bytes]:
    arrived = exim.arrived(count)
    found = {number_of(octets): without_additions(with_crlf(octets)) for octets in arrived}
    assert len(found) == len(arrived), "no message comes twice"
    return found


@pytest.mark.parametrize(
    "way",
    [
        "smtp://",
        "smtps://alice@",
        pytest.param("smtp://alice@", marks=pytest.mark.slow),
        pytest.param("smtps://", marks=pytest.mark.slow),
    ],
)
def test_the_nastiest_messages_reach_exim(
    here: Here, exim: Exim, ca_file: Path, tmp_path: Path, way: str
) -> None:
    port = exim.smtps_port if way.startswith("smtps") else exim.port
    lines = ['recipients = "alice@example.org"', f'password = "{exim_server.PASSWORD}"']
    messages = [*NASTY, NAMELESS, LARGE]
    ended = get(here, table(tmp_path, ca_file, f'url = "{way}localhost:{port}"', *lines), messages)
    assert (ended.status, ended.err) == (0, b"")
    assert in_maildir(exim, len(messages)) == expected(messages)


def test_a_wrong_password_ends_the_delivery_to_exim(
    here: Here, exim: Exim, ca_file: Path, tmp_path: Path
) -> None:
    url = f'url = "smtp://alice@localhost:{exim.port}"'
    ended = get(here, table(tmp_path, ca_file, url, 'recipients = "a@b"', 'password = "wrong"'), NASTY[:1])
    assert ended.status == 77
    assert b"535 " in ended.err
